/**
 * layerNorm: against the double-precision reference, with rows that are constant, tiny, or far from zero; a row does
 * not depend on the others or on the threads.
 */
import t from 'tap';
import { layerNorm } from '../../lib/token/operations.js';
import { keptBound, layerNormBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { layerNorm as reference } from '../reference/ops.js';
import { Random } from '../reference/random.js';
import { badOptions, refuses } from './refusals.js';
import { allVariants, variants } from './variants.js';

// rows, width
const shapes: [number, number][] = [
  [1, 1],
  [1, 7],
  [3, 16],
  [2, 37],
  [5, 160],
  [33, 128],
  [9, 768],
  [300, 768],
  [4, 2560],
];
const random = new Random(1);
for (let i = 0; i < 6; i++) shapes.push([random.integer(1, 40), random.integer(1, 400)]);

t.test('within the fp32 bound', async (t) => {
  const random = new Random(2);
  for (const [rows, width] of shapes) {
    for (const epsilon of [1e-5, 1e-12]) {
      const input = random.activations(rows, width);
      // Far from zero, in steps that fp32 still tells apart; and exactly constant.
      if (rows > 1) for (let c = 0; c < width; c++) input[c] = 100 + random.integer(-8, 8) / 64;
      if (rows > 2) input.fill(3, width, 2 * width);
      const gain = random.normals(width);
      const shift = random.normals(width);
      const expected = reference(input, gain, shift, epsilon);
      const bound = layerNormBound(input, gain, shift, epsilon);
      const first = new Map<string, Float32Array>();
      for (const { name, activations, options } of allVariants) {
        const output = layerNorm({ input, gain, shift, epsilon }, options);
        const kept = keptBound(activations, bound, expected);
        const { worst, where } = closeness(output, expected, kept);
        if (worst > 1)
          t.fail(`${name} [${rows}, ${width}] ${epsilon}: ${worst} of the bound, ${where}`);
        const other = first.get(options.instructionSet + activations);
        if (other && !sameBits(output, other))
          t.fail(`${name} [${rows}, ${width}]: threads change bits`);
        first.set(options.instructionSet + activations, output);
        for (const row of new Set([0, rows >> 1, rows - 1])) {
          const own = (values: Float32Array) => values.subarray(row * width, (row + 1) * width);
          const alone = layerNorm({ input: own(input), gain, shift, epsilon }, options);
          if (!sameBits(alone, own(output)))
            t.fail(`${name} [${rows}, ${width}]: row ${row} alone`);
        }
      }
      t.pass(`[${rows}, ${width}], epsilon ${epsilon}`);
    }
  }
});

t.test('no rows', async (t) => {
  const gain = new Float32Array(16);
  for (const { name, options } of variants) {
    const args = { input: new Float32Array(0), gain, shift: gain, epsilon: 1e-5 };
    t.equal(layerNorm(args, options).length, 0, name);
  }
});

t.test('wrong arguments', async (t) => {
  const good = {
    input: new Float32Array(12),
    gain: new Float32Array(4),
    shift: new Float32Array(4),
    epsilon: 1e-5,
  };
  const call = (args: object) => () => layerNorm({ ...good, ...args });
  refuses(t, {
    'input of no whole rows': call({ input: new Float32Array(13) }),
    'input of another type': call({ input: new Float64Array(12) }),
    'no input': call({ input: undefined }),
    'an empty gain': call({ gain: new Float32Array(0), shift: new Float32Array(0) }),
    'no gain': call({ gain: null }),
    'short shift': call({ shift: new Float32Array(3) }),
    'long shift': call({ shift: new Float32Array(5) }),
    'a shift of nothing': call({ shift: null }),
    'epsilon below 0': call({ epsilon: -1e-5 }),
    'epsilon NaN': call({ epsilon: NaN }),
    'epsilon in words': call({ epsilon: 'small' }),
    'no arguments': () => layerNorm(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => layerNorm(good, options) });
});
