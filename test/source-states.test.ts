/**
 * Sources without their final states, which targets never read: every target over them has the bits it has over a
 * source with states, whatever shares the pass; what does need states is refused; the text level makes them only where
 * it predicts lengths, and its cache never gives one without states to a call that needs them.
 *
 * On the device that MASK_PREDICT_DEVICE names, by default the CPU; in float32.
 */
import t from 'tap';
import { Engine } from '../lib/token/engine.js';
import { MaskPredict, type Source, type Target } from '../lib/index.js';
import { nativeRunner } from '../lib/scheduling/passes.js';
import { sameBits } from './reference/closeness.js';
import { readFixture } from './reference/fixtures.js';
import { encoded, prompts } from './token-level.js';

const iterations = 4;
const refusal = {
  code: 'ERR_INVALID_ARGUMENT',
  message: /source was encoded without states.*states: true/,
};

const same = (a: Target[], b: Target[]) =>
  a.length === b.length &&
  a.every(
    ({ tokens, scores }, i) => sameBits(tokens, b[i]!.tokens) && sameBits(scores, b[i]!.scores),
  );

const allSame = (a: Float32Array[], b: Float32Array[]) => a.every((x, i) => sameBits(x, b[i]!));

// Layers with the norm after and before.
for (const name of ['tiny-base', 'tiny-xl']) {
  t.test(name, async (t) => {
    const { directory, cases } = readFixture(name);
    await using engine = await Engine.load(directory, { threads: 2, precision: 'fp32' });
    const ids = cases.map(({ sourceIds }) => sourceIds);
    const full = await engine.encode(ids);
    const fullTargets = full.map((source, i) => source.target(cases[i]!.decodeLength));
    const given = (sources: Source[]) =>
      sources.map((source, i) => source.target(cases[i]!.targetIds));
    const [states, logits] = [await engine.states(given(full)), await engine.logits(given(full))];
    await engine.decode(fullTargets, iterations);

    /** Decoded over sources that are in the cases' order. */
    const decoded = async (sources: Source[], first = 0) => {
      const targets = sources.map((source, i) => source.target(cases[first + i]!.decodeLength));
      await engine.decode(targets, iterations);
      return targets;
    };
    const bare = await engine.encode(ids, { states: false });
    t.ok(same(await decoded(bare), fullTargets), 'encoded together');
    t.ok(allSame(await engine.states(given(bare)), states), 'states of the targets');
    t.ok(allSame(await engine.logits(given(bare)), logits), 'logits of the targets');
    for (const [i, one] of ids.entries()) {
      const alone = await engine.encode([one], { states: false });
      t.ok(same(await decoded(alone, i), fullTargets.slice(i, i + 1)), `${i} encoded alone`);
    }

    // Some or none of a pass with states, by themselves and beside targets at work.
    const runner = nativeRunner(Engine.native(engine));
    const expected = given(full);
    await engine.decode(expected, 1);
    const kinds: [string, (i: number) => boolean][] = [
      ['even ones with states', (i) => i % 2 === 0],
      ['odd ones with states', (i) => i % 2 === 1],
      ['none with states', () => false],
    ];
    for (const [kind, withStates] of kinds) {
      for (const targets of [[], given(full)]) {
        const { sources } = await runner.start(
          ids.map((one, i) => ({ ids: one, states: withStates(i) })),
          targets.map((target) => ({
            plan: { target, iterations: 1 },
            passed: 0,
            until: 1,
            watched: false,
          })),
        ).promise;
        const made = sources as Source[];
        const what = `${kind} beside ${targets.length} targets`;
        t.ok(same(await decoded(made), fullTargets), what);
        t.ok(same(targets, expected.slice(0, targets.length)), `${what}: these targets`);
        made.forEach((source, i) => {
          if (!withStates(i)) return void t.throws(() => source.states(), refusal);
          t.ok(sameBits(source.states(), full[i]!.states()), `${what}: states of source ${i}`);
          t.same(source.lengthLogits, full[i]!.lengthLogits, `${what}: lengths of source ${i}`);
          source.dispose();
        });
      }
    }
  });
}

t.test('what needs states is refused', async (t) => {
  await using engine = await Engine.load(readFixture('tiny-base').directory);
  const ids = Int32Array.of(0, 17, 40, 2);
  const [source] = await engine.encode([ids], { states: false });
  t.throws(() => source!.states(), refusal);
  t.throws(() => source!.lengthLogits, refusal);
  t.throws(() => source!.predictLengths(2), refusal);
  t.equal(source!.target(5).length, 5, 'a target of a given length is not');
  source!.dispose();
  t.throws(() => source!.states(), { code: 'ERR_DISPOSED' });

  const [withStates] = await engine.encode([ids], { states: true });
  t.ok(withStates!.predictLengths(2).length === 2);
  await t.rejects(engine.encode([ids], { states: 'no' as never }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /states must be true or false, not "no"/,
  });

  const shape = {
    layers: 1,
    hidden: 64,
    heads: 1,
    feedForward: 64,
    vocabulary: 100,
    norm: 'pre',
  } as const;
  await using lengthless = await Engine.random({ ...shape, lengths: 0 });
  const [other] = await lengthless.encode([ids], { states: false });
  t.equal(other!.lengthLogits, null, 'of a model without lengths they are null all the same');
  t.throws(() => other!.predictLengths(), { message: /no length predictor/ });
});

t.test('memory', async (t) => {
  await using engine = await Engine.load(readFixture('tiny-xl').directory);
  const { hidden } = engine.config;
  const ids = Int32Array.of(0, 17, 40, 8, 9, 2);
  const withStates = await encoded(engine, ids);
  const { working, perSourceId, perSourceIdWithoutStates } = engine.memory();
  const [without] = await engine.encode([ids], { states: false });
  t.equal(engine.memory().working - working, without!.bytes);
  t.equal(withStates.bytes - without!.bytes, ids.length * hidden * 4, 'no memory for states');
  t.equal(withStates.bytes, ids.length * perSourceId);
  t.equal(without!.bytes, ids.length * perSourceIdWithoutStates);
});

t.test('the text level', async (t) => {
  const sourceCache = { bytes: 2 ** 20 };
  await using model = await MaskPredict.load(undefined, { precision: 'fp32', sourceCache });
  await using plain = await MaskPredict.load(undefined, { precision: 'fp32' });
  const { perSourceId, perSourceIdWithoutStates } = model.engine.memory();
  const [prompt, other] = prompts as [string, string];
  const [rows, otherRows] = [prompt, other].map(
    (text) => model.tokenizer.encode(text).ids.length,
  ) as [number, number];
  const labels = ['19', '20'];
  const timeless = (answer: object) => ({ ...answer, timings: undefined });

  const given = { iterations, length: 9 };
  const chosen = await model.choose(prompt, labels);
  t.same(await model.choose(prompt, labels), chosen);
  const written = timeless(await model.generate(prompt, given));
  const scored = await model.score(prompt, 'zwei');
  let kept = rows * perSourceIdWithoutStates;
  t.match(model.stats().sources, { misses: 1, hits: 3, kept }, 'one without states serves them');

  const predicted = timeless(await model.generate(prompt, { iterations }));
  kept += rows * perSourceId;
  t.match(model.stats().sources, { misses: 2, hits: 3, kept }, 'not one that predicts a length');
  t.same(predicted, timeless(await plain.generate(prompt, { iterations })));
  t.same(await model.predictLength(prompt, 3), await plain.predictLength(prompt, 3));
  t.match(model.stats().sources, { misses: 2, hits: 4, kept });

  const candidates = { iterations, length: { candidates: 2 } };
  const best = timeless(await model.generate(other, candidates));
  kept += otherRows * perSourceId;
  t.match(model.stats().sources, { misses: 3, hits: 4, kept });
  t.same(best, timeless(await plain.generate(other, candidates)));
  t.same(await model.choose(other, labels), await plain.choose(other, labels));
  t.match(model.stats().sources, { misses: 3, hits: 5, kept }, 'one with states serves all');

  const together = await Promise.all([
    plain.generate(prompt, { iterations }).then(timeless),
    plain.choose(prompt, labels),
    plain.generate(prompt, given).then(timeless),
    plain.generate(other, candidates).then(timeless),
    plain.score(prompt, 'zwei'),
  ]);
  t.same(together, [predicted, chosen, written, best, scored], 'the same bits in shared passes');
});
