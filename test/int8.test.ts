/**
 * precision 'int8': the same bits in any batch and on any number of threads, the answers of the embedded model, damaged
 * weights reported; saved and loaded again, by engine.save() and quantize(), the same bits from a mapped file.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict, quantize } from '../lib/index.js';
import { everythingComputed, sameResults } from './everything-computed.js';
import { get, query, withTensor, withTensors, words } from './model-directories.js';
import { refused, wrong } from './refusals-of-calls.js';
import { safetensors } from './safetensors-writer.js';
import { sameBits } from './reference/closeness.js';
import { fixtureNames, readFixture } from './reference/fixtures.js';
import { encoded, knownAnswers, prompts } from './token-level.js';

const onDevice = Boolean(process.env.MASK_PREDICT_DEVICE);
const options = { device: 'cpu', precision: 'int8', threads: 2 } as const;

for (const name of fixtureNames) {
  t.test(name, { skip: onDevice }, async (t) => {
    const fixture = readFixture(name);
    const engine = await Engine.load(fixture.directory, options);
    t.equal(engine.precision, 'int8');
    const expected = await everythingComputed(engine, fixture);
    t.ok(sameResults(await everythingComputed(engine, fixture, false), expected), 'one by one');
    const single = await Engine.load(fixture.directory, { ...options, threads: 1 });
    t.ok(sameResults(await everythingComputed(single, fixture), expected), 'one thread');
    await single.close();

    const directory = join(t.testdir({}), 'saved');
    await engine.save(directory);
    const { weights } = engine.memory();
    for (const precision of ['auto', 'int8'] as const) {
      const saved = await Engine.load(directory, { device: 'cpu', precision });
      t.equal(saved.precision, 'int8');
      t.same(saved.config, engine.config, 'its sizes');
      t.ok(
        sameResults(await everythingComputed(saved, fixture), expected),
        `saved, loaded as ${precision}`,
      );
      t.ok(Math.abs(saved.memory().weights - weights) < 0.05 * weights, 'its memory counts');
      const again = join(t.testdirName, `again-${precision}`);
      await saved.save(again);
      await saved.close();
      for (const file of ['model.safetensors', 'config.json'])
        t.ok(
          readFileSync(join(again, file)).equals(readFileSync(join(directory, file))),
          `saved again, the same ${file}`,
        );
    }
    await engine.close();
  });
}

t.test('the embedded model', { skip: onDevice }, async (t) => {
  const out = join(t.testdir({}), 'int8');
  const progress: number[] = [];
  await quantize(embeddedModel, out, { onProgress: (fraction) => void progress.push(fraction) });
  t.equal(progress.at(-1), 1);
  const model = await MaskPredict.load(embeddedModel, options);
  const saved = await MaskPredict.load(out);
  t.equal(saved.engine.precision, 'int8');
  const answers = await model.generate(prompts);
  t.same(
    answers.map(({ text }) => text),
    Object.values(knownAnswers),
    'its answers are right',
  );
  const others = await saved.generate(prompts);
  answers.forEach(({ text, tokenScores }, i) => {
    t.equal(others[i]!.text, text);
    t.ok(sameBits(others[i]!.tokenScores, tokenScores), `saved: ${text}`);
  });
  const question = 'Write the number 3 in English words.';
  const choice = await saved.choose(question, ['two', 'three', 'four']);
  t.equal(choice.label, 'three');
  t.same(choice, await model.choose(question, ['two', 'three', 'four']));
  await model.close();
  await saved.close();
});

t.test('saved bytes on the device that is named', { skip: !onDevice }, async (t) => {
  const device = process.env.MASK_PREDICT_DEVICE as 'cuda';
  const folder = t.testdir({});
  for (const name of ['tiny-base', 'tiny-xl'] as const) {
    const fixture = readFixture(name);
    const directory = join(folder, name);
    await quantize(fixture.directory, directory);
    await using saved = await Engine.load(directory, { device });
    t.equal(saved.precision, 'int8', `${name}: auto keeps what is saved`);
    await using stored = await Engine.load(fixture.directory, { device, precision: 'int8' });
    const expected = await everythingComputed(stored, fixture);
    const got = await everythingComputed(saved, fixture);
    // The same bytes; a row's scale may differ in its last bit, which moves no value by as much as bfloat16 rounds.
    expected.forEach((values, i) => {
      t.equal(got[i]!.length, values.length);
      const error = Math.max(...values.map((value, k) => Math.abs(got[i]![k]! - value)));
      const largest = Math.max(...values.map(Math.abs));
      t.ok(error <= 2 ** -8 * largest, `${name}: result ${i} off by ${error} of ${largest}`);
    });
    await refused(t, 'ERR_INVALID_ARGUMENT', {
      [`${name} as bf16`]: [
        () => Engine.load(directory, { device, precision: 'bf16' }),
        /saved as int8; precision must be 'auto' or 'int8'/,
      ],
    });
  }
});

t.test('random weights', { skip: onDevice }, async (t) => {
  const shape = {
    layers: 2,
    hidden: 96,
    heads: 4,
    feedForward: 200,
    vocabulary: 300,
    maxPositions: 20,
    lengths: 0,
  };
  const make = (precision: 'int8' | 'fp32') =>
    Engine.random(shape, { device: 'cpu', precision, seed: 3 });
  const [engine, wide] = [await make('int8'), await make('fp32')];
  t.equal(engine.precision, 'int8');
  t.ok(engine.memory().weights < 0.5 * wide.memory().weights);
  const directory = join(t.testdir({}), 'random');
  await engine.save(directory);
  const saved = await Engine.load(directory);
  const source = Int32Array.of(0, 7, 8, 9, 2);
  const [a, b] = [
    (await encoded(engine, source)).states(),
    (await encoded(saved, source)).states(),
  ];
  t.ok(sameBits(a, b), 'saved');
  for (const one of [engine, wide, saved]) await one.close();
});

t.test('weights that are no numbers', { skip: onDevice }, async (t) => {
  const damaged = (name: string, value: number) =>
    withTensors((tensors) => {
      const tensor = get(tensors, name);
      const bytes = Buffer.from(tensor.bytes);
      bytes.writeFloatLE(value, 4 * 700);
      tensors.set(name, { ...tensor, bytes });
    });
  for (const name of [words, query, query.replace('query', 'key'), query.replace('query', 'value')])
    for (const value of [NaN, -Infinity])
      await refused(t, 'ERR_MODEL_FORMAT', {
        [`${value} in ${name}`]: [
          () => Engine.load(t.testdir(damaged(name, value)()), options),
          new RegExp(`${name}.*row 5.*finite`),
        ],
      });
  // A vector is not quantized: what it makes of activations shows in the logits.
  const bytes = Buffer.alloc(128 * 4);
  bytes.writeFloatLE(NaN, 12);
  const norm = 'roberta.encoder.layer.0.output.LayerNorm.bias';
  const engine = await Engine.load(t.testdir(withTensor(norm, { bytes })()), options);
  const source = await encoded(engine, Int32Array.of(0, 17, 2));
  await refused(t, 'ERR_MODEL_FORMAT', {
    'NaN activations': [() => engine.predict([source.target(5)]), /logits.*NaN/],
  });
  await engine.close();
});

t.test('what cannot be', { skip: onDevice }, async (t) => {
  const fixture = readFixture('tiny-base').directory;
  const directory = t.testdir({ empty: {}, full: { 'notes.txt': 'mine' }, file: 'x' });
  const engine = await Engine.load(fixture, { device: 'cpu', precision: 'fp32' });
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'saving other weights': [() => engine.save(join(directory, 'wide')), /int8/],
    'saving to no string': [() => engine.save(wrong(7)), /directory/],
    'an unknown option of save()': [() => engine.save('x', wrong({ force: true })), /'force'/],
    'overwriting a little': [() => engine.save('x', wrong({ overwrite: 1 })), /overwrite.*1/],
    'quantizing to no string': [() => quantize(fixture, wrong(undefined)), /directory/],
    'an unknown option of quantize()': [
      () => quantize(fixture, 'x', wrong({ precision: 'int8' })),
      /'precision'.*overwrite/,
    ],
    'a directory that has files': [() => quantize(fixture, join(directory, 'full')), /notes\.txt/],
    'a file': [() => quantize(fixture, join(directory, 'file')), /file/],
    'a directory below a file': [
      () => quantize(fixture, join(directory, 'file', 'below')),
      /file.*below/,
    ],
    'over itself': [() => quantize(fixture, fixture, { overwrite: true }), /is the model itself/],
  });
  await engine.close();
  await refused(t, 'ERR_MODEL_FORMAT', {
    'no model': [() => quantize(join(directory, 'empty'), join(directory, 'out')), /config\.json/],
  });
  const reason = new Error('enough');
  const stopped = quantize(fixture, join(directory, 'out'), { signal: AbortSignal.abort(reason) });
  t.equal(await stopped.catch((error: unknown) => error), reason);

  await quantize(fixture, join(directory, 'empty'));
  await quantize(fixture, join(directory, 'full'), { overwrite: true });
  t.equal(readFileSync(join(directory, 'full', 'notes.txt'), 'utf8'), 'mine');
  for (const precision of ['fp32', 'bf16', 'fp16'] as const)
    await refused(t, 'ERR_INVALID_ARGUMENT', {
      [`saved, as ${precision}`]: [
        () => Engine.load(join(directory, 'full'), { device: 'cpu', precision }),
        new RegExp(`full.*int8.*'${precision}'`),
      ],
    });
});

t.test('damaged files', { skip: onDevice }, async (t) => {
  const out = t.testdir({ good: {}, bad: {} });
  await quantize(readFixture('tiny-base').directory, join(out, 'good'));
  const config = readFileSync(join(out, 'good', 'config.json'));
  const file = readFileSync(join(out, 'good', 'model.safetensors'));
  const length = Number(file.readBigUInt64LE(0));
  const header = file.toString('utf8', 8, 8 + length);
  const entries = JSON.parse(header) as Record<string, { data_offsets: [number, number] }>;
  t.equal((8 + length) % 64, 0, 'tensors begin at a multiple of 64');

  const data = file.subarray(8 + length);
  /** The file with another header, in front of which data still begin at a multiple of 64. */
  const headed = (text: string) => {
    const trimmed = text.trimEnd();
    const padded = trimmed.padEnd(Math.ceil((trimmed.length + 8) / 64) * 64 - 8);
    return safetensors(padded, data);
  };
  /** The first scale of a matrix [outputs, inputs] replaced: it lies behind the bytes. */
  const withScale = (name: string, bytes: number, scale: number) => {
    const copy = Buffer.from(file);
    copy.writeFloatLE(scale, 8 + length + entries[name]!.data_offsets[0] + bytes);
    return copy;
  };
  const keyValue = query.replace('query', 'key_value');
  const renamed = (from: string, to: string) => headed(header.replace(`"${from}"`, `"${to}"`));
  const shape = (JSON.parse(header) as Record<string, { shape: number[] }>)[query]!.shape[0]!;
  const damages: [string, Buffer, RegExp][] = [
    ['truncated', file.subarray(0, -1000), /truncated/],
    ['cut in its matrices', file.subarray(0, 8 + length + 5000), /truncated/],
    ['of another layout', headed(header.replace('int8-1', 'int8-9')), /int8-9.*int8-1.*quantize/],
    ['without a layout', headed(header.replace('mask_predict_layout', 'layout')), /word_emb/],
    ['not at 64 bytes', safetensors(`${header} `, data), /multiple of 64/],
    [
      'with a matrix of another shape of as many bytes',
      headed(header.replace(`[${shape}]`, `[${shape / 2},2]`)),
      /query\.weight.*\[\d+, 2\].*\[128, 128\]/,
    ],
    ['without a matrix', renamed(query, 'other'), /query\.weight/],
    ['without keys and values', renamed(keyValue, 'other'), /key\.weight/],
    ['with a matrix in the place of another', renamed(keyValue, query), /query/],
    ['with a scale that is NaN', withScale(query, 128 * 128, NaN), /query.*row 0.*finite/],
    ['with an infinite scale', withScale(keyValue, 256 * 128, Infinity), /key_value.*finite/],
    ['with a negative scale', withScale(query, 128 * 128, -1), /query.*finite/],
  ];
  for (const [what, bytes, message] of damages) {
    const directory = join(out, 'bad', what);
    mkdirSync(directory);
    writeFileSync(join(directory, 'config.json'), config);
    writeFileSync(join(directory, 'model.safetensors'), bytes);
    await refused(t, 'ERR_MODEL_FORMAT', {
      [what]: [() => Engine.load(directory, { device: 'cpu' }), message],
    });
  }
  for (const [field, value] of Object.entries({ hidden_size: 64, intermediate_size: 300 })) {
    const other = { ...(JSON.parse(config.toString()) as object), [field]: value };
    writeFileSync(join(out, 'good', 'config.json'), JSON.stringify(other));
    await refused(t, 'ERR_MODEL_FORMAT', {
      [`another ${field}`]: [() => Engine.load(join(out, 'good')), /shape/],
    });
  }
});
