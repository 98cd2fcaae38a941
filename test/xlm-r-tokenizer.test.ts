/** The real XLM-R vocabulary, where it lies beside the checkout: ids that were published, and the whole range of them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Tokenizer } from '../lib/index.js';

const folder = fileURLToPath(new URL('../../shared/data/xlm-r-tokenizer', import.meta.url));
const skip = existsSync(folder) ? false : 'the XLM-R vocabulary is not there';

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

  t.equal(tokenizer.piece(4), ',');
  t.equal(tokenizer.piece(35378), '▁Hello');
  t.equal(tokenizer.piece(250_001), '<mask>');
  const masked = [...tokenizer.encode('Paris is <mask>.', { parseSpecial: true }).ids];
  t.ok(masked.includes(250_001));
  t.notOk(tokenizer.encode('Paris is <mask>.').ids.includes(250_001), 'text is text');
  t.equal(tokenizer.decode(tokenizer.encode('Grüße, 世界!').ids), 'Grüße, 世界!');
});
