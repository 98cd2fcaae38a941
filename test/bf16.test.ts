/**
 * precision 'bf16' on a processor with AVX512-BF16: products round their activations, the same bits in any batch and on
 * any number of threads, the answers of the embedded model. Where the processor cannot, and where nobody asks for it,
 * arithmetic is float32.
 */
import { join } from 'node:path';
import t from 'tap';
import { convert, embeddedModel, Engine, MaskPredict } from '../lib/index.js';
import { native } from '../lib/token/native.js';
import { everythingComputed, resultsPerCase, sameResults } from './everything-computed.js';
import { sameBits } from './reference/closeness.js';
import { fixtureNames, readFixture } from './reference/fixtures.js';
import { knownAnswers, prompts } from './token-level.js';

const sets = native.instructionSets();
const skip =
  (process.env.MASK_PREDICT_DEVICE !== undefined && 'a GPU') ||
  (!sets.includes('avx512bf16') && 'no AVX512-BF16 here');
const options = { device: 'cpu', threads: 2 } as const;

/** Loads with the instruction sets from `set` on. */
async function loadWith(set: string, directory: string, precision: 'auto' | 'bf16') {
  const before = process.env.MASK_PREDICT_ISA;
  process.env.MASK_PREDICT_ISA = set;
  try {
    return await Engine.load(directory, { ...options, precision });
  } finally {
    if (before === undefined) delete process.env.MASK_PREDICT_ISA;
    else process.env.MASK_PREDICT_ISA = before;
  }
}

for (const name of fixtureNames) {
  t.test(name, { skip }, async (t) => {
    const fixture = readFixture(name);
    await using engine = await loadWith('avx512bf16', fixture.directory, 'bf16');
    t.match(engine, { precision: 'bf16', headPrecision: 'bf16', instructionSet: 'avx512bf16' });
    const rounded = await everythingComputed(engine, fixture);
    t.ok(sameResults(await everythingComputed(engine, fixture, false), rounded), 'one by one');
    await using single = await Engine.load(fixture.directory, {
      device: 'cpu',
      precision: 'bf16',
      threads: 1,
    });
    t.ok(sameResults(await everythingComputed(single, fixture), rounded), 'one thread');

    await using without = await loadWith('avx512vnni', fixture.directory, 'bf16');
    t.equal(
      2 * engine.memory().perSourceIdWithoutStates,
      without.memory().perSourceIdWithoutStates,
      'rounded keys and values take half the memory',
    );
    const floats = await everythingComputed(without, fixture);
    for (let i = 0; i < rounded.length; i += resultsPerCase) {
      t.notOk(sameBits(rounded[i]!, floats[i]!), 'rounded activations change the states');
      const error = Math.max(...rounded[i]!.map((x, k) => Math.abs(x - floats[i]![k]!)));
      const largest = Math.max(...floats[i]!.map(Math.abs));
      t.ok(error < largest / 16, `states off by ${error} of ${largest}`);
    }

    const stored = join(t.testdir({}), 'bf16');
    await convert(fixture.directory, stored, { to: 'bf16' });
    await using plain = await loadWith('avx512vnni', stored, 'auto');
    const kept = await everythingComputed(plain, fixture);
    await using auto = await loadWith('avx512bf16', stored, 'auto');
    t.equal(auto.precision, 'bf16', 'kept as stored');
    t.ok(sameResults(await everythingComputed(auto, fixture), kept), 'auto never rounds');
    await using asked = await loadWith('avx512bf16', stored, 'bf16');
    t.notOk(sameResults(await everythingComputed(asked, fixture), kept), 'bf16 does');
    await using cannot = await loadWith('avx512vnni', stored, 'bf16');
    t.ok(sameResults(await everythingComputed(cannot, fixture), kept), 'where it can');
  });
}

t.test(
  'a head of its own rounds its rows, a body as it is stored does not',
  { skip },
  async (t) => {
    const fixture = readFixture('tiny-base');
    const stored = join(t.testdir({}), 'bf16');
    await convert(fixture.directory, stored, { to: 'bf16' });
    await using body = await Engine.load(stored, options);
    await using both = await Engine.load(stored, { ...options, headPrecision: 'bf16' });
    const expected = await everythingComputed(body, fixture);
    const got = await everythingComputed(both, fixture);
    for (let i = 0; i < expected.length; i += resultsPerCase) {
      t.ok(sameBits(got[i]!, expected[i]!), 'states');
      t.notOk(sameBits(got[i + 2]!, expected[i + 2]!), 'logits');
    }
  },
);

t.test('the embedded model', { skip }, async (t) => {
  await using model = await MaskPredict.load(embeddedModel, { ...options, precision: 'bf16' });
  const answers = await model.generate(prompts);
  t.same(
    answers.map(({ text }) => text),
    Object.values(knownAnswers),
  );
});
