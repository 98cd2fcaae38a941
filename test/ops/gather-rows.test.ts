/**
 * gatherRows: the named rows, bit for bit as they are kept, in any order and as often as they are named.
 */
import t from 'tap';
import { gatherRows } from '../../lib/token/operations.js';
import { sameBits } from '../reference/closeness.js';
import { Random } from '../reference/random.js';
import { badOptions, refuses } from './refusals.js';
import { allVariants, asKept } from './variants.js';

t.test('the same bits', async (t) => {
  const random = new Random(1);
  for (const [rows, width, count] of [
    [1, 1, 1],
    [9, 37, 0],
    [9, 37, 20],
    [300, 768, 290],
  ] as const) {
    const input = random.normals(rows * width);
    input[0] = NaN;
    const index = random.integers(count, 0, rows - 1);
    if (count > 1) index.set([rows - 1, 0]);
    const expected = new Float32Array(count * width);
    index.forEach((row, i) =>
      expected.set(input.subarray(row * width, (row + 1) * width), i * width),
    );
    for (const { name, activations, options } of allVariants) {
      const output = gatherRows({ input, index, width }, options);
      t.ok(
        sameBits(output, asKept(activations, expected)),
        `${name}: ${count} of [${rows}, ${width}]`,
      );
    }
  }
});

t.test('wrong arguments', async (t) => {
  const good = { input: new Float32Array(20), index: Int32Array.of(4, 0), width: 4 };
  const call = (args: object) => () => gatherRows({ ...good, ...args });
  refuses(t, {
    'a row that is not there': call({ index: Int32Array.of(0, 5) }),
    'a row below 0': call({ index: Int32Array.of(-1, 0) }),
    'any row of nothing': call({ input: new Float32Array(0) }),
    'input of no whole rows': call({ input: new Float32Array(21) }),
    'input of another type': call({ input: new Float64Array(20) }),
    'an index of another type': call({ index: Uint32Array.of(0, 1) }),
    'no index': call({ index: undefined }),
    'no width': call({ width: 0 }),
    'half a column': call({ width: 2.5 }),
    'no arguments': () => gatherRows(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => gatherRows(good, options) });
});
