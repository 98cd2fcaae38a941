/** The real XLM-R vocabulary, where it lies beside the checkout: ids that were published, and the whole range of them. */
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Tokenizer } from '../lib/index.js';
import { Snapshot } from '../lib/text/sentencepiece-snapshot.js';

const folder = fileURLToPath(new URL('../../shared/data/xlm-r-tokenizer', import.meta.url));
const skip = existsSync(folder) ? false : 'the XLM-R vocabulary is not there';

/** The tokenizer of a file from the snapshot that loading another copy of it has written. */
async function reloaded(t: Test, file: string): Promise<Tokenizer> {
  const directory = t.testdir({ snapshots: {} });
  const snapshots = join(directory, 'snapshots');
  process.env['MASK_PREDICT_TOKENIZER_CACHE'] = snapshots;
  t.teardown(() => delete process.env['MASK_PREDICT_TOKENIZER_CACHE']);
  const copies = ['first', 'second'].map((name) => join(directory, name));
  for (const copy of copies) copyFileSync(file, copy);
  await Tokenizer.load(copies[0]!);
  await Snapshot.idle();
  t.match(readdirSync(snapshots), [/\.snapshot$/]);
  return Tokenizer.load(copies[1]!);
}

t.test('the published ids', { skip }, async (t) => {
  const tokenizer = await Tokenizer.load(join(folder, 'sentencepiece.bpe.model'), {
    vocabulary: 250_002,
    maskTokenId: 250_001,
  });
  t.equal(tokenizer.pieces, 250_000);
  const gold = JSON.parse(readFileSync(join(folder, 'gold.json'), 'utf8')) as {
    text: string;
    ids: number[];
  }[];
  t.ok(gold.length >= 10);
  for (const { text, ids } of gold) t.same([...tokenizer.encode(text).ids], ids, text.slice(0, 60));
  const restored = await reloaded(t, join(folder, 'sentencepiece.bpe.model'));
  for (const { text, ids } of gold)
    t.same([...restored.encode(text).ids], ids, `from a snapshot: ${text.slice(0, 60)}`);
  for (let id = 0; id < 250_002; id += 997) t.equal(restored.piece(id), tokenizer.piece(id));

  t.equal(tokenizer.piece(4), ',');
  t.equal(tokenizer.piece(35378), '▁Hello');
  t.equal(tokenizer.piece(250_001), '<mask>');
  const masked = [...tokenizer.encode('Paris is <mask>.', { parseSpecial: true }).ids];
  t.ok(masked.includes(250_001));
  t.notOk(tokenizer.encode('Paris is <mask>.').ids.includes(250_001), 'text is text');
  t.equal(tokenizer.decode(tokenizer.encode('Grüße, 世界!').ids), 'Grüße, 世界!');
});
