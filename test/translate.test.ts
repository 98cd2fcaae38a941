/**
 * The translation model of the package: what it is, that it translates, and that iterations buy what they are for. BLEU is
 * over 150 sentences of its test set (Tatoeba, CC BY 2.0 FR).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { bleu } from '../lib/evaluation/bleu.js';
import { bundledModels, MaskPredict } from '../lib/index.js';

const directory = bundledModels.translate;
const pairs = readFileSync(new URL('fixtures/tatoeba/en-de.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { source: string; references: string[] });
const prompts = pairs.map(
  ({ source }) => `Translate the following text from English to German: ${source}`,
);
const most = Math.max(...pairs.map(({ references }) => references.length));
const references = Array.from({ length: most }, (_, k) =>
  pairs.map(({ references }) => references[k] ?? null),
);

t.test('its files are small enough for a package', (t) => {
  const bytes = readdirSync(directory)
    .map((name) => statSync(join(directory, name)).size)
    .reduce((sum, size) => sum + size, 0);
  t.ok(bytes < 9e6, `${bytes} bytes`);
  t.end();
});

t.test('it translates, and better with more passes', async (t) => {
  await using model = await MaskPredict.load('translate', { device: 'cpu' });
  t.equal(model.engine.precision, 'int8');
  const score = async (iterations: number) => {
    const answers = await model.generate(prompts, { iterations });
    return bleu(
      answers.map(({ text }) => text),
      references,
    ).score;
  };
  const [one, ten] = [await score(1), await score(10)];
  t.comment(`BLEU ${one.toFixed(2)} at T = 1, ${ten.toFixed(2)} at T = 10`);
  // Of 150 sentences BLEU has a standard error of about 2; of the difference on the same sentences, about 1.
  t.ok(ten > 14, `T = 10: ${ten}`);
  t.ok(ten > one + 1, `T = 1: ${one}, T = 10: ${ten}`);
});
