/**
 * embed: a sum of two stored numbers, so exact up to the one rounding of fp32, in every weight type.
 */
import t from 'tap';
import { embed, packWeight } from '../../lib/token/operations.js';
import { sameBits } from '../reference/closeness.js';
import { embed as reference } from '../reference/ops.js';
import { quantizeRows } from '../reference/quantized.js';
import { Random } from '../reference/random.js';
import { randomWeight } from '../reference/stored.js';
import { badOptions, refuses } from './refusals.js';
import { pack, variantsOf, weightTypes } from './variants.js';

for (const type of weightTypes) {
  t.test(`${type}: exact`, async (t) => {
    const random = new Random(1);
    for (const [rows, vocabulary, width] of [
      [1, 1, 1],
      [5, 17, 37],
      [40, 509, 160],
      [3, 50, 768],
      [400, 509, 768],
    ] as const) {
      const weight = randomWeight(random, type, vocabulary, width);
      const words = pack(weight);
      const positionTable = random.normals(130 * width);
      const ids = random.integers(rows, 0, vocabulary - 1);
      const positions = random.integers(rows, 0, 129);
      ids[0] = vocabulary - 1;
      positions[0] = 129;
      const sum = reference(ids, positions, weight.exact, positionTable, width);
      for (const { name, options } of variantsOf(type)) {
        const output = embed({ ids, positions, words, positionTable }, options);
        t.ok(
          sameBits(output, Float32Array.from(sum)),
          `${name}: ${rows} of [${vocabulary}, ${width}]`,
        );
      }
    }
  });
}

t.test('int8: steps times the scale', async (t) => {
  const random = new Random(3);
  for (const [vocabulary, width] of [
    [17, 37],
    [100, 768],
  ] as const) {
    const values = random.normals(vocabulary * width);
    const words = packWeight(values, 'fp32', vocabulary, width, { precision: 'int8' });
    const positionTable = random.normals(9 * width);
    const ids = random.integers(40, 0, vocabulary - 1);
    const positions = random.integers(40, 0, 8);
    const exact = Float64Array.from(quantizeRows(values, width).exact, Math.fround);
    const sum = reference(ids, positions, exact, positionTable, width);
    for (const { name, options } of variantsOf('int8')) {
      const output = embed({ ids, positions, words, positionTable }, options);
      t.ok(sameBits(output, Float32Array.from(sum)), `${name}: [${vocabulary}, ${width}]`);
    }
  }
});

t.test('wrong arguments', async (t) => {
  const weight = randomWeight(new Random(2), 'fp32', 9, 4);
  const good = {
    ids: Int32Array.of(0, 8, 3),
    positions: Int32Array.of(0, 4, 2),
    words: packWeight(weight.stored, 'fp32', 9, 4),
    positionTable: new Float32Array(20),
  };
  const call = (args: object) => () => embed({ ...good, ...args });
  const nothing = new Int32Array(0);
  t.equal(embed({ ...good, ids: nothing, positions: nothing }).length, 0, 'no rows');
  refuses(t, {
    'an id beyond the vocabulary': call({ ids: Int32Array.of(0, 9, 3) }),
    'an id below 0': call({ ids: Int32Array.of(0, -1, 3) }),
    'an id far below 0': call({ ids: Int32Array.of(-(2 ** 31), 1, 3) }),
    'a position beyond the table': call({ positions: Int32Array.of(0, 5, 2) }),
    'a position below 0': call({ positions: Int32Array.of(0, -1, 2) }),
    'too few positions': call({ positions: Int32Array.of(0, 1) }),
    'too many positions': call({ positions: Int32Array.of(0, 1, 2, 3) }),
    'ids of another type': call({ ids: Float32Array.of(0, 8, 3) }),
    'no ids': call({ ids: undefined }),
    'no words': call({ words: undefined }),
    'words not packed': call({ words: weight.stored }),
    'a table of no whole rows': call({ positionTable: new Float32Array(21) }),
    'no table': call({ positionTable: undefined }),
    'no arguments': () => embed(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => embed(good, options) });
});
