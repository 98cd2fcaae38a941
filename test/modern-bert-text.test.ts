/**
 * ModernBERT at the text level: the ids and texts of Rust's tokenizers, what stands at `[MASK]`, likelihoods, embeddings,
 * classes, and int8 weights that were saved; and tokenizer files of other kinds, which are refused.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import t, { type Test } from 'tap';
import { Engine, MaskPredict, quantize, Tokenizer } from '../lib/index.js';
import { parts } from '../lib/text/byte-level-pieces.js';
import { erf } from './reference/erf.js';
import { closeness, sameBits } from './reference/closeness.js';
import { layerNorm, linear } from './reference/ops.js';
import { ModernBertReference } from './reference/modern-bert.js';
import { Random } from './reference/random.js';
import { Tensors } from './reference/safetensors.js';
import { readTensors, safetensorsOf } from './safetensors-writer.js';

const directory = fileURLToPath(new URL('fixtures/tiny-modernbert', import.meta.url));
const file = join(directory, 'tokenizer.json');
const read = (name: string) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as never;
const cases = read('tokens.json') as [text: string, ids: number[], decoded: string][];
const special = ['[CLS]', '[SEP]', '[PAD]', '[MASK]', '[UNK]', '<|padding|>', '<|endoftext|>'];
const [cls, sep, mask] = [486, 487, 489];
const onDevice = Boolean(process.env.MASK_PREDICT_DEVICE);
const options = { device: 'cpu', threads: 2 } as const;

t.test('ids and texts of 686 cases', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  t.match(tokenizer, { maskTokenId: mask, maskToken: '[MASK]', vocabulary: 512 });
  const wrong = cases.filter(([text, ids, decoded]) => {
    const encoding = tokenizer.encode(text, { parseSpecial: true });
    const inner = encoding.ids.subarray(1, -1);
    return (
      [...encoding.ids].join() !== ids.join() ||
      tokenizer.decode(inner, { keepSpecial: true }) !== decoded ||
      tokenizer.countTokens(text, { parseSpecial: true }) !== ids.length - 2
    );
  });
  t.same(wrong, []);
  t.equal(cases.length, 686);
});

t.test('special names are text unless they are asked for', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const without = cases.filter(([text]) => !special.some((name) => text.includes(name)));
  t.ok(without.length > 100, `${without.length} cases`);
  without.forEach(([text, ids], i) => t.same([...tokenizer.encode(text).ids], ids, `case ${i}`));
  const named = 'a [MASK] b[SEP]';
  const { ids } = tokenizer.encode(named);
  t.notOk([...ids.subarray(1, -1)].some((id) => [cls, sep, mask].includes(id)));
  t.equal(tokenizer.decode(ids), named, 'and come back as they were');
  t.equal(tokenizer.decode(Int32Array.of(cls, mask, 66, sep)), 'a', 'special ids are left out');
  // [unused0] is added, but not special.
  t.ok(tokenizer.encode('[unused0]').ids.includes(490));
  const cut = tokenizer.encode('one two three four five', { maxIds: 5 });
  t.same([cut.truncated, cut.ids.length, cut.ids.at(-1)], [true, 5, sep]);
  t.throws(() => tokenizer.encode('one two three four', { maxIds: 4, overflow: 'error' }), {
    message: /ids with \[CLS\] and \[SEP\], at most 4/,
  });
});

t.test('a long text in parts', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const whole = new Encoder(read('tokenizer.json'), read('tokenizer_config.json'));
  const random = new Random(7);
  const words = cases.map(([text]) => text);
  let text = '';
  while (text.length < 30_000) text += random.choice(words) + random.choice(['', ' ', '  ', '\n']);
  const expected = whole.encode(text, { add_special_tokens: false }).ids;
  const { ids } = tokenizer.encode(text, { parseSpecial: true });
  t.same([...ids.subarray(1, -1)], expected);
  t.ok([...parts(text)].length > 5);
  t.equal([...parts('😀'.repeat(10_000))].join(''), '😀'.repeat(10_000));
  t.notOk([...parts('😀'.repeat(10_000))].some((part) => /^[\uDC00-\uDFFF]/.test(part)));
  // A word without end costs what is read of it.
  const begun = performance.now();
  t.equal(tokenizer.encode('ab'.repeat(5e6), { maxIds: 100 }).ids.length, 100);
  t.ok(performance.now() - begun < 10_000);
});

t.test('files of other kinds', async (t) => {
  const path = join(t.testdir({}), 'tokenizer.json');
  const refused = async (change: (content: Record<string, any>) => void, message: RegExp) => {
    const content = read('tokenizer.json') as Record<string, any>;
    change(content);
    writeFileSync(path, JSON.stringify(content));
    await t.rejects(Tokenizer.load(path), { code: 'ERR_TOKENIZER', message });
  };
  await refused((c) => (c['pre_tokenizer'] = { type: 'Metaspace' }), /"BPE" .* "Metaspace"; what/);
  await refused((c) => (c['model'].type = 'WordPiece'), /kind "WordPiece"/);
  await refused((c) => (c['normalizer'] = { type: 'Lowercase' }), /normalizer is "Lowercase"/);
  await refused((c) => (c['post_processor'] = null), /post_processor must put one token/);
  await refused((c) => delete c['added_tokens'], /added_tokens are missing/);
  await refused((c) => (c['added_tokens'] = []), /template names "\[CLS\]"/);
  await refused((c) => (c['model'].vocab['!'] = -1), /the id of "!" is -1/);
  writeFileSync(path, '{');
  await t.rejects(Tokenizer.load(path), { code: 'ERR_TOKENIZER', message: /cannot be read/ });
  await t.rejects(Tokenizer.load(file, { vocabulary: 500 }), /another model/);
  await t.rejects(Tokenizer.load(file, { maskTokenId: 7 }), /\[MASK\] is 489/);
});

t.test('filling in', { skip: onDevice }, async (t) => {
  const model = await MaskPredict.load(directory, options);
  const text = 'The answer [MASK] is here.';
  const ids = Int32Array.from(model.tokenizer.encode(text, { parseSpecial: true }).ids);
  const reference = new ModernBertReference(directory);
  const position = ids.indexOf(mask);
  const row = reference
    .logits(reference.states(ids))
    .subarray(position * 512, (position + 1) * 512);
  const sum = row.reduce((sum, x) => sum + Math.exp(x), 0);
  const logProb = (id: number) => row[id]! - Math.log(sum);

  const [candidates] = await model.fillMask(text, { count: 7 });
  t.equal(candidates!.length, 7);
  for (const candidate of candidates!) {
    t.ok(Math.abs(candidate.logProb - logProb(candidate.id)) < 1e-4);
    const written = model.tokenizer.decode([candidate.id], { keepSpecial: true });
    t.equal(candidate.text, `The answer${written} is here.`);
  }
  // A label counts with and without the space before it.
  const labels = [...'abcdefghijklmnopqrstuvwxyz']
    .filter((letter) => model.tokenizer.countTokens(` ${letter}`) === 1)
    .slice(0, 4);
  const answers = await model.fillMask(text, { labels });
  const single = (spelling: string) => {
    const inner = model.tokenizer.encode(spelling).ids.subarray(1, -1);
    return inner.length === 1 ? Math.exp(logProb(inner[0]!)) : 0;
  };
  const twice = labels.filter((label) => single(` ${label}`) > 0 && single(label) > 0);
  t.ok(twice.length > 0, `both spellings of ${twice.join()}`);
  for (const { label, text, logProb } of answers) {
    if (!twice.includes(label)) continue;
    t.ok(Math.abs(logProb - Math.log(single(` ${label}`) + single(label))) < 1e-4, label);
    t.equal(text, `The answer ${label} is here.`);
  }
  await t.rejects(model.fillMask('The <mask> is here.'), /has no \[MASK\] to fill/);

  const score = await model.pseudoLogLikelihood('Is it so?');
  const given = model.tokenizer.encode('Is it so?').ids;
  t.equal(score.tokenScores.length, given.length - 2);
  const once = given.slice();
  once[2] = mask;
  const logits = reference.logits(reference.states(once)).subarray(2 * 512, 3 * 512);
  const total = Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
  t.ok(Math.abs(score.tokenScores[1]! - (logits[given[2]!]! - total)) < 1e-4);

  const embedding = await model.embed('Is it so?', { pooling: 'first' });
  const { worst, where } = closeness(embedding, reference.states(given).subarray(0, 128), 1e-4);
  t.ok(worst <= 1, where);
  t.match(await model.generate('Say it.', { length: 5 }), { tokens: { length: 5 } });
  await model.close();

  await t.rejects(
    MaskPredict.load(directory, { ...options, vocabulary: { languages: ['de'] } }),
    /languages does not apply .* bytes/,
  );
});

/** A classifier over the fixture's encoder and head, with random weights of its own. */
function classifier(t: Test, fields: Record<string, unknown>) {
  const path = t.testdir({});
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(directory, name), join(path, name));
  const config = { ...(read('config.json') as object), ...fields };
  writeFileSync(join(path, 'config.json'), JSON.stringify(config));
  const tensors = readTensors(readFileSync(join(directory, 'model.safetensors')));
  tensors.delete('decoder.bias');
  const random = new Random(3);
  const [weight, bias] = [random.normals(3 * 128), random.normals(3)];
  const stored = (values: Float32Array, shape: number[]) => ({
    dtype: 'F32',
    shape,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
  tensors.set('classifier.weight', stored(weight, [3, 128]));
  tensors.set('classifier.bias', stored(bias, [3]));
  writeFileSync(join(path, 'model.safetensors'), safetensorsOf(tensors));
  return { path, weight, bias };
}
t.test('classifying', { skip: onDevice }, async (t) => {
  const tensors = Tensors.checkpoint(directory);
  const reference = new ModernBertReference(directory);
  const gelu = (x: number) => (x / 2) * (1 + erf(x / Math.SQRT2));
  /** Logits from pooled states `[rows, 128]`. */
  const expected = (rows: Float64Array, weight: Float32Array, bias: Float32Array) => {
    const dense = linear({
      input: rows,
      weight: tensors.get('head.dense.weight').values,
      rows: rows.length / 128,
      inner: 128,
      outer: 128,
    }).map(gelu);
    const norm = tensors.get('head.norm.weight').values;
    const input = layerNorm(dense, norm, new Float64Array(128), 1e-5);
    return linear({ input, weight, rows: rows.length / 128, inner: 128, outer: 3, bias });
  };
  const texts = ['Is it so?', 'a', 'It is not so, and never was.'];
  const near = (actual: Float32Array, wanted: Float64Array, what: string) => {
    const { worst, where } = closeness(actual, wanted, 2e-4);
    t.ok(worst <= 1, `${what}: ${worst.toFixed(2)}, ${where}`);
  };
  for (const pooling of ['cls', 'mean'] as const)
    await t.test(pooling, async (t) => {
      const { path, weight, bias } = classifier(t, { classifier_pooling: pooling });
      const model = await MaskPredict.load(path, options);
      t.match(model.engine.config, { head: false, classes: 3 });
      const ids = texts.map((text) => model.tokenizer.encode(text).ids);
      const logits = await model.engine.classify(ids);
      ids.forEach((row, i) => {
        const states = reference.states(row);
        const pooled = new Float64Array(128).map((_, c) => {
          if (pooling === 'cls') return states[c]!;
          let sum = 0;
          for (let r = 0; r < row.length; r++) sum += states[r * 128 + c]!;
          return sum / row.length;
        });
        near(logits[i]!, expected(pooled, weight, bias), `${pooling} ${i}`);
      });
      const { scores } = (await model.classify(texts))[0]!;
      t.ok(Math.abs(scores.reduce((sum, x) => sum + x, 0) - 1) < 1e-6);
      const pair = await model.classify({ text: 'Is it so?', pair: 'It is.' });
      const [a, b] = ['Is it so?', 'It is.'].map((text) =>
        model.tokenizer.encode(text).ids.subarray(1, -1),
      );
      const [joined] = await model.engine.classify([Int32Array.of(cls, ...a!, sep, ...b!, sep)]);
      t.equal(pair.index, joined!.indexOf(Math.max(...joined!)));
      await t.rejects(model.fillMask('[MASK]'), /needs a language-model head .*decoder\.bias/);
      await model.close();
    });
  await t.test('tokens', async (t) => {
    const architectures = ['ModernBertForTokenClassification'];
    const { path, weight, bias } = classifier(t, { architectures });
    const engine = await Engine.load(path, options);
    t.match(engine.config, { classes: 0, tokenClasses: 3 });
    const ids = Int32Array.of(cls, 66, 67, 68, sep);
    const [logits] = await engine.classifyTokens([ids]);
    near(logits!, expected(reference.states(ids), weight, bias), 'tokens');
    await engine.close();
  });
});

t.test('int8, saved and loaded', { skip: onDevice }, async (t) => {
  const out = join(t.testdir({}), 'int8');
  await quantize(directory, out, { threads: 2 });
  const [exact, fresh, saved] = await Promise.all([
    MaskPredict.load(directory, options),
    MaskPredict.load(directory, { ...options, precision: 'int8' }),
    MaskPredict.load(out, options),
  ]);
  t.equal(saved.engine.precision, 'int8');
  t.same(saved.engine.config, fresh.engine.config);
  for (const [i, [text]] of cases.slice(0, 40).entries()) {
    const [a, b, c] = await Promise.all([exact, fresh, saved].map((model) => model.embed(text)));
    t.ok(sameBits(b!, c!));
    const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
    const cosine = dot(a!, b!) / Math.sqrt(dot(a!, a!) * dot(b!, b!));
    t.ok(cosine > 0.99, `text ${i}: ${cosine}`);
  }
  await Promise.all([exact, fresh, saved].map((model) => model.close()));
});

t.test('asking', { skip: onDevice }, async (t) => {
  const model = await MaskPredict.load(directory, options);
  const choices = ['3', '4', 'five [MASK]'];
  const answer = await model.ask('What is 2 + 2? [SEP]', choices);
  // The same by hand: names in the question are text, and the marker is the one of the model's card.
  const prompt = [
    'You will be given a question and options. Select the right answer.',
    'QUESTION: What is 2 + 2? [SEP]',
    'CHOICES:',
    ...choices.map((choice, i) => `- ${'ABC'[i]}: ${choice}`),
    'ANSWER: [unused0]',
  ].join('\n');
  const inner = model.tokenizer.encode(prompt).ids.subarray(1, -1);
  t.equal(inner.at(-1), 490);
  const ids = Int32Array.of(cls, ...inner, mask, sep);
  const reference = new ModernBertReference(directory);
  const row = reference.logits(reference.states(ids)).subarray((ids.length - 2) * 512, -512);
  const weights = [...'ABC'].map((letter) =>
    [letter, ` ${letter}`]
      .map((spelling) => model.tokenizer.encode(spelling).ids)
      .filter(({ length }) => length === 3)
      .reduce((sum, ids) => sum + Math.exp(row[ids[1]!]!), 0),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const expected = weights.map((weight) => weight / total);
  t.ok(closeness(answer.probabilities, expected, 1e-4).worst <= 1, answer.probabilities.join());
  t.equal(answer.index, expected.indexOf(Math.max(...expected)));
  t.equal(answer.choice, choices[answer.index]);

  const invalid = { code: 'ERR_INVALID_ARGUMENT' };
  await t.rejects(model.ask('Why?', ['one']), { ...invalid, message: /array of 2 to 26/ });
  await t.rejects(model.ask('Why?', ['one', ' ']), { ...invalid, message: /choice 1 must be/ });
  await t.rejects(model.ask('Why? '.repeat(9000), choices), { ...invalid, message: /at most/ });
  await t.rejects(model.ask('Why?', choices, { parseSpecial: true } as never), invalid);
  await model.close();
  const numbers = await MaskPredict.load(undefined, options);
  await t.rejects(numbers.ask('Why?', choices), { ...invalid, message: /token \[unused0\]/ });
  await numbers.close();
});
