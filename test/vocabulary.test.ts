/**
 * Vocabulary restriction: beside the whole vocabulary's raw logits, of which only the rows of the subset are read
 * in double precision.
 */
import t from 'tap';
import { Engine, MaskPredict, type EngineRandomOptions } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { predictRow } from './reference/prediction.js';
import { Random } from './reference/random.js';

const architecture = {
  layers: 2,
  hidden: 48,
  heads: 3,
  feedForward: 80,
  vocabulary: 211,
  norm: 'post',
} as const;
const source = Int32Array.of(0, 9, 57, 120, 33, 2);
const length = 12;

async function withEngine<T>(
  options: EngineRandomOptions,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await Engine.random(architecture, { seed: 5, threads: 2, ...options });
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

/** A seeded subset of the ids that can be answered, rising. */
function subsetOf(maskTokenId: number, size: number): number[] {
  const random = new Random(size);
  const ids = new Set<number>();
  while (ids.size < size) ids.add(random.integer(3, maskTokenId - 1));
  return [...ids].sort((a, b) => a - b);
}

/**
 * How far a log-probability of a subset of `rows` logits may be off: the logits are the same numbers, so what differs
 * is their exponentials (each within 4 units in the last place), at most rows additions of them, and the rounding of
 * the logarithm and of the difference.
 */
function bound(rows: number, logProb: number, logSumExp: number): number {
  return 2 ** -24 * (rows + 4 + 4 * (Math.abs(logProb) + Math.abs(logSumExp)));
}

for (const precision of ['fp32', 'bf16', 'int8'] as const) {
  await t.test(`the best of the subset and its log-probability, ${precision}`, async (t) => {
    const { rows, maskTokenId, whole } = await withEngine({ precision }, async (engine) => {
      const [encoded] = await engine.encode([source]);
      const target = encoded!.target(length);
      const [logits] = await engine.logits([target]);
      await engine.decode([target], 5);
      const { vocabulary, maskTokenId } = engine.config;
      const rows = Array.from({ length }, (_, i) =>
        logits!.subarray(i * vocabulary, (i + 1) * vocabulary),
      );
      return { rows, maskTokenId, whole: { tokens: target.tokens, scores: target.scores } };
    });

    for (const size of [1, 16, 45, 101]) {
      const ids = subsetOf(maskTokenId, size);
      await withEngine({ precision, vocabulary: { allowedIds: ids } }, async (engine) => {
        const [encoded] = await engine.encode([source]);
        const target = encoded!.target(length);
        await engine.predict([target]);
        const { tokens, scores } = target;
        const headRows = [0, 1, 2, ...ids, maskTokenId];
        for (let i = 1; i + 1 < length; i++) {
          const logits = Float32Array.from(headRows, (id) => rows[i]![id]!);
          const expected = predictRow(logits, headRows.length - 1);
          t.equal(tokens[i], headRows[expected.id], `${size} ids, position ${i}`);
          const off = Math.abs(scores[i]! - expected.logProb);
          t.ok(
            off <= bound(headRows.length, expected.logProb, expected.logSumExp),
            `score off by ${off}`,
          );
        }

        const candidate = Int32Array.from({ length }, (_, i) =>
          i === 0 ? 0 : i === length - 1 ? 2 : ids[i % size]!,
        );
        const all = await engine.logProbs([encoded!.target(length)], [[candidate]]);
        for (let i = 1; i + 1 < length; i++) {
          const logits = Float32Array.from(headRows, (id) => rows[i]![id]!);
          const { logSumExp } = predictRow(logits, headRows.length - 1);
          const logProb = rows[i]![candidate[i]!]! - logSumExp;
          const off = Math.abs(all[0]![0]![i]! - logProb);
          t.ok(off <= bound(headRows.length, logProb, logSumExp), `candidate off by ${off}`);
        }

        const drawn = encoded!.target(length);
        await engine.decode([drawn], 3, { sampling: { seed: 1 } });
        t.ok(
          drawn.tokens.subarray(1, -1).every((id) => ids.includes(id)),
          'draws stay in the subset',
        );
      });
    }

    const everything = Int32Array.from({ length: maskTokenId - 3 }, (_, i) => maskTokenId - 1 - i);
    await withEngine({ precision, vocabulary: { allowedIds: everything } }, async (engine) => {
      const [encoded] = await engine.encode([source]);
      const target = encoded!.target(length);
      await engine.decode([target], 5);
      t.ok(
        sameBits(target.tokens, whole.tokens) && sameBits(target.scores, whole.scores),
        'all ids: the same bits as without the option',
      );
    });
  });
}

await t.test('languages allow the pieces of their scripts', async (t) => {
  const inWords = 'Write the number 4217 in German words.';
  const inDigits = 'Write this French number in digits: dix-neuf';
  const inBoth = async (languages: string[]) => {
    await using model = await MaskPredict.load(undefined, { vocabulary: { languages } });
    const [words, digits] = await model.generate([inWords, inDigits]);
    return [words!.text, digits!.text];
  };
  t.same(await inBoth(['de', 'ja']), ['viertausendzweihundertsiebzehn', '19']);
  const [words, digits] = await inBoth(['ru']);
  t.notMatch(words, /\p{Script=Latin}/u, 'no Latin letter is allowed');
  t.equal(digits, '19', 'digits belong to no script');

  await using model = await MaskPredict.load(undefined, { vocabulary: { languages: ['el'] } });
  const question = 'Is the number 4217 even? Yes or no?';
  await t.rejects(model.choose(question, ['No']), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /no label can be written with the allowed ids/,
  });
  t.equal((await model.choose(question, ['eins', '7'])).label, '7', 'each has two tokens');
  t.equal((await model.score(question, 'No')).mean, -Infinity);
});

await t.test('what is not a vocabulary', async (t) => {
  const invalid = [
    [{}, /either allowedIds or languages/],
    [{ allowedIds: [5], languages: ['de'] }, /either allowedIds or languages/],
    [{ ids: [5] }, /no option 'ids'/],
    [null, /must be an object/],
    [{ allowedIds: [] }, /no id at all/],
    [{ allowedIds: 'all' }, /must be an Int32Array or an array/],
    [{ allowedIds: [5, 2.5] }, /allowedIds\[1\] must be an integer/],
    [{ allowedIds: [2] }, /contain 2; ids that can be answered are 3 to/],
    [{ allowedIds: Array(2) }, /allowedIds\[0\] must be an integer/],
    [{ allowedIds: [5, 210] }, /contain 210; ids that can be answered are 3 to 2\d\d/],
    [{ languages: ['de'] }, /needs a tokenizer/],
  ] as const;
  for (const [vocabulary, message] of invalid) {
    await t.rejects(
      withEngine({ vocabulary: vocabulary as never }, async () => undefined),
      { code: 'ERR_INVALID_ARGUMENT', message },
      JSON.stringify(vocabulary),
    );
  }
  for (const languages of [[], 'de', ['xx'], ['de-Abcd'], ['de_DE'], [7], ['']]) {
    await t.rejects(
      MaskPredict.load(undefined, { vocabulary: { languages: languages as never } }),
      { code: 'ERR_INVALID_ARGUMENT', message: /languages/ },
      JSON.stringify(languages),
    );
  }
});
