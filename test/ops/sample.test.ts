/**
 * sample: the very id that temperature, nucleus and Philox give in double precision, wherever fp32 weights cannot
 * change the choice; never an id outside the nucleus; log-probabilities without temperature over all real ids.
 */
import t from 'tap';
import { sample, type SampleArguments } from '../../lib/token/operations.js';
import { logSumExpBound } from '../reference/bounds.js';
import { sameBits } from '../reference/closeness.js';
import { logSumExp } from '../reference/prediction.js';
import { Random } from '../reference/random.js';
import { nucleusOf, pick, ranked, uniformDraw } from '../reference/sampling.js';
import { badOptions, refuses } from './refusals.js';
import { variants } from './variants.js';

/** Rows `[rows, vocabulary]` with the banned ids large and NaN behind the mask id. */
function draw(
  random: Random,
  rows: number,
  vocabulary: number,
  maskTokenId: number,
): SampleArguments {
  const logits = random.normals(rows * vocabulary, 3);
  for (let r = 0; r < rows; r++) {
    logits[r * vocabulary + random.choice([0, 1, 2, maskTokenId])]! += 8;
    logits.fill(NaN, r * vocabulary + maskTokenId + 1, (r + 1) * vocabulary);
  }
  return {
    logits,
    vocabulary,
    maskTokenId,
    temperature: 1,
    nucleus: 0.9,
    seed: 2n ** 63n + 12345678901n,
    sequences: random.integers(rows, 0, 1000),
    positions: random.integers(rows, 1, 512),
    iteration: random.integer(1, 10),
  };
}

/**
 * How far a cumulative probability in [0, 1] may be off: each weight exp(x/T) by its exp error and by the three
 * roundings of its exponent (|x/T| ≤ 87, later weights are nothing), numerator and denominator alike.
 */
const cumulativeError = (spread: number) => 2 * (3e-7 + 3 * 2 ** -24 * Math.min(spread, 87));

t.test('the id that the reference draws', async (t) => {
  const random = new Random(1);
  let decided = 0;
  let all = 0;
  for (const [vocabulary, maskTokenId] of [
    [509, 508],
    [528, 508],
    [6, 5],
    [5, 4],
  ] as const) {
    for (const temperature of [0.2, 1, 2]) {
      for (const nucleus of [1e-6, 0.5, 0.9, 1]) {
        const rows = 12;
        const args = { ...draw(random, rows, vocabulary, maskTokenId), temperature, nucleus };
        const expected = Array.from({ length: rows }, (_, r) => {
          const row = args.logits.subarray(r * vocabulary, (r + 1) * vocabulary);
          const candidates = ranked(row, maskTokenId, temperature);
          const kept = nucleusOf(candidates, nucleus);
          const last = row[kept.at(-1)!.id]!;
          const e = cumulativeError((row[kept[0]!.id]! - last) / temperature);
          const near = ({ cumulative }: { cumulative: number }) =>
            Math.abs(cumulative - nucleus) <= e;
          const next = candidates[kept.length];
          const cutDecided =
            nucleus === 1 ||
            (!candidates.some(near) && (!next || last - row[next.id]! > 1e-6 * temperature));
          const uniform = uniformDraw(
            args.seed,
            args.sequences[r]!,
            args.positions[r]!,
            args.iteration,
          );
          const { id, margin } = pick(kept, uniform);
          return { row, id, decided: cutDecided && margin > e / nucleus };
        });
        all += rows;
        decided += expected.filter((row) => row.decided).length;
        for (const { name, options } of variants) {
          const { ids, logProbs } = sample(args, options);
          const what = `${name}, ${vocabulary} ids, temperature ${temperature}, nucleus ${nucleus}`;
          expected.forEach(({ row, id, decided }, r) => {
            if (decided && ids[r] !== id) t.fail(`${what}, row ${r}: ${ids[r]}, expected ${id}`);
            const sum = logSumExp(row, maskTokenId);
            const logProb = row[ids[r]!]! - sum;
            const bound = logSumExpBound(row, maskTokenId, 0) + 2 ** -23 * Math.abs(logProb);
            if (!(Math.abs(logProbs[r]! - logProb) <= bound))
              t.fail(`${what}, row ${r}: log-prob ${logProbs[r]}, expected ${logProb}`);
          });
        }
        t.pass(`${vocabulary} ids, temperature ${temperature}, nucleus ${nucleus}`);
      }
    }
  }
  t.ok(decided > 0.98 * all, `${decided} of ${all} draws are decided by more than rounding`);
});

t.test('ties of the nucleus go to the lower id', async (t) => {
  // Four equal ids and a half of their probability: two are kept.
  const logits = Float32Array.of(9, 9, 9, 0, 0, 0, 0, -50, 9);
  const rows = 64;
  const many = new Float32Array(rows * 9);
  for (let r = 0; r < rows; r++) many.set(logits, r * 9);
  const positions = Int32Array.from({ length: rows }, (_, r) => r);
  for (const { name, options } of variants) {
    const { ids } = sample(
      {
        logits: many,
        vocabulary: 9,
        maskTokenId: 8,
        temperature: 1,
        nucleus: 0.5,
        seed: 1n,
        sequences: new Int32Array(rows),
        positions,
        iteration: 1,
      },
      options,
    );
    t.same(new Set(ids), new Set([3, 4]), name);
  }
});

t.test('the same draw in any batch, another one for any other counter or seed', async (t) => {
  const random = new Random(2);
  const args = { ...draw(random, 40, 509, 508), temperature: 2, nucleus: 1 };
  for (const { name, options } of variants) {
    const all = sample(args, { ...options, threads: 1 });
    const again = sample(args, options);
    t.same(again.ids, all.ids, `${name}: threads`);
    t.ok(sameBits(again.logProbs, all.logProbs), `${name}: threads`);
    for (const r of [0, 17, 39]) {
      const alone = sample(
        {
          ...args,
          logits: args.logits.subarray(r * 509, (r + 1) * 509),
          sequences: args.sequences.subarray(r, r + 1),
          positions: args.positions.subarray(r, r + 1),
        },
        options,
      );
      t.equal(alone.ids[0], all.ids[r], `${name}: row ${r} alone`);
    }
    const others: Record<string, Partial<SampleArguments>> = {
      'low bits of the seed': { seed: args.seed + 1n },
      'high bits of the seed': { seed: args.seed ^ (1n << 40n) },
      iteration: { iteration: args.iteration + 1 },
      sequences: { sequences: args.sequences.map((s) => s + 1) },
      positions: { positions: args.positions.map((p) => p + 1) },
    };
    for (const [what, other] of Object.entries(others))
      t.notSame(sample({ ...args, ...other }, options).ids, all.ids, `${name}: ${what}`);
  }
});

t.test('wrong arguments', async (t) => {
  const good = draw(new Random(3), 3, 9, 8);
  const call = (args: object) => () => sample({ ...good, ...args });
  const none = new Int32Array(0);
  const empty = sample({ ...good, logits: new Float32Array(0), sequences: none, positions: none });
  t.equal(empty.ids.length, 0, 'no rows');
  refuses(t, {
    'logits of no whole rows': call({ logits: new Float32Array(28) }),
    'logits of another type': call({ logits: new Float64Array(27) }),
    'no logits': call({ logits: undefined }),
    'no vocabulary': call({ vocabulary: 0 }),
    'half an id': call({ vocabulary: 4.5 }),
    'a mask id beyond the vocabulary': call({ maskTokenId: 9 }),
    'a mask id that leaves no allowed id': call({ maskTokenId: 3 }),
    'temperature 0': call({ temperature: 0 }),
    'temperature below 0': call({ temperature: -1 }),
    'temperature NaN': call({ temperature: NaN }),
    'temperature Infinity': call({ temperature: Infinity }),
    'nucleus 0': call({ nucleus: 0 }),
    'nucleus above 1': call({ nucleus: 1.1 }),
    'nucleus NaN': call({ nucleus: NaN }),
    'a seed that is no bigint': call({ seed: 1 }),
    'no seed': call({ seed: undefined }),
    'too few sequences': call({ sequences: Int32Array.of(0, 1) }),
    'too many positions': call({ positions: new Int32Array(4) }),
    'positions of another type': call({ positions: new Float32Array(3) }),
    'half an iteration': call({ iteration: 1.5 }),
    'no iteration': call({ iteration: undefined }),
    'no arguments': () => sample(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => sample(good, options) });
});
