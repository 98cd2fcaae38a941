/**
 * linearPair: both products against the double-precision one, within the bound of a dot product with fp32 sums, and with
 * the bits of linear, whichever rows are beside them.
 */
import t from 'tap';
import { linear, linearPair, type LinearPairArguments } from '../../lib/token/operations.js';
import { linearBound } from '../reference/bounds.js';
import { closeness, sameBits } from '../reference/closeness.js';
import { linear as reference } from '../reference/ops.js';
import { Random } from '../reference/random.js';
import { randomWeight } from '../reference/stored.js';
import { badOptions, refuses } from './refusals.js';
import { activationsFor, asKept, onDevice, pack, variantsOf, weightTypes } from './variants.js';

// rows, inner, outputs of the first and of the second: as keys and values beside queries; of unlike numbers, with sums of
// one or several parts on a GPU (native/ops/linear/linear_slices.h).
const shapes: [number, number, number, number][] = [
  [1, 16, 32, 16],
  [7, 160, 320, 160],
  [33, 37, 19, 130],
  [130, 64, 128, 64],
  [2, 520, 5200, 40],
  [3, 130, 17, 20500],
];

for (const type of weightTypes) {
  const activations = activationsFor(type);
  t.test(`${type}: within the bound, and the bits of linear`, async (t) => {
    const random = new Random(1);
    for (const [rows, inner, ...outputs] of shapes) {
      // The wide ones in one type on a GPU: the emulated one takes minutes for all.
      if (onDevice && type !== 'bf16' && Math.max(...outputs) > 5000) continue;
      const input = random.activations(rows, inner);
      const products = outputs.map((outer, i) => {
        const weight = randomWeight(random, type, outer, inner);
        const bias = i === 0 || rows % 2 === 0 ? random.normals(outer) : undefined;
        const exact = {
          input: asKept(activations, input),
          weight: weight.exact,
          ...{ rows, inner, outer, bias },
        };
        return {
          outer,
          weight: pack(weight),
          bias,
          expected: reference(exact),
          bound: linearBound(exact, activations),
        };
      });
      const [first, second] = products as [(typeof products)[0], (typeof products)[0]];
      for (const { name, options } of variantsOf(type)) {
        const what = `${name} [${rows}, ${inner}] → ${outputs.join(', ')}`;
        const pair = (input: Float32Array) =>
          linearPair(
            {
              input,
              firstWeight: first.weight,
              secondWeight: second.weight,
              ...(first.bias && { firstBias: first.bias }),
              ...(second.bias && { secondBias: second.bias }),
            },
            options,
          );
        const both = pair(input);
        const row = rows >> 1;
        const alone = pair(input.subarray(row * inner, (row + 1) * inner));
        for (const which of ['first', 'second'] as const) {
          const { outer, weight, bias, expected, bound } = which === 'first' ? first : second;
          const { worst, where } = closeness(both[which], expected, bound);
          if (worst > 1) t.fail(`${what}: ${which} ${worst} of the bound, ${where}`);
          const single = linear({ input, weight, ...(bias && { bias }) }, options);
          if (!sameBits(both[which], single)) t.fail(`${what}: ${which} is not what linear gives`);
          const own = both[which].subarray(row * outer, (row + 1) * outer);
          if (!sameBits(alone[which], own)) t.fail(`${what}: ${which}, row ${row} alone`);
        }
      }
      t.pass(`[${rows}, ${inner}] → ${outputs.join(', ')}`);
    }
  });
}

t.test('wrong arguments', async (t) => {
  const random = new Random(2);
  const good = {
    input: new Float32Array(12),
    firstWeight: pack(randomWeight(random, 'fp32', 5, 4)),
    firstBias: new Float32Array(5),
    secondWeight: pack(randomWeight(random, 'fp32', 3, 4)),
  };
  const call = (args: object) => () => linearPair({ ...good, ...args } as LinearPairArguments);
  refuses(t, {
    'input of no whole rows': call({ input: new Float32Array(13) }),
    'no input': call({ input: undefined }),
    'no first weight': call({ firstWeight: undefined }),
    'no second weight': call({ secondWeight: undefined }),
    'a weight that is not packed': call({ secondWeight: new Float32Array(12) }),
    'weights of other widths': call({ secondWeight: pack(randomWeight(random, 'fp32', 3, 6)) }),
    'a short bias': call({ firstBias: new Float32Array(4) }),
    'a long bias': call({ secondBias: new Float32Array(4) }),
    'no arguments': () => linearPair(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => linearPair(good, options) });
});
