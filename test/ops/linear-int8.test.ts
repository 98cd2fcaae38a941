/**
 * linear with int8 weights: the same bits on every instruction set but for GELU's polynomial, within a few roundings of
 * the double-precision product of the quantized arguments, and as near to that of the arguments themselves as 255 steps
 * can be; sums up to the largest that 32 bits hold; what is no finite number stays one.
 */
import t from 'tap';
import { native } from '../../lib/token/native.js';
import {
  linear,
  packWeight,
  type LinearArguments,
  type OperationOptions,
} from '../../lib/token/operations.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { linear as reference } from '../reference/ops.js';
import {
  quantizationBound,
  quantizedLinear,
  quantizedLinearBound,
} from '../reference/quantized.js';
import { Random } from '../reference/random.js';
import { randomWeight } from '../reference/stored.js';
import { refuses } from './refusals.js';
import { onDevice, variants } from './variants.js';

const pack = (values: Float32Array, outer: number, inner: number) =>
  packWeight(values, 'fp32', outer, inner, { device: 'cpu', precision: 'int8' });

// rows, inner, outer: inner dimensions of every remainder by 4, tiles of every height, groups of 16, 32 and 48
const shapes: [number, number, number][] = [
  [1, 1, 1],
  [1, 2, 17],
  [2, 3, 32],
  [3, 37, 33],
  [4, 160, 48],
  [5, 768, 49],
  [6, 15, 16],
  [7, 16, 100],
  [8, 66, 144],
  [9, 1000, 33],
  [17, 128, 509],
  [31, 768, 48],
  [3, 3072, 20],
  [70, 64, 130],
  [300, 33, 50],
];
const random = new Random(1);
for (let i = 0; i < 6; i++)
  shapes.push([random.integer(1, 40), random.integer(1, 300), random.integer(1, 100)]);

const epilogues = ['', 'bias', 'gelu', 'residual', 'bias gelu residual'];

t.test('near the product of the quantized arguments', { skip: onDevice }, async (t) => {
  const random = new Random(2);
  for (const [rows, inner, outer] of shapes) {
    const weight = randomWeight(random, 'fp32', outer, inner);
    const packed = pack(weight.stored as Float32Array, outer, inner);
    const input = random.activations(rows, inner);
    if (rows > 2) input.fill(0, inner, 2 * inner);
    if (rows > 3) for (let k = 2 * inner; k < 3 * inner; k++) input[k]! *= 1e-38;
    const bias = random.normals(outer);
    const residual = random.normals(rows * outer, 3);
    const exact = { input, weight: weight.exact, rows, inner, outer };
    const far = quantizationBound(exact);
    for (const epilogue of epilogues) {
      const args: Pick<LinearArguments, 'bias' | 'activation' | 'residual'> = {
        ...(epilogue.includes('bias') && { bias }),
        ...(epilogue.includes('gelu') && { activation: 'gelu' }),
        ...(epilogue.includes('residual') && { residual }),
      };
      const quantized = quantizedLinear({ ...exact, ...args });
      const expected = reference(quantized);
      const bound = quantizedLinearBound(quantized);
      const what = `[${rows}, ${inner}] → ${outer} ${epilogue}`;
      let first: Float32Array | undefined;
      for (const { name, options } of variants) {
        const output = linear({ input, weight: packed, ...args }, options);
        const near = closeness(output, expected, bound);
        if (near.worst > 1) t.fail(`${name} ${what}: ${near.worst} of the bound, ${near.where}`);
        first ??= output;
        if (!args.activation && !sameBits(output, first))
          t.fail(`${name} ${what}: other bits than ${variants[0]!.name}`);
        if (epilogue !== '') continue;
        const whole = closeness(
          output,
          reference(exact),
          far.map((x, i) => x + bound[i]!),
        );
        if (whole.worst > 1) t.fail(`${name} ${what}: ${whole.worst} of the steps, ${whole.where}`);
      }
      t.pass(what);
    }
  }
});

t.test('a row is the same bits in any batch, on any number of threads', { skip: onDevice }, (t) => {
  const random = new Random(3);
  for (const [inner, outer] of [
    [160, 144],
    [768, 50],
    [37, 509],
  ] as const) {
    const rows = 190;
    const packed = pack(
      randomWeight(random, 'fp32', outer, inner).stored as Float32Array,
      outer,
      inner,
    );
    const input = random.activations(rows, inner);
    const bias = random.normals(outer);
    for (const { name, options } of variants) {
      const part = (from: number, to: number, threads = options.threads) =>
        linear(
          {
            input: input.subarray(from * inner, to * inner),
            weight: packed,
            bias,
            activation: 'gelu',
          },
          { ...options, threads },
        );
      const all = part(0, rows);
      t.ok(sameBits(all, part(0, rows, 1)), `${name} ${inner} → ${outer}: threads`);
      for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 24, 31, 64, 100, 189]) {
        const from = random.integer(0, rows - count);
        const expected = all.subarray(from * outer, (from + count) * outer);
        if (!sameBits(part(from, from + count), expected))
          t.fail(`${name} ${inner} → ${outer}: ${count} rows from ${from}`);
      }
      t.pass(`${name} ${inner} → ${outer}: parts`);
    }
  }
  t.end();
});

t.test('the largest sums', { skip: onDevice }, async (t) => {
  // 127 · 127 · 133143 is the last multiple below 2³¹, and what is added up on the way to it may be beyond.
  const inner = 133143;
  const values = new Float32Array(2 * inner).fill(127);
  values.fill(-127, inner);
  const weight = pack(values, 2, inner);
  const largest = Math.fround(127 * 127 * inner);
  for (const { name, options } of variants) {
    const output = linear({ input: values, weight }, options);
    t.same([...output], [largest, -largest, -largest, largest], name);
  }
  refuses(t, {
    'one more': () => pack(new Float32Array(inner + 1), 1, inner + 1),
  });
});

t.test('whole steps are exact', { skip: onDevice }, async (t) => {
  const random = new Random(4);
  const [rows, inner, outer] = [9, 250, 70];
  // A row that holds ±127 has the scale 1: its integers are its steps, and so is every sum.
  const integers = (count: number) => {
    const values = Float32Array.from(random.integers(count * inner, -127, 127));
    for (let r = 0; r < count; r++) values[r * inner + (r % inner)] = r % 2 ? 127 : -127;
    return values;
  };
  const [input, weight] = [integers(rows), integers(outer)];
  const expected = Float32Array.from(reference({ input, weight, rows, inner, outer }));
  for (const { name, options } of variants) {
    const output = linear({ input, weight: pack(weight, outer, inner) }, options);
    t.ok(sameBits(output, expected), name);
  }
});

t.test('what is no finite number', { skip: onDevice }, async (t) => {
  const random = new Random(5);
  const [rows, inner, outer] = [5, 70, 50];
  const weight = pack(random.normals(outer * inner), outer, inner);
  const input = random.normals(rows * inner);
  for (const { name, options } of variants) {
    const good = linear({ input, weight }, options);
    for (const value of [NaN, Infinity, -Infinity]) {
      for (const at of [0, 17, inner - 1]) {
        const bad = input.slice();
        bad[2 * inner + at] = value;
        const output = linear({ input: bad, weight }, options);
        const [from, to] = [2 * outer, 3 * outer];
        t.ok(output.subarray(from, to).every(Number.isNaN), `${name}: ${value} at ${at}: its row`);
        t.ok(
          sameBits(output.subarray(0, from), good.subarray(0, from)) &&
            sameBits(output.subarray(to), good.subarray(to)),
          `${name}: no other`,
        );
      }
    }
    const values = random.normals(3 * inner);
    values[inner + 3] = NaN;
    values[2 * inner + 4] = Infinity;
    const [first, ...others] = linear(
      { input: input.subarray(0, inner), weight: pack(values, 3, inner) },
      options,
    );
    t.ok(Number.isFinite(first) && others.every(Number.isNaN), `${name}: weights`);
  }
});

t.test('packWeight', { skip: onDevice }, async (t) => {
  for (const type of ['fp32', 'fp16', 'bf16'] as const) {
    const weight = randomWeight(new Random(6), type, 33, 20);
    const packed = packWeight(weight.stored, type, 33, 20, { precision: 'int8' });
    t.match(packed, { rows: 33, columns: 20, type: 'int8' });
    // Rows in groups of 16, each with a scale and a sum.
    t.equal(packed.bytes, 48 * (20 + 8));
    const input = new Random(7).normals(40);
    t.ok(
      sameBits(
        linear({ input, weight: packed }),
        linear({ input, weight: pack(Float32Array.from(weight.exact), 33, 20) }),
      ),
      `from ${type}`,
    );
  }
  const values = new Float32Array(12);
  const weight = pack(values, 3, 4);
  for (const instructionSet of native.instructionSets() as NonNullable<
    OperationOptions['instructionSet']
  >[])
    refuses(t, {
      [`bf16, which is a type, on ${instructionSet}`]: () =>
        packWeight(values, 'fp32', 3, 4, { precision: 'bf16', instructionSet }),
    });
  refuses(t, {
    'int8 as the type of values': () => packWeight(values, 'int8' as never, 3, 4),
    'a precision for linear on the CPU': () =>
      linear({ input: values, weight }, { device: 'cpu', precision: 'int8' }),
  });
});
