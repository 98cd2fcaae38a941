/**
 * Properties of the public API for any input: a call gives a right answer or a documented error, whatever its
 * options, ids and texts are and however many run at once; and afterwards the model answers as before.
 */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { MaskPredict, MaskPredictError, type GenerateOptions } from '../../lib/index.js';
import { sameBits } from '../reference/closeness.js';
import { prompts } from '../token-level.js';
import { count, isLong, seed, timeLeft } from './effort.js';

const model = await MaskPredict.load();
const { engine, tokenizer } = model;
t.teardown(() => model.close());
const expected = await model.generate(prompts, { iterations: 3 });

/**
 * Runs a property on `share` of the inputs, which says how much one of them is, or of the time. A failure names the seed
 * and the smallest input that fails.
 */
async function holds(t: Test, property: fc.IAsyncProperty<unknown>, share: number): Promise<void> {
  const numRuns = Math.min(Math.ceil(count(100) * share), 2 ** 31 - 1);
  const limit = Number.isFinite(timeLeft()) ? { interruptAfterTimeLimit: timeLeft() / 3 } : {};
  const details = await fc.check(property, { numRuns, seed, ...limit });
  t.comment(`${details.numRuns} inputs from seed ${seed}`);
  t.notOk(details.failed, details.failed ? fc.defaultReportMessage(details) : 'holds');
}

/** The value of a call, or undefined where it ended with one of these codes. */
async function documented<T>(call: () => Promise<T> | T, codes: string[]): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof MaskPredictError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

async function answersAsBefore(): Promise<void> {
  const results = await model.generate(prompts, { iterations: 3 });
  results.forEach((result, i) => {
    if (!sameBits(result.tokenScores, expected[i]!.tokenScores)) throw new Error('another answer');
  });
}

/** UTF-16 of any kind: lone surrogates, NUL, words of special tokens, and now and then a megabyte. */
const text = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.string({
      unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    }),
  },
  { weight: 8, arbitrary: fc.string({ unit: 'grapheme', maxLength: 300 }) },
  {
    weight: 8,
    arbitrary: fc.string({
      unit: fc.constantFrom(
        '\0',
        '\ud800',
        '\udc00',
        '<mask>',
        '</s>',
        ' ',
        '\u2581',
        '\u0301',
        '\u200d',
        'a',
        '42',
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 2 ** 18 }),
      )
      .map(([part, times]) => part.repeat(Math.min(times, Math.ceil(2 ** 20 / part.length)))),
  },
);

/** A number of any kind, mostly near what is allowed. */
const number = fc.oneof(
  fc.integer({ min: -2, max: 140 }),
  fc.constantFrom(NaN, Infinity, -0, 0.5, 2 ** 31, 2 ** 32 + 5, 2 ** 53, -(2 ** 53), 1e300),
);
const anything = fc.anything({
  withBigInt: true,
  withTypedArray: true,
  withNullPrototype: true,
  maxDepth: 1,
});
const orAnything = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: anything });

const options = fc.record(
  {
    // Mostly few: a hundred thousand iterations are allowed and take their time.
    iterations: orAnything(
      fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(0, -1, 1.5, NaN, 2 ** 53)),
    ),
    length: orAnything(
      fc.oneof(
        fc.constant('predict'),
        number,
        fc.record({ candidates: fc.integer({ min: 0, max: 5 }) }),
      ),
    ),
    sampling: orAnything(fc.record({ seed: fc.oneof(number, fc.bigInt()) })),
    parseSpecial: orAnything(fc.boolean()),
    overflow: orAnything(fc.constantFrom('truncate', 'error')),
  },
  { requiredKeys: [] },
);

const invalid = ['ERR_INVALID_ARGUMENT'];

const isWellFormed = (text: string) => Buffer.from(text).toString() === text;

t.test('generate() with any text and options', async (t) => {
  await holds(
    t,
    fc.asyncProperty(text, options, async (prompt, options) => {
      const result = await documented(
        () => model.generate(prompt, options as GenerateOptions),
        invalid,
      );
      if (!result) return true;
      const { tokens, tokenScores, length, score } = result;
      return (
        length >= 1 &&
        tokens.length === length &&
        tokenScores.length === length &&
        tokens.every((id) => id > 2 && id < tokenizer.maskTokenId) &&
        tokenScores.every((value) => value <= 0) &&
        Number.isFinite(score) &&
        isWellFormed(result.text)
      );
    }),
    1,
  );
  await answersAsBefore();
});

t.test('choose(), score() and predictLength() with any text', async (t) => {
  await holds(
    t,
    fc.asyncProperty(
      text,
      fc.array(text, { maxLength: 3 }),
      orAnything(number),
      async (prompt, labels, many) => {
        const chosen = await documented(() => model.choose(prompt, labels), invalid);
        if (chosen && chosen.label !== labels[chosen.index]) return false;
        const answer = labels[0]?.slice(0, 60) ?? '';
        const scored = await documented(() => model.score(prompt, answer), invalid);
        if (scored && !(scored.sum <= 0)) return false;
        const lengths = await documented(
          () => model.predictLength(prompt, many as number),
          invalid,
        );
        return !lengths || lengths.every(({ length, logProb }) => length >= 1 && logProb <= 0);
      },
    ),
    0.2,
  );
  await answersAsBefore();
});

t.test('the tokenizer with any text', async (t) => {
  await holds(
    t,
    fc.asyncProperty(text, fc.boolean(), number, async (value, parseSpecial, maxIds) => {
      const { ids } = tokenizer.encode(value, { parseSpecial });
      if (!ids.every((id) => id >= 0 && id <= tokenizer.maskTokenId)) return false;
      if (!isWellFormed(tokenizer.decode(ids))) return false;
      const some = await documented(
        () => tokenizer.encode(value, { parseSpecial, maxIds }),
        invalid,
      );
      const cut = ids.subarray(0, Math.min(maxIds, ids.length) - 1);
      return !some || sameBits(some.ids.subarray(0, -1), cut);
    }),
    1,
  );
});

/** Arrays of ids: mostly right but for one place, and anything. */
const ids = fc.oneof(
  fc
    .array(fc.integer({ min: 3, max: tokenizer.maskTokenId }), { maxLength: 130 })
    .map((inner) => Int32Array.of(0, ...inner, 2)),
  fc.int32Array({ maxLength: 12 }),
  fc.int32Array({ min: -3, max: tokenizer.maskTokenId + 3, maxLength: 12 }),
  anything as fc.Arbitrary<Int32Array>,
);

t.test('the token level with any ids', async (t) => {
  await holds(
    t,
    fc.asyncProperty(
      fc.array(ids, { maxLength: 3 }),
      ids,
      orAnything(number),
      anything,
      async (list, given, n, x) => {
        const sources = await documented(() => engine.encode(list), invalid);
        if (!sources) return true;
        if (sources.length !== list.length) return false;
        for (const [i, source] of sources.entries()) {
          for (const specification of [given, n as number]) {
            const target = await documented(
              () => source.target(specification, { sequence: i }),
              invalid,
            );
            if (!target) continue;
            await documented(() => engine.decode([target], n as number), invalid);
            await engine.predict([target]);
            if (target.masked.includes(1)) return false;
            await documented(() => engine.remask([target], [n as number]), invalid);
            await documented(() => engine.decode([target, target], 2), invalid);
            await documented(() => engine.logProbs([target], [[given]]), invalid);
            await documented(() => engine.predict(x as []), invalid);
            await documented(() => engine.remask([target], x as []), invalid);
            await documented(() => engine.logProbs([target], x as []), invalid);
          }
          source.dispose();
        }
        return true;
      },
    ),
    1,
  );
  await answersAsBefore();
});

t.test('many calls at once, some aborted', async (t) => {
  const call = fc.record({
    prompt: fc.integer({ min: 0, max: prompts.length - 1 }),
    kind: fc.constantFrom('right', 'wrong', 'abort now', 'abort soon'),
  });
  await holds(
    t,
    fc.asyncProperty(
      fc.array(call, { minLength: 500, maxLength: isLong ? 3000 : 1000 }),
      async (calls) => {
        const soon = new AbortController();
        const reason = new Error('not these');
        const outcomes = Promise.allSettled(
          calls.map(({ prompt, kind }) => {
            const signal = kind === 'abort now' ? AbortSignal.abort(reason) : soon.signal;
            return model.generate(prompts[prompt]!, {
              iterations: kind === 'wrong' ? 0 : 3,
              ...(kind.startsWith('abort') && { signal }),
            });
          }),
        );
        setTimeout(() => soon.abort(reason), calls.length % 7);
        return (await outcomes).every((outcome, i) => {
          const { prompt, kind } = calls[i]!;
          if (outcome.status === 'fulfilled') {
            const same = sameBits(outcome.value.tokenScores, expected[prompt]!.tokenScores);
            return same && (kind === 'right' || kind === 'abort soon');
          }
          if (kind === 'wrong')
            return (outcome.reason as MaskPredictError).code === 'ERR_INVALID_ARGUMENT';
          return kind !== 'right' && outcome.reason === reason;
        });
      },
    ),
    0.02,
  );
  await answersAsBefore();
});
