/**
 * lmHeadArgmax and logitsAt: the best allowed id and its log-probability over the real ids against the
 * double-precision reference. An id may differ only where the reference has a tie within the fp32 bound.
 */
import t from 'tap';
import { lmHeadArgmax, logitsAt } from '../../lib/token/operations.js';
import { linearBound, logSumExpBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { linear } from '../reference/ops.js';
import { allowed, predictRow } from '../reference/prediction.js';
import { quantizedLinear, quantizedLinearBound } from '../reference/quantized.js';
import { Random } from '../reference/random.js';
import { randomWeight, storeWeight, type StoredWeight } from '../reference/stored.js';
import { badOptions, refuses } from './refusals.js';
import {
  activationsFor,
  asKept,
  onDevice,
  packedPrecisions,
  packings,
  products,
  variantsOf,
  type Activations,
  type Variant,
  pack,
} from './variants.js';

interface Head {
  rows: number;
  states: Float32Array;
  weight: StoredWeight;
  /** As the product reads the states. */
  activations: Activations;
  bias: Float32Array;
  maskTokenId: number;
}

/** Logits and their bounds, row by row. */
function reference(head: Head, precision: 'fp32' | 'int8' = 'fp32') {
  const { rows, states, weight, activations, bias, maskTokenId } = head;
  const unquantized = {
    input: asKept(activations, states),
    weight: weight.exact,
    rows,
    inner: weight.columns,
    outer: weight.rows,
    bias,
  };
  const args = precision === 'int8' ? quantizedLinear(unquantized) : unquantized;
  const logits = linear(args);
  const bounds = precision === 'int8' ? quantizedLinearBound(args) : linearBound(args, activations);
  return Array.from({ length: rows }, (_, r) => {
    const row = logits.subarray(r * weight.rows, (r + 1) * weight.rows);
    const bound = bounds.subarray(r * weight.rows, (r + 1) * weight.rows);
    const e = bound.subarray(0, maskTokenId + 1).reduce((most, x) => Math.max(most, x));
    const sumBound = logSumExpBound(row, maskTokenId, e);
    return { row, bound, e, sumBound, expected: predictRow(row, maskTokenId) };
  });
}

function check(t: Test, head: Head, what: string, precision: 'fp32' | 'int8' = 'fp32'): void {
  const { states, weight, activations, bias, maskTokenId } = head;
  const packed = pack(weight, precision);
  const rows = reference(head, precision);
  for (const { name, options } of variantsOf(weight.type, activations)) {
    const result = lmHeadArgmax({ states, weight: packed, bias, maskTokenId }, options);
    rows.forEach(({ row, e, sumBound, expected }, r) => {
      const id = result.ids[r]!;
      const near = row[id]! >= row[expected.id]! - 2 * e;
      const right =
        id === expected.id || (expected.margin <= 2 * e && allowed(id, maskTokenId) && near);
      if (!right) t.fail(`${name} ${what}, row ${r}: id ${id}, expected ${expected.id}`);
      const sum = closeness([result.logSumExp[r]!], [expected.logSumExp], sumBound);
      if (sum.worst > 1)
        t.fail(`${name} ${what}, row ${r}: log-sum-exp ${sum.worst}, ${sum.where}`);
      const logProb = row[id]! - expected.logSumExp;
      const bound = e + sumBound + 2 ** -24 * (Math.abs(logProb) + e + sumBound);
      const score = closeness([result.logProbs[r]!], [logProb], bound);
      if (score.worst > 1)
        t.fail(`${name} ${what}, row ${r}: log-prob ${score.worst}, ${score.where}`);
    });
  }
  t.pass(what);
}

type Test = typeof t;

/** On a GPU the head of bfloat16 states reads 8 at a time. */
const takesWidth = (type: StoredWeight['type'], width: number): boolean =>
  activationsFor(type) === 'fp32' || width % 8 === 0;

function randomHead(
  random: Random,
  type: StoredWeight['type'],
  rows: number,
  width: number,
  vocabulary: number,
  maskTokenId: number,
  activations = activationsFor(type),
): Head {
  const weight = randomWeight(random, type, vocabulary, width);
  const bias = random.normals(vocabulary, 2);
  const states = random.normals(rows * width, 2);
  return { rows, states, weight, activations, bias, maskTokenId };
}

for (const [type, activations] of products) {
  const title = `${type} by ${activations}`;
  t.test(`${title}: within the fp32 bound`, async (t) => {
    const random = new Random(1);
    for (const [rows, width, vocabulary, maskTokenId] of [
      [1, 16, 5, 4],
      [1, 160, 509, 508],
      [7, 37, 509, 508],
      [40, 128, 528, 508],
      [140, 72, 300, 290],
      [3, 768, 96, 95],
      [5, 64, 4099, 4090],
      [2, 8, 20011, 20010],
    ] as const) {
      if (!takesWidth(type, width)) continue;
      check(
        t as Test,
        randomHead(random, type, rows, width, vocabulary, maskTokenId, activations),
        `[${rows}, ${width}] × ${vocabulary}`,
      );
    }
  });

  t.test(`${title}: ids that are never predicted stay in the sum`, async (t) => {
    for (const banned of [0, 1, 2, 508]) {
      const head = randomHead(new Random(2), type, 9, 64, 509, 508, activations);
      head.bias[banned]! += 100;
      check(t as Test, head, `${banned} by 100`);
      if (type === 'fp32')
        for (const precision of packedPrecisions.slice(1))
          check(t as Test, head, `${precision}: ${banned} by 100`, precision);
      const expected = reference(head);
      t.ok(
        expected.every(({ expected }) => expected.logProb < -50),
        'all probability is on it',
      );
    }
  });

  t.test(`${title}: padded vocabulary rows take no part`, async (t) => {
    const random = new Random(3);
    const head = randomHead(random, type, 9, 64, 560, 508);
    const args = () => ({ ...head, weight: pack(head.weight) });
    const ways = variantsOf(type, activations);
    const first = ways.map(({ options }) => lmHeadArgmax(args(), options));
    for (const value of [1e4, Infinity, NaN]) {
      head.bias.fill(value, 509);
      head.weight = storeWeight(
        head.weight.exact.map((x, i) => (i >= 509 * 64 ? 300 : x)),
        type,
        560,
        64,
      );
      ways.forEach(({ name, options }, i) => {
        const { ids, logProbs, logSumExp } = lmHeadArgmax(args(), options);
        t.same(ids, first[i]!.ids, `${name}, bias ${value}: ids`);
        t.ok(sameBits(logProbs, first[i]!.logProbs), `${name}, bias ${value}: log-probs`);
        t.ok(sameBits(logSumExp, first[i]!.logSumExp), `${name}, bias ${value}: log-sum-exp`);
      });
    }
  });

  t.test(`${title}: a tie goes to the lower id`, (t) =>
    tiesGoToTheLowerId(t as Test, type, activations),
  );
}

t.test('int8: within a few roundings of the quantized product', { skip: onDevice }, async (t) => {
  const random = new Random(8);
  for (const [rows, width, vocabulary, maskTokenId] of [
    [1, 16, 5, 4],
    [7, 37, 509, 508],
    [40, 128, 528, 508],
    [3, 768, 96, 95],
    [5, 64, 4099, 4090],
  ] as const)
    check(
      t as Test,
      randomHead(random, 'fp32', rows, width, vocabulary, maskTokenId),
      `[${rows}, ${width}] × ${vocabulary}`,
      'int8',
    );
});

t.test('a row with a state that is no number', async (t) => {
  for (const [type, precision, activations] of packings) {
    const head = randomHead(new Random(9), type, 3, 64, 509, 508);
    const { states, weight, bias, maskTokenId } = head;
    const packed = pack(weight, precision);
    const bad = states.slice();
    bad[64 + 5] = NaN;
    for (const { name, options } of variantsOf(type, activations)) {
      const good = lmHeadArgmax({ states, weight: packed, bias, maskTokenId }, options);
      const { ids, logProbs } = lmHeadArgmax(
        { states: bad, weight: packed, bias, maskTokenId },
        options,
      );
      const what = `${name} ${type} ${precision}`;
      t.same([...ids], [good.ids[0], -1, good.ids[2]], `${what}: ids`);
      t.same([...logProbs], [good.logProbs[0], NaN, good.logProbs[2]], `${what}: log-probs`);
    }
  }
});

async function tiesGoToTheLowerId(
  t: Test,
  type: StoredWeight['type'],
  activations: Activations,
): Promise<void> {
  const [width, vocabulary] = [24, 20011];
  const random = new Random(4);
  const states = random.normals(3 * width);
  for (const lowest of [3, 10, 47, 48, 10_000]) {
    const { exact } = randomWeight(random, type, vocabulary, width);
    const bias = random.normals(vocabulary);
    const twins = [lowest, lowest + 1, lowest + 50, 10_007, 20_001, 20_009];
    for (const id of twins) {
      exact.copyWithin(id * width, lowest * width, (lowest + 1) * width);
      bias[id] = 60;
    }
    const weight = pack(storeWeight(exact, type, vocabulary, width));
    for (const { name, options } of variantsOf(type, activations)) {
      const { ids } = lmHeadArgmax({ states, weight, bias, maskTokenId: 20_010 }, options);
      t.same([...ids], [lowest, lowest, lowest], `${name}: ${lowest}`);
    }
  }
  const nothing = pack(storeWeight(new Float32Array(509 * 16), type, 509, 16));
  const none = { states: new Float32Array(32), weight: nothing, bias: new Float32Array(509) };
  for (const { name, options } of variantsOf(type, activations)) {
    const { ids, logProbs } = lmHeadArgmax({ ...none, maskTokenId: 508 }, options);
    t.same([...ids], [3, 3], `${name}: all equal`);
    t.ok(
      closeness(logProbs, [-Math.log(509), -Math.log(509)], 3e-5).worst <= 1,
      `${name}: uniform`,
    );
  }
}

t.test('a row is the same bits in any batch, on any number of threads', async (t) => {
  const random = new Random(5);
  const width = 64;
  for (const [type, precision, activations] of packings.slice(-3)) {
    const head = randomHead(random, type, 190, width, 4099, 4098);
    const { states, weight, bias, maskTokenId } = head;
    const packed = pack(weight, precision);
    const run = (from: number, to: number, options: Variant['options']) => {
      const part = states.subarray(from * width, to * width);
      return lmHeadArgmax({ states: part, weight: packed, bias, maskTokenId }, options);
    };
    for (const { name, options } of variantsOf(type, activations)) {
      const all = run(0, 190, { ...options, threads: 1 });
      for (const [from, to] of [
        [0, 190],
        [0, 1],
        [189, 190],
        [5, 12],
        [60, 124],
        [100, 133],
      ] as const) {
        const part = run(from, to, options);
        const what = `${name} ${type} ${precision} ${from} to ${to}`;
        t.same(part.ids, all.ids.subarray(from, to), `${what}: ids`);
        t.ok(sameBits(part.logProbs, all.logProbs.subarray(from, to)), `${what}: log-probs`);
        t.ok(sameBits(part.logSumExp, all.logSumExp.subarray(from, to)), `${what}: log-sum-exp`);
      }
    }
  }
});

t.test('logitsAt', async (t) => {
  const random = new Random(6);
  for (const [type, precision, activations] of packings) {
    for (const [count, width, vocabulary] of [
      [1, 16, 5],
      [12, 37, 528],
      [5, 768, 96],
    ] as const) {
      if (!takesWidth(type, width)) continue;
      const head = randomHead(random, type, count, width, vocabulary, vocabulary - 1, activations);
      const { states, weight, bias, maskTokenId } = head;
      const expected = reference(head, precision);
      const rows = random.integers(200, 0, count - 1);
      const ids = random.integers(200, 0, vocabulary - 1);
      const packed = pack(weight, precision);
      for (const { name, options } of variantsOf(type, activations)) {
        const logits = logitsAt({ states, weight: packed, bias, rows, ids }, options);
        const exact = [...rows].map((r, i) => expected[r]!.row[ids[i]!]!);
        const bound = [...rows].map((r, i) => expected[r]!.bound[ids[i]!]!);
        const { worst, where } = closeness(logits, exact, bound);
        t.ok(
          worst <= 1,
          `${name} ${type} ${precision} [${count}, ${width}] × ${vocabulary}: ${where}`,
        );
        // lmHeadArgmax means the same logit, on the CPU to the bit: their difference to the log-sum-exp is
        // rounded, nothing more. A GPU adds up in another order.
        const best = lmHeadArgmax({ states, weight: packed, bias, maskTokenId }, options);
        const own = Int32Array.from(best.ids, (_, r) => r);
        const chosen = logitsAt(
          { states, weight: packed, bias, rows: own, ids: best.ids },
          options,
        );
        const scores = Array.from(chosen, (logit, r) => logit - best.logSumExp[r]!);
        const rounding = scores.map(
          (x, r) =>
            2 ** -24 * (Math.abs(x) + Math.abs(best.logSumExp[r]!)) +
            (onDevice ? 2 * expected[r]!.bound[best.ids[r]!]! : 0),
        );
        const agreement = closeness(best.logProbs, scores, rounding);
        t.ok(agreement.worst <= 1, `${name} ${type}: agrees with lmHeadArgmax, ${agreement.where}`);
      }
    }
  }
});

t.test('wrong arguments', async (t) => {
  const weight = pack(randomWeight(new Random(7), 'fp32', 9, 4));
  const head = { states: new Float32Array(12), weight, bias: new Float32Array(9), maskTokenId: 8 };
  const some = { ...head, rows: Int32Array.of(0, 2), ids: Int32Array.of(8, 0) };
  t.equal(lmHeadArgmax({ ...head, states: new Float32Array(0) }).ids.length, 0, 'no rows');
  const best = (args: object) => () => lmHeadArgmax({ ...head, ...args });
  const at = (args: object) => () => logitsAt({ ...some, ...args });
  for (const [name, call] of Object.entries({ lmHeadArgmax: best, logitsAt: at }))
    refuses(t, {
      [`${name}: states of no whole rows`]: call({ states: new Float32Array(13) }),
      [`${name}: states of another type`]: call({ states: new Float64Array(12) }),
      [`${name}: short bias`]: call({ bias: new Float32Array(8) }),
      [`${name}: long bias`]: call({ bias: new Float32Array(10) }),
      [`${name}: no bias`]: call({ bias: undefined }),
      [`${name}: no weight`]: call({ weight: {} }),
    });
  refuses(t, {
    'a mask id beyond the vocabulary': best({ maskTokenId: 9 }),
    'a mask id that leaves no allowed id': best({ maskTokenId: 3 }),
    'a mask id below 0': best({ maskTokenId: -1 }),
    'half a mask id': best({ maskTokenId: 7.5 }),
    'no mask id': best({ maskTokenId: undefined }),
    'no arguments': () => lmHeadArgmax(undefined as never),
    'a row that is not there': at({ rows: Int32Array.of(0, 3) }),
    'a row below 0': at({ rows: Int32Array.of(0, -1) }),
    'an id that is not there': at({ ids: Int32Array.of(9, 0) }),
    'an id below 0': at({ ids: Int32Array.of(-1, 0) }),
    'more rows than ids': at({ rows: Int32Array.of(0, 1, 2) }),
    'rows of another type': at({ rows: [0, 1] }),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, {
      [`lmHeadArgmax: ${name}`]: () => lmHeadArgmax(head, options),
      [`logitsAt: ${name}`]: () => logitsAt(some, options),
    });
});
