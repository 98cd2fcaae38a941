/**
 * linearNorm: both placements against the double-precision product and norm, within the bound of the product carried
 * through the norm; a row does not depend on the others or on the threads.
 */
import t from 'tap';
import { linearNorm, type LinearNormArguments } from '../../lib/token/operations.js';
import { keptBound, linearBound, normOfSumsBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { layerNorm, linear } from '../reference/ops.js';
import { Random } from '../reference/random.js';
import { randomWeight } from '../reference/stored.js';
import { badOptions, refuses } from './refusals.js';
import { asKept, onDevice, pack, products, variantsOf } from './variants.js';

// rows, inner, width
const shapes: [number, number, number][] = [
  [1, 16, 16],
  [1, 160, 37],
  [3, 37, 160],
  [7, 300, 128],
  [33, 64, 64],
  [5, 1100, 96],
  [129, 48, 40],
];
const epsilon = 1e-5;

for (const [type, activations] of products) {
  t.test(`${type} by ${activations}: within the bound`, async (t) => {
    const random = new Random(1);
    for (const [rows, inner, width] of shapes) {
      const weight = randomWeight(random, type, width, inner);
      const packed = pack(weight);
      const input = random.activations(rows, inner);
      const [bias, gain, shift] = [
        random.normals(width),
        random.normals(width),
        random.normals(width),
      ];
      const states = random.normals(rows * width, 3);
      const before = states.slice();
      const exact = {
        input: asKept(activations, input),
        weight: weight.exact,
        rows,
        inner,
        outer: width,
        bias,
        residual: states,
      };
      const sums = linear(exact);
      const off = linearBound(exact, activations);
      const norm = layerNorm(sums, gain, shift, epsilon);
      const normBound = normOfSumsBound(sums, off, gain, shift, epsilon);
      for (const placement of ['pre', 'post'] as const) {
        const expected = placement === 'pre' ? sums : norm;
        const bound = placement === 'pre' ? off : normBound;
        const first = new Map<string, Float32Array>();
        for (const { name, options } of variantsOf(type, activations)) {
          const what = `${name} [${rows}, ${inner}] → ${width} ${placement}`;
          const args = { input, weight: packed, bias, states, gain, shift, epsilon, placement };
          const result = linearNorm(args, options);
          const ofStates = closeness(result.states, expected, bound);
          if (ofStates.worst > 1) t.fail(`${what}: states ${ofStates.worst}, ${ofStates.where}`);
          const kept = keptBound(activations, normBound, norm);
          const ofNormed = closeness(result.normed, norm, kept);
          if (ofNormed.worst > 1) t.fail(`${what}: normed ${ofNormed.worst}, ${ofNormed.where}`);
          const other = first.get(options.instructionSet);
          if (other && !sameBits(result.states, other)) t.fail(`${what}: threads change bits`);
          first.set(options.instructionSet, result.states);
          const row = rows >> 1;
          const own = (values: Float32Array, size: number) =>
            values.subarray(row * size, (row + 1) * size);
          const alone = linearNorm(
            { ...args, input: own(input, inner), states: own(states, width) },
            options,
          );
          if (!sameBits(alone.states, own(result.states, width)))
            t.fail(`${what}: row ${row} alone`);
          if (!sameBits(alone.normed, own(result.normed, width)))
            t.fail(`${what}: row ${row} alone, normed`);
        }
        t.ok(sameBits(states, before), `[${rows}, ${inner}] → ${width} ${placement}`);
      }
    }
  });
}

t.test('on the CPU without bias and shift', { skip: onDevice }, async (t) => {
  const random = new Random(2);
  const [rows, inner, width] = [5, 40, 48];
  const weight = pack(randomWeight(random, 'fp32', width, inner));
  const args = {
    input: random.activations(rows, inner),
    weight,
    states: random.normals(rows * width),
    gain: random.normals(width),
    epsilon,
    placement: 'pre',
  } as const;
  const zeros = new Float32Array(width);
  for (const { name, options } of variantsOf('fp32')) {
    const without = linearNorm(args, options);
    const withZeros = linearNorm({ ...args, bias: zeros, shift: zeros }, options);
    t.same(without, withZeros, name);
  }
});

t.test('wrong arguments', async (t) => {
  const good = {
    input: new Float32Array(12),
    weight: pack(randomWeight(new Random(3), 'fp32', 5, 4)),
    bias: new Float32Array(5),
    states: new Float32Array(15),
    gain: new Float32Array(5),
    shift: new Float32Array(5),
    epsilon,
    placement: 'pre',
  } as const;
  const call = (args: object) => () => linearNorm({ ...good, ...args } as LinearNormArguments);
  refuses(t, {
    'input of no whole rows': call({ input: new Float32Array(13) }),
    'no weight': call({ weight: undefined }),
    'short bias': call({ bias: new Float32Array(4) }),
    'short states': call({ states: new Float32Array(14) }),
    'no states': call({ states: undefined }),
    'long gain': call({ gain: new Float32Array(6) }),
    'short shift': call({ shift: new Float32Array(4) }),
    'epsilon of 0': call({ epsilon: 0 }),
    'an unknown placement': call({ placement: 'between' }),
    'no placement': call({ placement: undefined }),
    'no arguments': () => linearNorm(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => linearNorm(good, options) });
});
