/**
 * The operations that only ModernBERT's layers use, against references in double precision on every instruction set:
 * rotary positions, attention within a window, gates, norms without shift; a row does not depend on the others.
 */
import t from 'tap';
import {
  gatedLinear,
  gatedRows,
  layerNorm,
  linear,
  mixedAttention,
  rotate,
  type MixedAttentionArguments,
} from '../../lib/token/operations.js';
import {
  geluBound,
  layerNormBound,
  linearBound,
  mixedAttentionBound,
} from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { gelu } from '../reference/erf.js';
import { rotate as rotated } from '../reference/modern-bert.js';
import {
  layerNorm as normed,
  linear as product,
  mixedAttention as attention,
  visibleKeys,
  type AttentionInput,
} from '../reference/ops.js';
import { offsetsOf, Random } from '../reference/random.js';
import { randomWeight, weightTypes } from '../reference/stored.js';
import {
  asKept,
  attentionVariants,
  onDevice,
  pack,
  variants,
  type Activations,
} from './variants.js';

const u = 2 ** -24;

t.test('refused on a GPU', { skip: !onDevice }, (t) => {
  const { options } = variants[0]!;
  const input = new Float32Array(4);
  const positions = Int32Array.of(0);
  t.throws(() => rotate({ input, heads: 1, headSize: 4, positions, theta: 10 }, options), {
    code: 'ERR_DEVICE',
  });
  t.throws(() => layerNorm({ input, gain: input, epsilon: 1 }, options), { code: 'ERR_DEVICE' });
  t.end();
});

t.test('rotary positions', { skip: onDevice }, async (t) => {
  const random = new Random(1);
  for (const [heads, headSize] of [
    [1, 2],
    [2, 64],
    [3, 20],
    [5, 6],
    [1, 128],
  ] as const) {
    const positions = Int32Array.from([0, 1, 7, 63, 64, 1000, 8191, 16000]);
    const width = heads * headSize;
    const input = random.normals(positions.length * width);
    const theta = random.choice([10_000, 160_000]);
    const expected = rotated(input, positions, heads, headSize, theta);
    // The angle, of which frequency and product are rounded, is off by 3u of itself, the frequency's power by 2u more;
    // sine, cosine, the products and the sum by a few u.
    const bound = expected.map((_, i) => {
      const j = i % headSize;
      const pair =
        Math.abs(input[i]!) +
        Math.abs(input[j < headSize / 2 ? i + headSize / 2 : i - headSize / 2]!);
      const angle =
        positions[Math.floor(i / width)]! * theta ** ((-2 * (j % (headSize / 2))) / headSize);
      return pair * (5 * u * angle + 8 * u);
    });
    for (const { name, options } of variants) {
      const args = { heads, headSize, theta };
      const output = rotate({ ...args, input, positions }, options);
      const { worst, where } = closeness(output, expected, bound);
      if (worst > 1) t.fail(`${name}, ${heads} x ${headSize}: ${worst} of the bound, ${where}`);
      for (const row of [2, 6]) {
        const [from, to] = [row * width, (row + 1) * width];
        const alone = { input: input.slice(from, to), positions: positions.slice(row, row + 1) };
        t.ok(sameBits(rotate({ ...args, ...alone }, options), output.slice(from, to)), name);
      }
    }
    const other = rotated(input, positions, heads, headSize, theta, true);
    if (headSize > 2)
      t.ok(closeness(other, expected, bound).worst > 100, 'interleaved is another rotation');
  }
});

interface Windowed extends Required<MixedAttentionArguments> {
  width: number;
}

/** Windowed attention, unfolded: each query is a sequence of its own, with the keys that it sees. */
function unfolded(args: Windowed): AttentionInput {
  const { heads, width, query, queryOffsets, queryKeys, window } = args;
  const [keys, values, lengths]: [number[], number[], number[]] = [[], [], []];
  for (let s = 0; s + 1 < queryOffsets.length; s++) {
    const visible = visibleKeys(args, s);
    for (let q = queryOffsets[s]!; q < queryOffsets[s + 1]!; q++) {
      const seen = visible.filter((_, key) => Math.abs(key - queryKeys[q]!) <= window);
      lengths.push(seen.length);
      for (const { key, value, row } of seen) {
        keys.push(...key.subarray(row * width, (row + 1) * width));
        values.push(...value.subarray(row * width, (row + 1) * width));
      }
    }
  }
  return {
    heads,
    width,
    query,
    key: Float64Array.from(keys),
    value: Float64Array.from(values),
    queryOffsets: offsetsOf(lengths.map(() => 1)),
    ownOffsets: offsetsOf(lengths),
  };
}

t.test('attention within a window', { skip: onDevice }, async (t) => {
  const random = new Random(2);
  type Case = [number, number, number, number[], number[], number[], number];
  const cases: Case[] = [
    [2, 64, 4, [20, 9], [30, 12, 1], [0, 1, -1], 1],
    [1, 64, 64, [300], [200], [0], 1],
    [3, 20, 0, [5], [17], [0], 1],
    [2, 24, 5, [], [150], [-1], 1],
    [1, 8, 7, [3, 40], [70, 65], [1, 0], 3],
    [1, 16, 2, [100], [400], [0], 37],
    [2, 64, 1000, [20], [30], [0], 1],
  ];
  for (const [heads, size, window, sources, own, index, every] of cases) {
    const width = heads * size;
    const all = (lengths: readonly number[]) => lengths.reduce((sum, n) => sum + n, 0) * width;
    // Every n-th one of the own rows is a query; they stand behind their source's keys.
    const rows = own.map((n, s) => {
      const before = index[s]! < 0 ? 0 : sources[index[s]!]!;
      return Array.from({ length: n }, (_, i) => before + i).filter((_, i) => i % every === 0);
    });
    const args: Windowed = {
      heads,
      width,
      query: random.normals(all(rows.map(({ length }) => length))),
      key: random.normals(all(own)),
      value: random.normals(all(own)),
      sourceKey: random.normals(all(sources)),
      sourceValue: random.normals(all(sources)),
      queryOffsets: offsetsOf(rows.map(({ length }) => length)),
      ownOffsets: offsetsOf(own),
      sourceOffsets: offsetsOf(sources),
      sourceIndex: Int32Array.from(index),
      window,
      queryKeys: Int32Array.from(rows.flat()),
    };
    const truthOf = (activations: Activations, window: number) => {
      const read = { ...args, window };
      for (const name of ['query', 'key', 'value', 'sourceKey', 'sourceValue'] as const)
        read[name] = asKept(activations, args[name]);
      const truth = unfolded(read);
      return { expected: attention(truth), bound: mixedAttentionBound(truth, activations) };
    };
    for (const { name, activations, options } of attentionVariants) {
      const { expected, bound } = truthOf(activations, window);
      const output = mixedAttention(args, options);
      const { worst, where } = closeness(output, expected, bound);
      t.ok(worst <= 1, `${name}, window ${window}: ${worst.toFixed(3)} of the bound, ${where}`);
      // A query of its own has the same bits, whatever keys the others of its block see.
      const last = args.queryOffsets[1]! - 1;
      for (const q of [0, Math.floor(last / 2), last]) {
        const alone = mixedAttention(
          {
            ...args,
            query: args.query.slice(q * width, (q + 1) * width),
            queryOffsets: offsetsOf([1, ...own.slice(1).map(() => 0)]),
            queryKeys: args.queryKeys.slice(q, q + 1),
          },
          options,
        );
        t.ok(
          sameBits(alone, output.slice(q * width, (q + 1) * width)),
          `${name}: query ${q} alone`,
        );
      }
      if (window === 1000) continue;
      const wider = truthOf(activations, window + 1);
      t.ok(closeness(output, wider.expected, bound).worst > 10, 'one more is found');
    }
    if (window === 1000) {
      const { window: _, queryKeys: __, ...global } = args;
      for (const { name, options } of attentionVariants)
        t.ok(
          sameBits(mixedAttention(args, options), mixedAttention(global, options)),
          `${name}: all keys`,
        );
    }
  }
  const wrong = (change: Partial<MixedAttentionArguments>) => {
    const args = {
      heads: 1,
      query: new Float32Array(8),
      key: new Float32Array(12),
      value: new Float32Array(12),
      queryOffsets: offsetsOf([2]),
      ownOffsets: offsetsOf([3]),
      window: 1,
      queryKeys: Int32Array.of(0, 2),
    };
    t.throws(() => mixedAttention({ ...args, ...change }), { code: 'ERR_INVALID_ARGUMENT' });
  };
  wrong({ window: -1 });
  wrong({ queryKeys: Int32Array.of(0) });
  wrong({ queryKeys: Int32Array.of(0, 3) });
  wrong({ queryKeys: Int32Array.of(2, 0) });
});

t.test('gates', { skip: onDevice }, async (t) => {
  const random = new Random(3);
  t.same(gatedRows(8), [0, 1, 2, 3, 4, 5, 6, 7]);
  t.same(gatedRows(100).slice(0, 50), [
    ...Array.from({ length: 24 }, (_, i) => i),
    ...Array.from({ length: 24 }, (_, i) => 50 + i),
    24,
    25,
  ]);
  for (const [rows, inner, outer] of [
    [1, 64, 48],
    [7, 40, 100],
    [30, 1100, 34],
    [300, 16, 192],
    [3, 5, 2],
  ] as const) {
    for (const type of weightTypes) {
      const weight = randomWeight(random, type, outer, inner);
      const input = random.normals(rows * inner);
      const order = gatedRows(outer);
      const half = outer / 2;
      const cut = (values: Float32Array | Uint16Array, row: number) =>
        values.subarray(row * inner, (row + 1) * inner);
      const stored = new (type === 'fp32' ? Float32Array : Uint16Array)(outer * inner);
      order.forEach((row, at) => stored.set(cut(weight.stored, row), at * inner));
      const sums = { input, weight: weight.exact, rows, inner, outer };
      const [both, errors] = [product(sums), linearBound(sums)];
      const expected = new Float64Array(rows * half);
      const bound = new Float64Array(rows * half);
      for (let i = 0; i < rows * half; i++) {
        const first = Math.floor(i / half) * outer + (i % half);
        const [x, g, ex, eg] = [
          both[first]!,
          both[first + half]!,
          errors[first]!,
          errors[first + half]!,
        ];
        const e = geluBound(x, ex);
        expected[i] = gelu(x) * g;
        bound[i] =
          e * (Math.abs(g) + eg) + Math.abs(gelu(x)) * eg + 2 * u * Math.abs(expected[i]!) + 1e-30;
      }
      for (const { name, options } of variants) {
        const packed = pack({ ...weight, stored });
        const output = gatedLinear({ input, weight: packed }, options);
        const { worst, where } = closeness(output, expected, bound);
        t.ok(
          worst <= 1,
          `${name} ${type} ${rows} x ${inner} x ${outer}: ${worst.toFixed(3)}, ${where}`,
        );
        const last = { input: input.slice((rows - 1) * inner), weight: packed };
        const alone = gatedLinear(last, options);
        t.ok(sameBits(alone, output.slice((rows - 1) * half)), `${name} ${type}: a row alone`);
      }
    }
    // Bytes: what the product gives, gated.
    const weight = randomWeight(random, 'fp32', outer, inner);
    const input = random.normals(rows * inner);
    for (const { name, options } of variants) {
      const packed = pack(weight, 'int8');
      const sums = linear({ input, weight: packed }, options);
      const output = gatedLinear({ input, weight: packed }, options);
      const order = gatedRows(outer);
      const at = (row: number, stacked: number) => sums[row * outer + order.indexOf(stacked)]!;
      const wrong = output.findIndex((value, i) => {
        const [row, column] = [Math.floor(i / halfOf(outer)), i % halfOf(outer)];
        const [x, g] = [at(row, column), at(row, halfOf(outer) + column)];
        return (
          Math.abs(value - gelu(x) * g) >
          geluBound(x, 0) * Math.abs(g) * 1.01 + 2 * u * Math.abs(value)
        );
      });
      t.equal(wrong, -1, `${name} int8`);
    }
  }
  const odd = pack(randomWeight(random, 'fp32', 3, 4));
  const input = new Float32Array(4);
  t.throws(() => gatedLinear({ input, weight: odd }), /even number of rows/);
  const even = pack(randomWeight(random, 'fp32', 2, 4));
  const bias = new Float32Array(2);
  t.throws(() => gatedLinear({ input, weight: even, bias } as never), /neither bias/);
});
const halfOf = (outer: number) => outer / 2;

t.test('norms without shift', { skip: onDevice }, async (t) => {
  const random = new Random(4);
  for (const width of [1, 7, 64, 100]) {
    const [input, gain] = [random.normals(5 * width), random.normals(width)];
    const zeros = new Float64Array(width);
    const expected = normed(input, gain, zeros, 1e-5);
    const bound = layerNormBound(input, gain, zeros, 1e-5);
    for (const { name, options } of variants) {
      const { worst } = closeness(
        layerNorm({ input, gain, epsilon: 1e-5 }, options),
        expected,
        bound,
      );
      t.ok(worst <= 1, `${name}, ${width}: ${worst.toFixed(3)}`);
    }
  }
});
