/**
 * The double-precision reference itself: against the tensors of test/fixtures, which were computed in double
 * precision by another program and stored in fp32, and its parts against published values. Needs no native code.
 */
import t from 'tap';
import { closeness } from './reference/closeness.js';
import { erf, erfc, gelu } from './reference/erf.js';
import { fixtureNames, readFixture } from './reference/fixtures.js';
import { ReferenceModel } from './reference/model.js';
import { nucleusOf, philox, ranked } from './reference/sampling.js';
import { fromBf16, fromFp16, toBf16, toFp16 } from './reference/stored.js';

/** Half a unit in the last place of fp32 for the storage, and 1e-9 of the largest value for two double programs. */
function storedBound(expected: Float64Array): Float64Array {
  const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return expected.map((x) => 2 ** -24 * Math.abs(x) + 1e-9 * largest + 1e-12);
}

for (const name of fixtureNames) {
  t.test(name, async (t) => {
    const fixture = readFixture(name);
    const model = new ReferenceModel(fixture.directory);
    const near = (actual: Float64Array, expected: Float64Array, what: string) => {
      const { worst, where } = closeness(actual, expected, storedBound(expected));
      t.ok(worst <= 1, `${what}: ${worst.toFixed(3)} of the bound, ${where}`);
    };
    fixture.cases.forEach((expected, i) => {
      const source = model.encode(expected.sourceIds);
      near(source.states, expected.sourceStates, `source states ${i}`);
      const states = model.targetStates(source, expected.targetIds);
      near(states, expected.targetStates, `target states ${i}`);
      near(model.logits(states), expected.targetLogits, `target logits ${i}`);
      const lengths = model.lengthLogits(source);
      t.equal(lengths === null, expected.lengthLogits === null, `length head ${i}`);
      if (lengths && expected.lengthLogits)
        near(lengths, expected.lengthLogits, `length logits ${i}`);
      for (const [iterations, steps] of expected.decodes) {
        const decode = model.decode(source, expected.decodeLength, iterations);
        for (const [index, step] of [...decode].entries()) {
          t.same(
            step.tokens,
            steps[index]!.tokens,
            `T = ${iterations}, t = ${index + 1}: tokens ${i}`,
          );
          near(
            step.scores,
            steps[index]!.scores,
            `T = ${iterations}, t = ${index + 1}: scores ${i}`,
          );
        }
      }
    });
  });
}

t.test('erf and GELU', async (t) => {
  // Abramowitz and Stegun, table 7.1; erfc from the same functions to 16 digits.
  const table: [number, number, number][] = [
    [0, 0, 1],
    [0.1, 0.1124629160182849, 0.8875370839817151],
    [0.5, 0.5204998778130465, 0.4795001221869535],
    [1, 0.8427007929497149, 0.1572992070502851],
    [1.5, 0.9661051464753108, 0.0338948535246893],
    [2, 0.9953222650189527, 0.004677734981047266],
    [3, 0.9999779095030014, 2.209049699858544e-5],
    [5, 0.9999999999984626, 1.537459794428035e-12],
  ];
  for (const [x, integral, complement] of table) {
    t.ok(Math.abs(erf(x) - integral) <= 4e-16, `erf(${x})`);
    t.ok(Math.abs(erf(-x) + integral) <= 4e-16, `erf(${-x})`);
    t.ok(Math.abs(erfc(x) - complement) <= 2e-14 * complement, `erfc(${x}) = ${erfc(x)}`);
  }
  t.ok(Math.abs(gelu(1) - 0.8413447460685429) < 1e-15);
  t.ok(Math.abs(gelu(-1) + 0.15865525393145707) < 1e-15);
  t.ok(Math.abs(gelu(-8) / (-8 * 6.22096057427178e-16) - 1) < 1e-12);
});

t.test('Philox4x32-10: known answers of its authors', async (t) => {
  const hex = (words: number[]) =>
    words.map((word) => word.toString(16).padStart(8, '0')).join(' ');
  const ones = 0xffffffff;
  t.equal(hex(philox([0, 0, 0, 0], [0, 0])), '6627e8d5 e169c58d bc57ac4c 9b00dbd8');
  t.equal(
    hex(philox([ones, ones, ones, ones], [ones, ones])),
    '408f276d 41c83b0e a20bc7c6 6d5451fd',
  );
  t.equal(
    hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])),
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  );
});

t.test('nucleus', async (t) => {
  const logits = Float64Array.from([9, 9, 9, 1, 3, 3, 2, 9, 9], Math.log);
  const candidates = ranked(logits, 7, 1);
  t.same(
    candidates.map(({ id }) => id),
    [4, 5, 6, 3],
    'allowed ids only, ties to the lower',
  );
  t.same(
    nucleusOf(candidates, 0.6).map(({ id }) => id),
    [4, 5],
    'smallest set',
  );
  t.equal(nucleusOf(candidates, 1).length, 4);
  const hot = ranked(logits, 7, 2);
  t.ok(Math.abs(hot[0]!.probability / hot[3]!.probability - Math.sqrt(3)) < 1e-12, 'temperature');
});

t.test('16-bit numbers', async (t) => {
  t.equal(fromFp16(0x3c00), 1);
  t.equal(fromFp16(0x0001), 2 ** -24);
  t.equal(fromFp16(0xfbff), -65504);
  t.equal(fromBf16(0x3f80), 1);
  for (let bits = 0; bits < 0x7c00; bits++)
    if (toFp16(fromFp16(bits)) !== bits) t.fail(`fp16 ${bits}`);
  for (let bits = 0; bits < 0x7f80; bits++)
    if (toBf16(fromBf16(bits)) !== bits) t.fail(`bf16 ${bits}`);
});
