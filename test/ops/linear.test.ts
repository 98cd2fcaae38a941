/**
 * linear and packWeight: every instruction set, thread count, weight type, kind of activations and epilogue against
 * the double-precision reference, within the bound of a dot product with fp32 sums; rows do not depend on each other or
 * on the threads.
 */
import t from 'tap';
import { linear, packWeight, type LinearArguments } from '../../lib/token/operations.js';
import { linearBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { linear as reference } from '../reference/ops.js';
import { Random } from '../reference/random.js';
import { randomWeight } from '../reference/stored.js';
import { badOptions, refuses } from './refusals.js';
import { asKept, onDevice, pack, products, variants, variantsOf } from './variants.js';

// rows, inner, outer
const shapes: [number, number, number][] = [
  [1, 1, 1],
  [1, 37, 1],
  [1, 160, 17],
  [2, 768, 3],
  [3, 16, 16],
  [5, 37, 19],
  [6, 48, 15],
  [7, 160, 160],
  [13, 1000, 33],
  [17, 128, 509],
  [31, 768, 48],
  [3, 2100, 20],
  [70, 64, 130],
];
const random = new Random(1);
for (let i = 0; i < 6; i++)
  shapes.push([random.integer(1, 40), random.integer(1, 300), random.integer(1, 100)]);

const epilogues = [
  {},
  { bias: true },
  { bias: true, activation: 'gelu' },
  { bias: true, residual: true },
  { activation: 'gelu', residual: true },
] as const;

for (const [type, activations] of products) {
  const title = `${type} by ${activations}`;
  t.test(`${title}: within the fp32 bound`, async (t) => {
    const random = new Random(2);
    for (const [rows, inner, outer] of shapes) {
      const weight = randomWeight(random, type, outer, inner);
      const packed = pack(weight);
      const input = random.activations(rows, inner);
      const read = asKept(activations, input);
      const bias = random.normals(outer);
      const residual = random.normals(rows * outer, 3);
      for (const epilogue of epilogues) {
        const args: Pick<LinearArguments, 'bias' | 'activation' | 'residual'> = {};
        if ('bias' in epilogue) args.bias = bias;
        if ('activation' in epilogue) args.activation = epilogue.activation;
        if ('residual' in epilogue) args.residual = residual;
        const exact = { input: read, weight: weight.exact, rows, inner, outer, ...args };
        const expected = reference(exact);
        const bound = linearBound(exact, activations);
        const what = `[${rows}, ${inner}] → ${outer} ${Object.keys(epilogue).join(' ')}`;
        for (const { name, options } of variantsOf(type, activations)) {
          const output = linear({ input, weight: packed, ...args }, options);
          const { worst, where } = closeness(output, expected, bound);
          if (worst > 1) t.fail(`${name} ${what}: ${worst} of the bound, ${where}`);
        }
        t.pass(what);
      }
    }
  });

  t.test(`${title}: a row is the same bits in any batch, on any number of threads`, async (t) => {
    const random = new Random(3);
    for (const [inner, outer] of [
      [160, 144],
      [768, 50],
      [37, 509],
    ] as const) {
      const rows = 190;
      const packed = pack(randomWeight(random, type, outer, inner));
      const input = random.activations(rows, inner);
      const bias = random.normals(outer);
      const residual = random.normals(rows * outer);
      for (const { name, options } of variantsOf(type, activations)) {
        const part = (from: number, to: number) =>
          linear(
            {
              input: input.subarray(from * inner, to * inner),
              weight: packed,
              bias,
              activation: 'gelu',
              residual: residual.subarray(from * outer, to * outer),
            },
            options,
          );
        const all = part(0, rows);
        const alone = linear(
          { input, weight: packed, bias, activation: 'gelu', residual },
          { ...options, threads: 1 },
        );
        t.ok(sameBits(all, alone), `${name} ${inner} → ${outer}: threads`);
        const parts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 31, 64, 100, 189];
        for (const count of parts) {
          const from = random.integer(0, rows - count);
          const same = sameBits(
            part(from, from + count),
            all.subarray(from * outer, (from + count) * outer),
          );
          if (!same) t.fail(`${name} ${inner} → ${outer}: ${count} rows from ${from}`);
        }
        t.pass(`${name} ${inner} → ${outer}: parts`);
      }
    }
  });
}

t.test('output goes where it should and nowhere else', async (t) => {
  const random = new Random(4);
  const [rows, inner, outer] = [7, 37, 19];
  const weight = randomWeight(random, 'fp32', outer, inner);
  const packed = pack(weight);
  // Views at an odd place: nothing may rely on alignment.
  const input = random.normals(rows * inner + 1).subarray(1);
  const residual = random.normals(rows * outer + 3).subarray(3);
  const exact = { input, weight: weight.exact, rows, inner, outer, residual };
  for (const { name, options } of variants) {
    const around = new Float32Array(rows * outer + 64).fill(NaN);
    const output = around.subarray(33, 33 + rows * outer);
    t.equal(
      linear({ input, weight: packed, residual, output }, options),
      output,
      `${name}: same array`,
    );
    t.ok(closeness(output, reference(exact), linearBound(exact)).worst <= 1, `${name}: result`);
    const outside = [...around.subarray(0, 33), ...around.subarray(33 + rows * outer)];
    t.ok(outside.every(Number.isNaN), `${name}: nothing outside`);
    t.equal(linear({ input: new Float32Array(0), weight: packed }, options).length, 0, 'no rows');
  }
});

t.test('packWeight', async (t) => {
  for (const [type, size] of [
    ['fp32', 4],
    ['fp16', 2],
    ['bf16', 2],
    ['int8', 1],
    ['fp8', 1],
  ] as const) {
    if (onDevice ? type === 'fp16' : type === 'int8' || type === 'fp8') continue; // not kept there, or tested apart
    const packed = pack(randomWeight(new Random(5), type, 33, 20));
    t.match(packed, { rows: 33, columns: 20, type });
    t.ok(packed.bytes >= 33 * 20 * size, `${type}: at least the values`);
  }
  const values = new Float32Array(12);
  refuses(t, {
    'too few values': () => packWeight(values, 'fp32', 4, 4),
    'too many values': () => packWeight(values, 'fp32', 2, 4),
    'fp32 for bf16': () => packWeight(values, 'bf16', 3, 4),
    'bits for fp32': () => packWeight(new Uint16Array(12), 'fp32', 3, 4),
    doubles: () => packWeight(new Float64Array(12) as never, 'fp32', 3, 4),
    'an unknown type': () => packWeight(values, 'fp12' as never, 3, 4),
    'no rows': () => packWeight(new Float32Array(0), 'fp32', 0, 4),
    'rows below 0': () => packWeight(values, 'fp32', -3, -4),
    'half a row': () => packWeight(values, 'fp32', 1.5, 8),
    'no number': () => packWeight(values, 'fp32', NaN, 4),
    'a product beyond 2⁵³': () => packWeight(values, 'fp32', 2 ** 40, 2 ** 40),
    'a product that wraps to 0': () => packWeight(new Float32Array(0), 'fp32', 2 ** 32, 2 ** 32),
    nothing: () => packWeight(null as never, 'fp32', 3, 4),
  });
});

t.test('wrong arguments', async (t) => {
  const weight = pack(randomWeight(new Random(6), 'fp32', 5, 4));
  const input = new Float32Array(12);
  const detached = new Float32Array(12);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const call = (args: object) => () => linear({ input, weight, ...args } as LinearArguments);
  refuses(t, {
    'input of no whole rows': call({ input: new Float32Array(13) }),
    'input of another type': call({ input: new Float64Array(12) }),
    'input as a list': call({ input: [1, 2, 3, 4] }),
    'no input': call({ input: undefined }),
    'no weight': call({ weight: undefined }),
    'a weight that is not packed': call({
      weight: { rows: 5, columns: 4, type: 'fp32', bytes: 80 },
    }),
    'an array for a weight': call({ weight: new Float32Array(20) }),
    'short bias': call({ bias: new Float32Array(4) }),
    'long bias': call({ bias: new Float32Array(6) }),
    'bias of another type': call({ bias: new Int32Array(5) }),
    'short residual': call({ residual: new Float32Array(14) }),
    'long residual': call({ residual: new Float32Array(16) }),
    'short output': call({ output: new Float32Array(14) }),
    'long output': call({ output: new Float32Array(16) }),
    'an unknown activation': call({ activation: 'tanh' }),
    'a detached bias': call({ bias: detached }),
    'no arguments': () => linear(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => linear({ input, weight }, options) });
});

t.test('arguments that change while they are read', async (t) => {
  const random = new Random(7);
  const [rows, size] = [70, 100];
  const weight = pack(randomWeight(random, 'fp32', size, size));
  const input = random.normals(rows * size);
  const expected = linear({ input, weight });
  const large = new Float32Array(rows * size);
  const small = new Float32Array(1);
  // Right or refused, on whichever reading the value changes: nothing is written behind the small array.
  for (let good = 0; good < 4; good++) {
    let readings = 0;
    const changing = {
      input,
      weight,
      get output() {
        return readings++ < good ? large : small;
      },
    };
    let result: Float32Array | undefined;
    try {
      result = linear(changing);
    } catch (error) {
      t.match(error, { code: 'ERR_INVALID_ARGUMENT' });
    }
    if (result) t.ok(sameBits(result, expected), `small from reading ${good + 1} on`);
  }
  const leaving = input.slice();
  const detaching = {
    input: leaving,
    weight,
    get bias() {
      structuredClone(leaving.buffer, { transfer: [leaving.buffer] });
      return new Float32Array(size);
    },
  };
  let result: Float32Array | undefined;
  try {
    result = linear(detaching);
  } catch (error) {
    t.match(error, { code: 'ERR_INVALID_ARGUMENT' });
  }
  if (result) t.ok(sameBits(result, expected), 'input detached by the reading of another argument');
});

t.test('output over input is refused', async (t) => {
  const memory = new Float32Array(96);
  const weight = packWeight(new Float32Array(48 * 48), 'fp32', 48, 48);
  t.throws(
    () => linear({ input: memory.subarray(0, 48), weight, output: memory.subarray(47, 95) }),
    {
      code: 'ERR_INVALID_ARGUMENT',
    },
  );
  t.doesNotThrow(() =>
    linear({ input: memory.subarray(0, 48), weight, output: memory.subarray(48) }),
  );
});
