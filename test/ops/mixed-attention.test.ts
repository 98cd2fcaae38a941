/**
 * mixedAttention: ragged shapes, sources shared, missing or short, queries fewer than keys, against the
 * double-precision reference; a sequence does not depend on the others or on the threads.
 */
import t from 'tap';
import { mixedAttention, type MixedAttentionArguments } from '../../lib/token/operations.js';
import { keptBound, mixedAttentionBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { mixedAttention as reference } from '../reference/ops.js';
import { offsetsOf, Random } from '../reference/random.js';
import { badOffsets, badOptions, refuses } from './refusals.js';
import { asKept, attentionVariants, onDevice, type Activations } from './variants.js';

interface Shape {
  heads: number;
  size: number;
  sources: number[];
  own: number[];
  /** Where it differs from `own`. */
  queries?: number[];
  index: number[];
  /** Deviation of queries and keys: how peaked the softmax is. */
  peak?: number;
}

type Complete = Required<Omit<MixedAttentionArguments, 'window' | 'queryKeys'>> & { width: number };

function fill(random: Random, shape: Shape): Complete {
  const width = shape.heads * shape.size;
  const peak = shape.peak ?? 1;
  const rows = (lengths: number[]) => lengths.reduce((sum, length) => sum + length, 0) * width;
  const queries = shape.queries ?? shape.own;
  return {
    heads: shape.heads,
    width,
    query: random.normals(rows(queries), peak),
    key: random.normals(rows(shape.own), peak),
    value: random.normals(rows(shape.own)),
    sourceKey: random.normals(rows(shape.sources), peak),
    sourceValue: random.normals(rows(shape.sources)),
    queryOffsets: offsetsOf(queries),
    ownOffsets: offsetsOf(shape.own),
    sourceOffsets: offsetsOf(shape.sources),
    sourceIndex: Int32Array.from(shape.index),
  };
}

const shapes: Record<string, Shape> = {
  'one row, no source': { heads: 1, size: 64, sources: [], own: [1], index: [-1] },
  'source of one row': { heads: 2, size: 64, sources: [1], own: [3], index: [0] },
  'sources alone': { heads: 2, size: 80, sources: [], own: [7, 1, 20], index: [-1, -1, -1] },
  'shared source': { heads: 2, size: 128, sources: [19], own: [4, 9, 33], index: [0, 0, 0] },
  'sources out of order': {
    heads: 3,
    size: 24,
    sources: [5, 1, 40],
    own: [2, 3, 17],
    index: [2, 0, 1],
  },
  'mixed with and without': {
    heads: 2,
    size: 80,
    sources: [16, 17],
    own: [15, 16, 17],
    index: [1, -1, 0],
  },
  'a source nobody sees': { heads: 1, size: 8, sources: [3, 9, 4], own: [6], index: [2] },
  'an empty source': { heads: 2, size: 16, sources: [0, 4], own: [5, 2], index: [0, 1] },
  'an empty sequence': { heads: 2, size: 64, sources: [4], own: [5, 0, 2], index: [0, 0, -1] },
  'no own keys': { heads: 1, size: 40, sources: [11], own: [0], queries: [3], index: [0] },
  'queries fewer than keys': {
    heads: 2,
    size: 64,
    sources: [9, 30],
    own: [12, 8, 31],
    queries: [1, 5, 0],
    index: [1, 0, 1],
  },
  'an odd head size': { heads: 5, size: 7, sources: [6], own: [9, 4], index: [0, -1] },
  'head size 1': { heads: 3, size: 1, sources: [2], own: [5], index: [0] },
  'a wide head': { heads: 1, size: 256, sources: [5], own: [6], index: [0] },
  long: { heads: 2, size: 64, sources: [300], own: [130], index: [0] },
  peaked: { heads: 2, size: 64, sources: [40], own: [30, 5], index: [0, 0], peak: 2.5 },
  flat: { heads: 2, size: 80, sources: [40], own: [30, 5], index: [0, 0], peak: 1e-3 },
};
const random = new Random(1);
for (let i = 0; i < 12; i++) {
  const sources = [...random.integers(random.integer(1, 3), 1, 50)];
  const own = [...random.integers(random.integer(1, 5), 1, 40)];
  const index = own.map(() => random.integer(-1, sources.length - 1));
  const size = random.choice([64, 80, 128, 24, 20, 33]);
  shapes[`random ${i}`] = { heads: random.integer(1, 4), size, sources, own, index };
}

/** The result for what a device reads of the arguments, and how far it may be off. */
function expectedOf(args: Complete, activations: Activations) {
  const read = { ...args };
  for (const name of ['query', 'key', 'value', 'sourceKey', 'sourceValue'] as const)
    read[name] = asKept(activations, args[name]);
  const expected = reference(read);
  const bound = mixedAttentionBound(read, activations);
  // The CPU keeps its results in float32.
  return { expected, bound: onDevice ? keptBound(activations, bound, expected) : bound };
}

t.test('within the bound', async (t) => {
  const random = new Random(2);
  for (const [what, shape] of Object.entries(shapes)) {
    const args = fill(random, shape);
    const first = new Map<string, Float32Array>();
    const truths = new Map<Activations, ReturnType<typeof expectedOf>>();
    for (const { name, activations, options } of attentionVariants) {
      const { expected, bound } = truths.get(activations) ?? expectedOf(args, activations);
      truths.set(activations, { expected, bound });
      const output = mixedAttention(args, options);
      const { worst, where } = closeness(output, expected, bound);
      if (worst > 1) t.fail(`${name} ${what}: ${worst} of the bound, ${where}`);
      const other = first.get(options.instructionSet + activations);
      if (other && !sameBits(output, other)) t.fail(`${name} ${what}: threads change bits`);
      first.set(options.instructionSet + activations, output);
    }
    t.pass(what);
  }
});

t.test('large scores do not overflow', async (t) => {
  const args = fill(new Random(3), { heads: 1, size: 16, sources: [20], own: [9], index: [0] });
  // Scores of ±hundreds, of small whole numbers.
  const random = new Random(4);
  for (const values of [args.query, args.key, args.sourceKey])
    values.forEach((_, i) => (values[i] = random.integer(-12, 12)));
  for (const { name, activations, options } of attentionVariants) {
    const { expected, bound } = expectedOf(args, activations);
    const { worst, where } = closeness(mixedAttention(args, options), expected, bound);
    t.ok(worst <= 1, `${name}: ${where}`);
  }
});

t.test('a sequence is the same bits alone, and in any part of its queries', async (t) => {
  const random = new Random(5);
  for (const size of [64, 80, 128, 24]) {
    const shape = {
      heads: 2,
      size,
      sources: [23, 70],
      own: [5, 40, 1, 66, 12],
      index: [0, 1, -1, 1, 0],
    };
    const args = fill(random, shape);
    const { width } = args;
    for (const { name, options } of attentionVariants) {
      const all = mixedAttention(args, options);
      shape.own.forEach((length, s) => {
        const from = args.ownOffsets[s]!;
        const source = shape.index[s]!;
        const cut = (values: Float32Array, start: number, rows: number) =>
          values.slice(start * width, (start + rows) * width);
        const begin = source < 0 ? 0 : args.sourceOffsets[source]!;
        const count = source < 0 ? 0 : shape.sources[source]!;
        for (const rows of new Set([1, Math.ceil(length / 2), length])) {
          const skip = length - rows;
          const alone = mixedAttention(
            {
              heads: 2,
              query: cut(args.query, from + skip, rows),
              key: cut(args.key, from, length),
              value: cut(args.value, from, length),
              sourceKey: cut(args.sourceKey, begin, count),
              sourceValue: cut(args.sourceValue, begin, count),
              queryOffsets: Int32Array.of(0, rows),
              ownOffsets: Int32Array.of(0, length),
              sourceOffsets: Int32Array.of(0, count),
              sourceIndex: Int32Array.of(source < 0 ? -1 : 0),
            },
            options,
          );
          const same = sameBits(
            alone,
            all.subarray((from + skip) * width, (from + length) * width),
          );
          if (!same) t.fail(`${name}, head size ${size}, sequence ${s}: ${rows} rows`);
        }
      });
      t.pass(`${name}, head size ${size}`);
    }
  }
});

t.test('source arrays may be left out', async (t) => {
  const { heads, query, key, value, queryOffsets, ownOffsets, ...sources } = fill(new Random(6), {
    heads: 2,
    size: 16,
    sources: [],
    own: [3, 4],
    index: [-1, -1],
  });
  const own = { heads, query, key, value, queryOffsets, ownOffsets };
  for (const { name, options } of attentionVariants) {
    const output = mixedAttention(own, options);
    t.ok(
      sameBits(output, mixedAttention({ ...own, ...sources }, options)),
      `${name}: sources left out`,
    );
  }
});

t.test('wrong arguments', async (t) => {
  const good = fill(new Random(7), {
    heads: 2,
    size: 8,
    sources: [4, 3],
    own: [5, 6],
    index: [0, 1],
  });
  const call = (args: object) => () => mixedAttention({ ...good, ...args });
  const longer = new Float32Array(12 * 16);
  refuses(t, {
    'no query rows, so no width': call({
      query: new Float32Array(0),
      queryOffsets: Int32Array.of(0, 0, 0),
    }),
    'no heads': call({ heads: 0 }),
    'heads below 0': call({ heads: -2 }),
    'half a head': call({ heads: 1.5 }),
    'heads that do not divide the width': call({ heads: 3 }),
    'a query of no whole rows': call({ query: good.query.slice(1) }),
    'more queries than offsets': call({ query: longer }),
    'keys and values of different length': call({ key: longer }),
    'values of another type': call({ value: new Float64Array(good.value.length) }),
    'a source index beyond the sources': call({ sourceIndex: Int32Array.of(0, 2) }),
    'a source index below -1': call({ sourceIndex: Int32Array.of(0, -2) }),
    'too few source indices': call({ sourceIndex: Int32Array.of(0) }),
    'too many source indices': call({ sourceIndex: Int32Array.of(0, 1, 0) }),
    'a source without keys': call({ sourceKey: undefined }),
    'a source without values': call({ sourceValue: undefined }),
    'a source without offsets': call({ sourceOffsets: undefined }),
    'more sequences than own offsets': call({ ownOffsets: Int32Array.of(0, 11) }),
    'no offsets': call({ queryOffsets: undefined }),
    'nothing to attend to': call({
      key: new Float32Array(0),
      value: new Float32Array(0),
      ownOffsets: Int32Array.of(0, 0, 0),
      sourceIndex: Int32Array.of(-1, -1),
    }),
    'no arguments': () => mixedAttention(undefined as never),
  });
  for (const [name, offsets] of Object.entries(badOffsets(11, 2)))
    refuses(t, {
      [`query offsets ${name}`]: call({ queryOffsets: offsets }),
      [`own offsets ${name}`]: call({ ownOffsets: offsets }),
    });
  for (const [name, offsets] of Object.entries(badOffsets(7, 2)))
    refuses(t, { [`source offsets ${name}`]: call({ sourceOffsets: offsets }) });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => mixedAttention(good, options) });
});
