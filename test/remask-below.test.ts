/**
 * The bounded confidence rule `remask: { below: p }`: of what Mask-Predict masks again only positions that are not surer
 * than p. Against the loop of predict() and a mask that is made here from the rule's definition; with p = 1 the bits of
 * Mask-Predict; never more passes than T; in a batch as alone, with stopping rules, sampling and length candidates.
 */
import t, { type Test } from 'tap';
import { Engine, MaskPredict, type Source, type Target } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { refused, wrong } from './refusals-of-calls.js';
import { encoded, inner, prompts } from './token-level.js';

const iterations = 10;
const bounds = [0.02, 0.1, 0.5, 0.9, 0.999];

/** How many of the lowest scores the rule masks after pass t of T: by its definition, in float32 as the engine compares. */
function allowed(scores: Float32Array, below: number, pass: number): number {
  const unsure = scores.filter((score) => !(score > Math.fround(Math.log(below)))).length;
  return Math.min(Math.floor((scores.length * (iterations - pass)) / iterations), unsure);
}

/** The rule as a loop of single calls; the passes it took. */
async function bounded(engine: Engine, target: Target, below: number): Promise<number> {
  for (let pass = 1; ; pass++) {
    await engine.predict([target]);
    if (pass === iterations) return pass;
    const count = allowed(inner(target).tokenScores, below, pass);
    if (count === 0) return pass;
    await engine.remask([target], [count]);
  }
}

async function check(t: Test, engine: Engine, sources: Source[], lengths: number[]) {
  const passes = new Set<number>();
  const all: { target: () => Target; expected: Target; below: number; count: number }[] = [];
  for (const source of sources) {
    for (const length of lengths) {
      for (const below of bounds) {
        const expected = source.target(length);
        const count = await bounded(engine, expected, below);
        passes.add(count);
        all.push({ target: () => source.target(length), expected, below, count });
        const target = source.target(length);
        const what = `length ${length}, below ${below}: ${count} passes`;
        t.same(await engine.decode([target], iterations, { remask: { below } }), [count], what);
        t.ok(sameBits(target.tokens, expected.tokens), 'its tokens');
        t.ok(sameBits(target.scores, expected.scores), 'and scores');
        t.ok(count <= iterations);
      }
      const [whole, one] = [source.target(length), source.target(length)];
      const counts = await engine.decode([whole], iterations);
      t.same(await engine.decode([one], iterations, { remask: { below: 1 } }), counts);
      t.ok(sameBits(one.tokens, whole.tokens) && sameBits(one.scores, whole.scores), 'p = 1');
    }
  }
  t.ok(passes.size > 2, `${[...passes].sort((a, b) => a - b).join(', ')} passes were seen`);
  for (const below of bounds) {
    const same = all.filter((one) => one.below === below);
    const targets = same.map(({ target }) => target());
    t.same(
      await engine.decode(targets, iterations, { remask: { below } }),
      same.map(({ count }) => count),
      'the same passes in a batch',
    );
    t.ok(
      same.every(({ expected }, i) => sameBits(targets[i]!.scores, expected.scores)),
      'and bits',
    );
  }
}

const shape = { layers: 2, hidden: 64, heads: 4, feedForward: 128, vocabulary: 300 };

t.test('a model that is unsure', async (t) => {
  const device = (process.env.MASK_PREDICT_DEVICE ?? 'cpu') as 'cpu';
  const engine = await Engine.random(shape, { seed: 5, device });
  t.teardown(() => engine.close());
  const ids = [0, 1].map((n) => Int32Array.of(0, 10 + n, 20 + 7 * n, 30, 2));
  const sources = await Promise.all(ids.map((one) => encoded(engine, one)));
  await check(t, engine, sources, device === 'cpu' ? [3, 9, 24] : [9]);

  const target = sources[0]!.target(12);
  await engine.predict([target]);
  const { tokenScores } = inner(target);
  const middle = Math.exp([...tokenScores].sort((a, b) => a - b)[4]! + 1e-4);
  await engine.remask([target], [8], { below: middle });
  t.equal(target.masked.filter(Boolean).length, 5, 'remask() masks those that are not surer');
});

t.test(
  'the embedded model: generate(), refine(), candidates, sampling, stopping rules',
  async (t) => {
    const model = await MaskPredict.load(undefined, { device: 'cpu' });
    t.teardown(() => model.close());
    const { engine, tokenizer } = model;
    const sources = await Promise.all(
      prompts.map((prompt) => encoded(engine, tokenizer.encode(prompt).ids)),
    );
    await check(t, engine, sources, [5, 12]);

    const remask = { below: 0.9 };
    for (const [index, prompt] of prompts.entries()) {
      const options = { iterations, length: 10, remask };
      const generation = await model.generate(prompt, options);
      const target = sources[index]!.target(12);
      const passes = await bounded(engine, target, remask.below);
      t.equal(generation.iterations, passes);
      t.ok(sameBits(generation.tokenScores, inner(target).tokenScores));

      const reader = model.refine(prompt, options);
      let steps = 0;
      let next = await reader.next();
      for (; !next.done; next = await reader.next()) {
        steps++;
        const unsure = next.value.tokens.filter(({ masked }) => masked);
        t.ok(
          unsure.every(({ score }) => score <= Math.fround(Math.log(remask.below))),
          'nothing that is surer is masked again',
        );
      }
      t.equal(steps, passes, 'refine() has as many steps');
      t.ok(sameBits(next.value.tokenScores, generation.tokenScores));

      const sampled = { ...options, sampling: { seed: 3 } };
      const drawn = await model.generate(prompt, sampled);
      t.ok(drawn.iterations <= iterations);
      t.same((await model.generate([prompt, prompt], sampled))[1]!.tokens, drawn.tokens);
      const stopped = await model.generate(prompt, { ...options, stop: 'unchanged' });
      t.ok(stopped.iterations <= generation.iterations, 'the first rule that is met ends it');
      const best = await model.generate(prompt, {
        iterations,
        remask,
        length: { candidates: 3 },
      });
      t.equal(best.candidates!.length, 3);
      const alone = await model.generate(prompt, { iterations, remask, length: best.length });
      t.ok(sameBits(alone.tokenScores, best.tokenScores), 'a candidate is what it is alone');
    }

    await refused(t, 'ERR_INVALID_ARGUMENT', {
      'a bound of 0': [() => model.generate('x', { remask: { below: 0 } }), /remask\.below.*not 0/],
      'a bound of 2': [() => model.refine('x', { remask: { below: 2 } }).next(), /not 2/],
      'no bound': [() => model.generate('x', { remask: wrong({}) }), /remask\.below/],
      'another name': [() => model.generate('x', { remask: wrong({ above: 1 }) }), /'above'/],
      'a bound of decode()': [
        () => engine.decode([], 1, { remask: wrong(3) }),
        /must be an object/,
      ],
      'a bound of remask()': [() => engine.remask([], [], { below: -1 }), /not -1/],
    });
    for (const source of sources) source.dispose();
  },
);
