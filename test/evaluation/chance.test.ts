/**
 * Random weights under the real vocabulary choose no better and no worse than chance: the prompts, the labels and the data
 * do not tell the answer. The data sets lie beside the checkout.
 */
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { evaluate, type Evaluation } from '../../lib/evaluation/index.js';
import { Engine, MaskPredict } from '../../lib/index.js';

const data = fileURLToPath(new URL('../../../shared/data', import.meta.url));
const skip = existsSync(data) ? false : 'the data sets are not there';

/** Each language on its own, and all together, within three standard deviations of one half. */
function checkChance(t: { ok(value: boolean, message: string): void }, { cells }: Evaluation) {
  const off = (share: number, examples: number) =>
    Math.abs(share - 0.5) <= 3 * Math.sqrt(0.25 / examples);
  let [right, all] = [0, 0];
  for (const { group, examples, scores } of cells) {
    t.ok(off(scores.accuracy!, examples), `${group}: ${scores.accuracy} of ${examples}`);
    right += scores.accuracy! * examples;
    all += examples;
  }
  t.ok(off(right / all, all), `together: ${right / all} of ${all}`);
}

t.test('random weights', { skip }, async (t) => {
  const directory = t.testdir();
  const shape = { layers: 1, hidden: 32, heads: 1, feedForward: 64, vocabulary: 250_002 };
  const engine = await Engine.random(shape, { seed: 5, precision: 'int8', device: 'cpu' });
  await engine.save(directory, { overwrite: true });
  await engine.close();
  const vocabulary = join(data, 'xlm-r-tokenizer/sentencepiece.bpe.model');
  copyFileSync(vocabulary, join(directory, 'sentencepiece.bpe.model'));
  const model = await MaskPredict.load(directory, { device: 'cpu' });
  t.teardown(() => model.close());

  const xcopa = await evaluate(model, 'xcopa', {
    data: ['it', 'tr', 'zh'].map((language) => join(data, `xcopa/test.${language}.jsonl`)),
    answer: 'choose',
    only: ['1'],
    limit: 250,
  });
  t.same(
    xcopa.cells.map(({ way, group, examples }) => [way, group, examples]),
    ['it', 'tr', 'zh'].map((group) => ['chosen', group, 250]),
  );
  checkChance(t, xcopa);

  const xwinograd = await evaluate(model, 'xwinograd', {
    data: [join(data, 'xwinograd/dataset.tsv.gz')],
    answer: 'choose',
    only: ['1'],
    limit: 150,
  });
  t.same(
    new Map(xwinograd.cells.map(({ group, examples }) => [group, examples])),
    new Map(Object.entries({ en: 150, fr: 83, jp: 150, pt: 150, ru: 150, zh: 16 })),
  );
  checkChance(t, xwinograd);

  const refused = await evaluate(model, 'xwinograd', {
    data: [join(data, 'xwinograd/dataset.tsv.gz')],
    answer: 'choose',
    only: ['2', '4'],
    limit: 1,
    iterations: 1,
  });
  t.same(
    refused.prompts.map(({ name, way }) => [name, way]),
    ['2', '4'].flatMap((name) => ['predicted', 'gold'].map((way) => [name, way])),
  );
  t.match(refused.prompts[0]!.notes, [/choose is refused, because labels differ in tokens/]);
});
