/**
 * The engine on every checkpoint of test/fixtures: states, logits and lengths within a bound of fp32, every token of
 * every iteration exactly, and the same bits in any batch, on any number of threads, by loop or by one call.
 */
import t from 'tap';
import { Engine } from '../lib/token/engine.js';
import { relativeBound } from './reference/bounds.js';
import { closeness, rootMeanSquare, sameBits } from './reference/closeness.js';
import {
  decodeIterations,
  fixtureNames,
  readFixture,
  type Fixture,
  type FixtureCase,
} from './reference/fixtures.js';
import { predictRow, remaskCount } from './reference/prediction.js';
import { nucleusOf, pick, ranked, uniformDraw } from './reference/sampling.js';

type Source = Awaited<ReturnType<Engine['encode']>>[number];
type Target = ReturnType<Source['target']>;

interface Snapshot {
  tokens: Int32Array;
  scores: Float32Array;
}

const snapshot = ({ tokens, scores }: Target): Snapshot => ({ tokens, scores });

/** The loop by hand: for every iteration, what each target holds after its predictions. */
async function loop(engine: Engine, targets: Target[], iterations: number): Promise<Snapshot[][]> {
  const steps: Snapshot[][] = [];
  for (let t = 1; t <= iterations; t++) {
    await engine.predict(targets);
    steps.push(targets.map(snapshot));
    if (t === iterations) break;
    const counts = targets.map(({ length }) => remaskCount(length - 2, t, iterations));
    await engine.remask(targets, counts);
  }
  return steps;
}

function same(a: Snapshot[], b: Snapshot[]): boolean {
  return (
    a.length === b.length &&
    a.every(
      ({ tokens, scores }, i) => sameBits(tokens, b[i]!.tokens) && sameBits(scores, b[i]!.scores),
    )
  );
}

/** A log-probability is the difference of a logit and a mean of logits. */
const scoreScale = ({ targetLogits }: FixtureCase) => 2 * rootMeanSquare(targetLogits);

for (const name of fixtureNames) {
  t.test(name, async (t) => {
    const fixture = readFixture(name);
    const { cases } = fixture;
    const engine = await Engine.load(fixture.directory, { threads: 2, precision: 'fp32' });
    const { layers, feedForward, maskTokenId, vocabulary } = engine.config;
    const relative = relativeBound(layers, feedForward);
    const near = (
      actual: ArrayLike<number>,
      expected: Float64Array,
      what: string,
      scale = rootMeanSquare(expected),
    ) => {
      const { worst, where } = closeness(actual, expected, relative * scale);
      t.ok(worst <= 1, `${what}: ${worst.toFixed(3)} of the bound, ${where}`);
    };

    const sources = await engine.encode(cases.map(({ sourceIds }) => sourceIds));
    const given = sources.map((source, i) => source.target(cases[i]!.targetIds));
    const states = await engine.states(given);
    const logits = await engine.logits(given);
    await engine.predict(given);
    cases.forEach((expected, i) => {
      const source = sources[i]!;
      near(source.states(), expected.sourceStates, `source ${i}`);
      near(states[i]!, expected.targetStates, `target ${i}`);
      near(logits[i]!, expected.targetLogits, `logits ${i}`);
      if (expected.lengthLogits)
        near(source.lengthLogits ?? [], expected.lengthLogits, `lengths ${i}`);
      else t.equal(source.lengthLogits, null, `no lengths ${i}`);

      // Filling in: masked positions take the best id, given ones stay and have score 0.
      const { tokens, scores } = given[i]!;
      const best = Array.from(expected.targetIds, (id, at) => {
        if (id !== maskTokenId) return { id, logProb: 0 };
        return predictRow(
          expected.targetLogits.subarray(at * vocabulary, (at + 1) * vocabulary),
          id,
        );
      });
      t.same(
        [...tokens],
        best.map(({ id }) => id),
        `filled in ${i}`,
      );
      const logProbs = Float64Array.from(best, ({ logProb }) => logProb);
      near(scores, logProbs, `filled in ${i}: scores`, scoreScale(expected));
    });

    const fresh = (of: Source[]) =>
      of.map((source) => source.target(cases[sources.indexOf(source)]!.decodeLength));
    const decoded = new Map<number, Snapshot[]>();
    for (const iterations of decodeIterations) {
      const steps = await loop(engine, fresh(sources), iterations);
      steps.forEach((step, index) =>
        step.forEach(({ tokens, scores }, i) => {
          const what = `T = ${iterations}, t = ${index + 1}, ${i}`;
          const expected = cases[i]!.decodes.get(iterations)![index]!;
          t.same([...tokens], [...expected.tokens], `${what}: tokens`);
          near(scores, expected.scores, `${what}: scores`, scoreScale(cases[i]!));
        }),
      );

      decoded.set(iterations, steps.at(-1)!);
      const atOnce = fresh(sources);
      await engine.decode(atOnce, iterations);
      t.ok(same(atOnce.map(snapshot), steps.at(-1)!), `T = ${iterations}: decode is the loop`);
      for (const [i, source] of sources.entries()) {
        const alone = await loop(engine, fresh([source]), iterations);
        const batched = steps.map((step) => [step[i]!]);
        t.ok(
          alone.every((step, at) => same(step, batched[at]!)),
          `T = ${iterations}: ${i} alone`,
        );
      }
    }

    await t.test('sampling', async (t) => sampled(t, engine, fixture, sources));
    await t.test('one thread, one source at a time', async (t) =>
      oneByOne(t, fixture, sources, logits, decoded),
    );
    await engine.close();
  });
}

async function oneByOne(
  t: { ok(value: boolean, message: string): unknown },
  { directory, cases }: Fixture,
  batched: Source[],
  logits: Float32Array[],
  decoded: Map<number, Snapshot[]>,
): Promise<void> {
  const engine = await Engine.load(directory, { threads: 1, precision: 'fp32' });
  for (const [i, { sourceIds, targetIds, decodeLength }] of cases.entries()) {
    const [source] = await engine.encode([sourceIds]);
    t.ok(sameBits(source!.states(), batched[i]!.states()), `source ${i}`);
    const [lengths, others] = [source!.lengthLogits, batched[i]!.lengthLogits];
    t.ok(lengths && others ? sameBits(lengths, others) : lengths === others, `lengths ${i}`);
    const [own] = await engine.logits([source!.target(targetIds)]);
    t.ok(sameBits(own!, logits[i]!), `logits ${i}`);
    for (const [iterations, targets] of decoded) {
      const target = source!.target(decodeLength);
      await engine.decode([target], iterations);
      t.ok(same([snapshot(target)], [targets[i]!]), `T = ${iterations}: ${i}`);
    }
  }
  await engine.close();
}

/**
 * Iteration t of T draws from the engine's own logits: temperature 2·(1 - (t - 1)/T), nucleus 0.9, the counter
 * (sequence, position, t). Draws nearer than 1e-5 to another choice are left out.
 */
async function sampled(
  t: {
    ok(value: boolean, message: string): unknown;
    equal(a: unknown, b: unknown, m: string): unknown;
  },
  engine: Engine,
  { cases }: Fixture,
  sources: Source[],
): Promise<void> {
  const { maskTokenId, vocabulary } = engine.config;
  const seed = 2n ** 40n + 7n;
  const iterations = 3;
  const begin = () =>
    sources.map((source, i) => source.target(cases[i]!.decodeLength, { sequence: 3 * i }));
  const targets = begin();
  let left = 0;
  for (let iteration = 1; iteration <= iterations; iteration++) {
    const logits = await engine.logits(targets);
    const masked = targets.map((target) => target.masked);
    await engine.predict(targets, { sampling: { seed, iterations, iteration } });
    targets.forEach(({ tokens }, i) =>
      tokens.forEach((id, at) => {
        if (!masked[i]![at]) return;
        const row = logits[i]!.subarray(at * vocabulary, (at + 1) * vocabulary);
        const candidates = ranked(row, maskTokenId, 2 * (1 - (iteration - 1) / iterations));
        const expected = pick(nucleusOf(candidates, 0.9), uniformDraw(seed, 3 * i, at, iteration));
        const cutNear = candidates.some(({ cumulative }) => Math.abs(cumulative - 0.9) < 1e-5);
        if (cutNear || expected.margin < 1e-5) left++;
        else t.equal(id, expected.id, `t = ${iteration}, ${i}, position ${at}`);
      }),
    );
    if (iteration === iterations) break;
    await engine.remask(
      targets,
      targets.map(({ length }) => remaskCount(length - 2, iteration, iterations)),
    );
  }
  t.ok(left < 10, `${left} draws are decided by rounding`);
  const atOnce = begin();
  await engine.decode(atOnce, iterations, { sampling: { seed } });
  t.ok(same(atOnce.map(snapshot), targets.map(snapshot)), 'decode is the loop');
  const alone = begin().slice(2, 3);
  await engine.decode(alone, iterations, { sampling: { seed } });
  t.ok(same(alone.map(snapshot), targets.slice(2, 3).map(snapshot)), 'one alone');
}
