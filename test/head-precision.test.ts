/**
 * headPrecision: the head's matrix alone is narrowed. What comes before the head keeps its bits, the head's answers are
 * as far from float32's as those of an engine that is narrow everywhere, or nearer, and the same in any batch.
 */
import { join } from 'node:path';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict, quantize } from '../lib/index.js';
import { everythingComputed, resultsPerCase, sameResults } from './everything-computed.js';
import { base, withTensors } from './model-directories.js';
import { refused, wrong } from './refusals-of-calls.js';
import { sameBits } from './reference/closeness.js';
import { fixtureNames, readFixture } from './reference/fixtures.js';
import { knownAnswers, prompts } from './token-level.js';

const device = (process.env.MASK_PREDICT_DEVICE as 'cuda' | undefined) ?? 'cpu';
const onCpu = device === 'cpu';
const options = { device, threads: 2 } as const;
const rootMeanSquare = (values: Float32Array, others: Float32Array) =>
  Math.sqrt(values.reduce((sum, x, i) => sum + (x - others[i]!) ** 2, 0) / values.length);

/** The bytes that a head of int8 takes at least: one for each weight, a scale for each row. */
const headBytes = ({ config }: Engine) => config.vocabulary * (config.hidden + 4);

for (const name of fixtureNames) {
  t.test(name, async (t) => {
    const fixture = readFixture(name);
    await using plain = await Engine.load(fixture.directory, options);
    await using narrow = await Engine.load(fixture.directory, {
      ...options,
      headPrecision: 'int8',
    });
    await using all = await Engine.load(fixture.directory, { ...options, precision: 'int8' });
    t.equal(narrow.precision, plain.precision);
    t.equal(narrow.headPrecision, 'int8');
    t.equal(plain.headPrecision, plain.precision);
    const expected = await everythingComputed(plain, fixture);
    const got = await everythingComputed(narrow, fixture);
    const everywhere = await everythingComputed(all, fixture);
    let [own, whole] = [0, 0];
    for (let i = 0; i < expected.length; i += resultsPerCase) {
      t.ok(sameBits(got[i]!, expected[i]!), 'the states are the body’s');
      t.ok(sameBits(got[i + 1]!, expected[i + 1]!), 'and so are the logits of the length');
      t.notOk(sameBits(got[i + 2]!, expected[i + 2]!), 'the head’s logits are others');
      own += rootMeanSquare(got[i + 2]!, expected[i + 2]!);
      whole += rootMeanSquare(everywhere[i + 2]!, expected[i + 2]!);
    }
    t.ok(own < whole, `off by ${own}, by ${whole} where all is int8`);
    t.ok(sameResults(await everythingComputed(narrow, fixture, false), got), 'one by one');
    if (plain.config.tieWordEmbeddings)
      t.ok(
        narrow.memory().weights >= plain.memory().weights + headBytes(plain),
        'the head is in memory beside the word embeddings',
      );
    else t.ok(narrow.memory().weights < plain.memory().weights, 'less memory');
  });
}

t.test('a wide head on a narrow body', { skip: !onCpu }, async (t) => {
  const fixture = readFixture('tiny-base');
  const load = async (more: object) => {
    await using engine = await Engine.load(fixture.directory, { ...options, ...more });
    return await everythingComputed(engine, fixture);
  };
  const exact = await load({});
  const narrow = await load({ precision: 'int8' });
  for (const headPrecision of ['fp32', 'bf16', 'fp16'] as const) {
    const mixed = await load({ precision: 'int8', headPrecision });
    let [mixedError, narrowError] = [0, 0];
    for (let i = 0; i < exact.length; i += resultsPerCase) {
      t.ok(sameBits(mixed[i]!, narrow[i]!), `${headPrecision}: the body’s states`);
      mixedError += rootMeanSquare(mixed[i + 2]!, exact[i + 2]!);
      narrowError += rootMeanSquare(narrow[i + 2]!, exact[i + 2]!);
    }
    t.ok(mixedError < narrowError, `${headPrecision}: ${mixedError} below ${narrowError}`);
  }
});

t.test('answers, labels and a vocabulary', { skip: !onCpu }, async (t) => {
  await using model = await MaskPredict.load(embeddedModel, {
    ...options,
    precision: 'bf16',
    headPrecision: 'int8',
    vocabulary: { languages: ['en', 'de', 'fr', 'es'] },
  });
  const answers = await model.generate(prompts);
  t.same(
    answers.map(({ text }) => text),
    Object.values(knownAnswers),
  );
  const { label } = await model.choose('Write the number 3 in English words.', ['two', 'three']);
  t.equal(label, 'three');
});

t.test('what is refused', async (t) => {
  const headless = withTensors(
    (tensors) => new Map([...tensors].filter(([name]) => !name.startsWith('lm_head'))),
  );
  const folder = t.testdir({ bare: headless() });
  const saved = join(folder, 'saved');
  await quantize(base, saved);
  await using whole = await Engine.load(saved, { ...options, headPrecision: 'int8' });
  t.equal(whole.headPrecision, 'int8', 'a saved head is int8 already');
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'no such name': [
      () => Engine.load(base, { ...options, headPrecision: wrong('int4') }),
      /headPrecision must be 'auto', 'fp32', 'bf16', 'fp16', 'int8' or 'fp8', not 'int4'/,
    ],
    'a saved head in bf16': [
      () => Engine.load(saved, { ...options, headPrecision: 'bf16' }),
      /saved as int8, the head's too; headPrecision must be 'auto' or 'int8'/,
    ],
    'no head': [
      () => Engine.load(join(folder, 'bare'), { ...options, headPrecision: 'int8' }),
      /has no language-model head .* headPrecision is of no use/,
    ],
  });
  await refused(t, 'ERR_DEVICE', {
    'not on this device': [
      () => Engine.load(base, { ...options, headPrecision: onCpu ? 'fp8' : 'fp16' }),
      onCpu ? /'fp8' is not available on device 'cpu'; use 'int8'/ : /use 'bf16', 'int8' or 'fp8'/,
    ],
  });
  if (!onCpu) return;
  await using mixed = await Engine.load(base, {
    ...options,
    precision: 'int8',
    headPrecision: 'fp32',
  });
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'saving a wide head': [() => mixed.save(join(folder, 'mixed')), /without headPrecision/],
  });
});
