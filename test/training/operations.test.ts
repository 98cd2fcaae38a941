/**
 * Each operation of training, forward and backward, against the double-precision reference: on every instruction set, on
 * one thread and on two, whose bits must be the same. A sum of n terms in float32 is off by about √n roundings of its
 * terms' magnitudes; `slack` times that is allowed, because a term's own factors are rounded too.
 */
import t, { type Test } from 'tap';
import { native } from '../../lib/token/native.js';
import { sameBits } from '../reference/closeness.js';
import { gelu } from '../reference/erf.js';
import { layerNorm, linear, type Numbers } from '../reference/ops.js';
import { Random } from '../reference/random.js';
import { roundedToBf16 } from '../reference/stored.js';
import {
  adamw,
  attentionBackward,
  attentionForward,
  geluBackward,
  headLoss,
  layerNormBackward,
  lengthLoss,
  linearBackward,
  scatterRows,
  type Groups,
  type Sums,
} from '../reference/training-ops.js';

const u = 2 ** -24;
const slack = 4;
const operations = native.trainingOperations;
type Name = keyof typeof operations;
type Results = ReturnType<(typeof operations)[Name]>;

const same = (a: unknown, b: unknown) =>
  a instanceof Float32Array && b instanceof Float32Array ? sameBits(a, b) : a === b;

/** The results on every instruction set, or on `sets`; fails where threads change a bit. */
function everywhere(
  t: Test,
  name: Name,
  args: object,
  sets = native.instructionSets(),
  precision = 'fp32',
): { set: string; results: Results }[] {
  return sets.map((instructionSet) => {
    const results = operations[name](args, { instructionSet, precision, threads: 1 });
    for (const threads of [2, 3]) {
      const again = operations[name](args, { instructionSet, precision, threads });
      const changed = Object.keys(results).find((key) => !same(again[key], results[key]));
      if (changed) t.fail(`${name}, ${instructionSet}: ${threads} threads change ${changed}`);
    }
    return { set: instructionSet, results };
  });
}

/** Largest error in units of what is allowed. */
function worst(actual: ArrayLike<number>, expected: Sums): number {
  let worst = 0;
  const reach = slack * u * Math.sqrt(expected.terms + 1);
  expected.values.forEach((value, i) => {
    const off = Math.abs(actual[i]! - value) / (reach * expected.magnitudes[i]! + 1e-30);
    worst = Math.max(worst, Number.isNaN(off) ? Infinity : off);
  });
  return worst;
}

function compare(t: Test, what: string, actual: ArrayLike<number>, expected: Sums): void {
  t.equal(actual.length, expected.values.length, `${what}: its size`);
  const off = worst(actual, expected);
  t.ok(off <= 1, `${what}: ${off} of the bound`);
}

/** Values within `reach` of a magnitude. */
function near(t: Test, what: string, actual: ArrayLike<number>, expected: Numbers, scale: number) {
  let off = 0;
  expected.forEach((value, i) => (off = Math.max(off, Math.abs(actual[i]! - value))));
  t.ok(off <= scale, `${what}: off by ${off}, ${scale} allowed`);
}

// rows, inputs, outputs: below and beyond a tile, a block of rows, a piece of the inner dimension
const linearShapes = [
  [1, 1, 1],
  [3, 5, 7],
  [70, 33, 50],
  [129, 16, 300],
  [300, 37, 19],
  [5, 520, 9],
] as const;

/** Products of bfloat16 are exact in float32, and their sums those of the rounded operands. */
for (const rounded of [false, true]) {
  const sets = native.instructionSets().filter((set) => !rounded || set === 'avx512bf16');
  const precision = rounded ? 'bf16' : 'fp32';
  t.test(`linear in ${precision}`, { skip: sets.length === 0 && 'no AVX512-BF16' }, async (t) => {
    const random = new Random(1);
    const asMultiplied = (values: Float32Array) => (rounded ? roundedToBf16(values) : values);
    for (const [rows, inputs, outputs] of linearShapes) {
      const input = random.normals(rows * inputs);
      const weight = random.normals(outputs * inputs);
      const bias = random.normals(outputs);
      const outputGradient = random.normals(rows * outputs);
      const size = `[${rows}, ${inputs}] to ${outputs}`;
      const exact = {
        input: asMultiplied(input),
        weight: asMultiplied(weight),
        bias,
        rows,
        inner: inputs,
        outer: outputs,
      };
      const output = linear(exact);
      const magnitudes = linear({
        ...exact,
        input: exact.input.map(Math.abs),
        weight: exact.weight.map(Math.abs),
        bias: bias.map(Math.abs),
      });
      const forward = { input, weight, bias };
      for (const { set, results } of everywhere(t, 'linearForward', forward, sets, precision)) {
        const expected = { values: output, magnitudes, terms: inputs };
        compare(t, `${set}, ${size}`, results.output!, expected);
        near(t, `${set}, ${size}: gelu`, results.gelu!, results.output!.map(gelu), 2e-6 * 40);
      }
      const shape = { rows, inputs, outputs };
      const { biasGradient } = linearBackward({ input, weight, outputGradient, ...shape });
      const gradient = asMultiplied(outputGradient);
      const expected = {
        ...linearBackward({ ...exact, outputGradient: gradient, ...shape }),
        biasGradient,
      };
      const args = { input, weight, outputGradient, outputs };
      for (const { set, results } of everywhere(t, 'linearBackward', args, sets, precision))
        for (const [name, sums] of Object.entries(expected))
          compare(t, `${set}, ${size}: ${name}`, results[name]!, sums);
    }
  });
}

t.test('layer norm', async (t) => {
  const random = new Random(2);
  for (const [rows, width] of [
    [1, 1],
    [3, 7],
    [65, 16],
    [200, 37],
    [9, 768],
  ] as const) {
    for (const epsilon of [1e-5, 1e-12]) {
      const input = random.activations(rows, width);
      const gain = random.normals(width);
      const shift = random.normals(width);
      const outputGradient = random.normals(rows * width);
      const expected = layerNormBackward({ input, gain, epsilon, outputGradient });
      const output = layerNorm(input, gain, shift, epsilon);
      const args = { input, gain, shift, epsilon, outputGradient };
      // One value has no deviation: the row is its own mean.
      const name = `[${rows}, ${width}], epsilon ${epsilon}`;
      for (const { set, results } of everywhere(t, 'layerNorm', args)) {
        near(t, `${set}, ${name}`, results.output!, output, 2e-5 * Math.sqrt(width));
        for (const [of, sums] of Object.entries(expected))
          compare(t, `${set}, ${name}: ${of}`, results[of]!, sums);
      }
    }
  }
});

t.test('gelu', async (t) => {
  const random = new Random(3);
  for (const count of [1, 13, 5000]) {
    const input = random.normals(count, 3);
    const outputGradient = random.normals(count);
    const expected = geluBackward(input, outputGradient);
    for (const { set, results } of everywhere(t, 'geluBackward', { input, outputGradient }))
      compare(t, `${set}, ${count}`, results.inputGradient!, expected);
  }
});

const groupsOf = (sources: number[], targets: [source: number, length: number][]): Groups => ({
  sourceLengths: Int32Array.from(sources),
  targetLengths: Int32Array.from(targets, ([, length]) => length),
  sourceOf: Int32Array.from(targets, ([source]) => source),
});

const ragged: [string, Groups][] = [
  ['one source of one row, one target of one', groupsOf([1], [[0, 1]])],
  ['a source without targets', groupsOf([5], [])],
  [
    'a target for each',
    groupsOf(
      [3, 17, 8],
      [
        [0, 4],
        [1, 1],
        [2, 33],
      ],
    ),
  ],
  [
    'sources that several targets share',
    groupsOf(
      [7, 2, 30],
      [
        [0, 3],
        [0, 1],
        [0, 12],
        [2, 5],
        [2, 20],
      ],
    ),
  ],
  [
    'more queries than a block',
    groupsOf(
      [150],
      [
        [0, 140],
        [0, 3],
      ],
    ),
  ],
];

t.test('mixed attention', async (t) => {
  const random = new Random(4);
  for (const [name, groups] of ragged)
    for (const [heads, size] of [
      [1, 4],
      [3, 5],
      [2, 64],
    ] as const) {
      if (name.startsWith('more') && size === 64) continue;
      const width = heads * size;
      const rows = [...groups.sourceLengths, ...groups.targetLengths].reduce((a, b) => a + b);
      const queryKeyValue = random.normals(rows * 3 * width);
      const outputGradient = random.normals(rows * width);
      const args = { groups, heads, queryKeyValue };
      const output = attentionForward(args);
      const expected = attentionBackward({ ...args, outputGradient });
      const what = `${name}, ${heads} × ${size}`;
      const given = { ...groups, heads, queryKeyValue, outputGradient };
      for (const { set, results } of everywhere(t, 'mixedAttention', given)) {
        near(t, `${set}, ${what}`, results.output!, output, 2e-5);
        compare(t, `${set}, ${what}: gradient`, results.gradient!, expected);
        if (set !== 'avx512bf16') continue;
        const asked = { instructionSet: set, precision: 'bf16' };
        for (const [name, values] of Object.entries(operations.mixedAttention(given, asked)))
          t.ok(same(values, results[name]), `${what}: bf16 leaves attention in float32`);
      }
    }
});

t.test('a source that gets nothing from its targets is found', async (t) => {
  const random = new Random(5);
  const groups = groupsOf(
    [7, 3],
    [
      [0, 3],
      [0, 1],
      [1, 4],
    ],
  );
  const queryKeyValue = random.normals(18 * 3 * 8);
  const outputGradient = random.normals(18 * 8);
  const args = { groups, heads: 2, queryKeyValue, outputGradient };
  const lost = attentionBackward({ ...args, lose: true });
  const { gradient } = operations.mixedAttention({ ...args, ...groups }, {});
  t.ok(worst(gradient!, lost) > 1000, 'far beyond the bound');
});

t.test('rows of a table', async (t) => {
  const random = new Random(6);
  for (const [count, tableRows, width] of [
    [1, 1, 1],
    [50, 7, 5],
    [2000, 40, 33],
  ] as const) {
    const index = random.integers(count, 0, tableRows - 1);
    const gradient = random.normals(count * width);
    const expected = scatterRows(index, gradient, width, tableRows);
    for (const { set, results } of everywhere(t, 'scatterRows', { index, gradient, tableRows }))
      compare(t, `${set}, ${count} rows to ${tableRows}`, results.tableGradient!, expected);
  }
});

t.test('the head and its loss, in chunks of the vocabulary', async (t) => {
  const random = new Random(7);
  for (const [rows, width, ids, realIds, chunk] of [
    [1, 3, 6, 6, 6],
    [5, 8, 50, 41, 16],
    [70, 33, 130, 129, 40],
    [9, 16, 300, 300, 300],
  ] as const) {
    const args = {
      states: random.normals(rows * width),
      decoder: random.normals(ids * width),
      bias: random.normals(ids),
      gold: random.integers(rows, 0, realIds - 1),
      realIds,
      smoothing: 0.1,
      factor: 1 / rows,
    };
    const expected = headLoss(args);
    for (const { set, results } of everywhere(t, 'headLoss', { ...args, chunk })) {
      const what = `${set}, ${rows} rows of ${width}, ${realIds} of ${ids} ids by ${chunk}`;
      const nll = results.nll as unknown as number;
      const smoothed = results.smoothed as unknown as number;
      t.ok(Math.abs(nll - expected.nll) < 1e-5 * expected.nll, `${what}: nll`);
      t.ok(Math.abs(smoothed - expected.smoothed) < 1e-5 * expected.smoothed, `${what}: loss`);
      compare(t, `${what}: states`, results.stateGradient!, expected.stateGradient);
      compare(t, `${what}: decoder`, results.decoderGradient!, expected.decoderGradient);
      compare(t, `${what}: bias`, results.biasGradient!, expected.biasGradient);
      const padding = results.decoderGradient!.subarray(realIds * width);
      t.ok(
        padding.every((value) => value === 0),
        `${what}: ids of no piece get none`,
      );
    }
  }
});

t.test('the length predictor', async (t) => {
  const random = new Random(8);
  for (const [name, groups] of ragged) {
    const width = 9;
    const lengths = 160;
    const rows = [...groups.sourceLengths, ...groups.targetLengths].reduce((a, b) => a + b);
    const states = random.normals(rows * width);
    const weight = random.normals(lengths * width);
    const args = { groups, states, weight, factor: 0.25 };
    const expected = lengthLoss(args);
    for (const { set, results } of everywhere(t, 'lengthLoss', { ...args, ...groups })) {
      const loss = results.loss as unknown as number;
      t.ok(Math.abs(loss - expected.loss) <= 1e-5 * (expected.loss + 1), `${set}, ${name}: loss`);
      compare(t, `${set}, ${name}: states`, results.stateGradient!, expected.stateGradient);
      compare(t, `${set}, ${name}: weight`, results.weightGradient!, expected.weightGradient);
    }
  }
});

t.test('dropout', async (t) => {
  const random = new Random(9);
  const [rows, width] = [400, 77];
  const input = random.normals(rows * width).map((x) => x || 1);
  const args = { input, width, probability: 0.1, seed: 5n, step: 3, site: 2, firstRow: 0 };
  const sets = everywhere(t, 'dropout', args).map(({ results }) => results.output!);
  for (const output of sets)
    t.ok(sameBits(output, sets[0]!), 'the same draws on every instruction set');
  const output = sets[0]!;
  const dropped = output.filter((x) => x === 0).length / output.length;
  // 30 800 draws: five deviations are 0.0086.
  t.ok(Math.abs(dropped - 0.1) < 0.0086, `${dropped} of the elements are dropped`);
  const scale = 65536 / (65536 - Math.round(0.1 * 65536));
  t.ok(
    output.every((x, i) => x === 0 || Math.abs(x / input[i]! - scale) < 1e-6),
    'the others are scaled',
  );
  for (const change of [{ seed: 6n }, { step: 4 }, { site: 3 }]) {
    const other = operations.dropout({ ...args, ...change }, {}).output!;
    const same = other.filter((x, i) => (x === 0) === (output[i] === 0)).length / other.length;
    // 0.9² + 0.1² = 0.82 of independent draws agree.
    t.ok(
      Math.abs(same - 0.82) < 0.012,
      `other draws with ${Object.keys(change)[0]}: ${same} agree`,
    );
  }
  const later = operations.dropout({ ...args, input: input.slice(10 * width), firstRow: 10 }, {});
  t.ok(
    sameBits(later.output!, output.slice(10 * width)),
    'a row has its draws wherever the part begins',
  );
  const residual = random.normals(rows * width);
  const added = operations.dropout({ ...args, residual }, {}).output!;
  t.ok(
    sameBits(
      added,
      output.map((x, i) => residual[i]! + x),
    ),
    'joins the residual',
  );
  const none = operations.dropout({ ...args, probability: 0 }, {}).output!;
  t.ok(sameBits(none, input), 'none at 0');
});

t.test('AdamW', async (t) => {
  const random = new Random(10);
  for (const [count, decayed, number, clipNorm] of [
    [1, 1, 1, 1],
    [40000, 20000, 3, 1],
    [500, 0, 1000, 0],
  ] as const) {
    const args = {
      weights: random.normals(count),
      gradients: random.normals(count, 0.1),
      first: random.normals(count, 0.1),
      second: random.normals(count, 0.1).map((x) => x * x),
      decayed,
      rate: 1e-3,
      number,
      beta1: 0.9,
      beta2: 0.98,
      epsilon: 1e-6,
      weightDecay: 0.01,
      clipNorm,
      average: random.normals(count),
      averageDecay: 0.99,
    };
    const expected = adamw(args);
    for (const { set, results } of everywhere(t, 'adamw', args)) {
      const norm = results.norm as unknown as number;
      t.ok(Math.abs(norm - expected.norm) < 1e-5 * expected.norm, `${set}, ${count}: norm`);
      near(t, `${set}, ${count}: first moments`, results.first!, expected.first, 1e-6);
      near(t, `${set}, ${count}: second moments`, results.second!, expected.second, 1e-6);
      near(t, `${set}, ${count}: weights`, results.weights!, expected.weights, 2e-6);
      near(t, `${set}, ${count}: average`, results.average!, expected.average, 2e-6);
    }
  }
});
