/**
 * meanRows: against the double-precision reference; a sequence does not depend on the others or on the threads.
 */
import t from 'tap';
import { meanRows } from '../../lib/token/operations.js';
import { keptBound, meanRowsBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { meanRows as reference } from '../reference/ops.js';
import { offsetsOf, Random } from '../reference/random.js';
import { badOffsets, badOptions, refuses } from './refusals.js';
import { allVariants } from './variants.js';

t.test('within the fp32 bound', async (t) => {
  const random = new Random(1);
  const shapes: [number[], number][] = [
    [[1], 1],
    [[1], 160],
    [[3, 1, 7], 37],
    [[514], 128],
    [[200, 1, 150], 768],
    [[], 16],
  ];
  for (let i = 0; i < 8; i++)
    shapes.push([[...random.integers(random.integer(1, 9), 1, 60)], random.integer(1, 200)]);
  for (const [lengths, width] of shapes) {
    const offsets = offsetsOf(lengths);
    const input = random.activations(offsets.at(-1)!, width);
    const expected = reference(input, offsets, width);
    const bound = meanRowsBound(input, offsets, width);
    const first = new Map<string, Float32Array>();
    for (const { name, activations, options } of allVariants) {
      const output = meanRows({ input, offsets, width }, options);
      const kept = keptBound(activations, bound, expected);
      const { worst, where } = closeness(output, expected, kept);
      if (worst > 1) t.fail(`${name} ${lengths} × ${width}: ${worst} of the bound, ${where}`);
      const other = first.get(options.instructionSet + activations);
      if (other && !sameBits(output, other))
        t.fail(`${name} ${lengths} × ${width}: threads change bits`);
      first.set(options.instructionSet + activations, output);
      lengths.forEach((length, s) => {
        const own = input.slice(offsets[s]! * width, offsets[s + 1]! * width);
        const alone = meanRows({ input: own, offsets: Int32Array.of(0, length), width }, options);
        if (!sameBits(alone, output.subarray(s * width, (s + 1) * width)))
          t.fail(`${name} ${lengths} × ${width}: sequence ${s} alone`);
      });
    }
    t.pass(`${lengths} × ${width}`);
  }
});

t.test('wrong arguments', async (t) => {
  const good = { input: new Float32Array(20), offsets: Int32Array.of(0, 2, 5), width: 4 };
  const call = (args: object) => () => meanRows({ ...good, ...args });
  refuses(t, {
    'input of no whole rows': call({ input: new Float32Array(21) }),
    'input of another type': call({ input: new Float64Array(20) }),
    'no input': call({ input: undefined }),
    'no width': call({ width: 0 }),
    'width below 0': call({ width: -4 }),
    'half a column': call({ width: 2.5 }),
    'no offsets': call({ offsets: undefined }),
    'a mean of no rows': call({ offsets: Int32Array.of(0, 0, 5) }),
    'no arguments': () => meanRows(undefined as never),
  });
  for (const [name, offsets] of Object.entries(badOffsets(5, 2)))
    refuses(t, { [`offsets ${name}`]: call({ offsets }) });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => meanRows(good, options) });
});
