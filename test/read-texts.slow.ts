/**
 * Texts that are read by themselves: fillMask(), pseudoLogLikelihood(), embed() and classify() against the model in
 * double precision, on directories made from the embedded model: as it is, an encoder alone, with a classifier, with the
 * files of sentence-transformers. The same bits alone and together, whatever else runs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  embeddedModel,
  MaskPredict,
  quantize,
  Tokenizer,
  type ModelOptions,
} from '../lib/index.js';
import { addClassifier } from './classifying-model.js';
import { relativeBound } from './reference/bounds.js';
import { closeness, rootMeanSquare, sameBits } from './reference/closeness.js';
import { ReferenceModel } from './reference/model.js';
import { logSumExp } from './reference/prediction.js';
import { readTensors, safetensorsOf, type Tensors } from './safetensors-writer.js';
import { prompts } from './token-level.js';

const options: ModelOptions = { device: 'cpu', precision: 'fp32', threads: 2 };
const file = (name: string) => readFileSync(join(embeddedModel, name));
const config = JSON.parse(file('config.json').toString()) as Record<string, unknown>;
const tokenizer = await Tokenizer.load(join(embeddedModel, 'sentencepiece.bpe.model'));
const reference = new ReferenceModel(embeddedModel);
const relative = relativeBound(reference.layers, Number(config['intermediate_size']));

interface Made {
  tensors?: (tensors: Tensors) => void;
  config?: Record<string, unknown>;
  files?: Record<string, unknown>;
}

/** The embedded model with changes, in a directory of this test. Files are JSON but strings, which are as given. */
function made(t: Test, { tensors, config: fields, files }: Made): string {
  const all = readTensors(file('model.safetensors'));
  tensors?.(all);
  const texts = Object.entries({ 'config.json': { ...config, ...fields }, ...files }).map(
    ([name, content]) =>
      [name, typeof content === 'string' ? content : JSON.stringify(content)] as const,
  );
  const tree: Record<string, unknown> = {
    'model.safetensors': safetensorsOf(all),
    'sentencepiece.bpe.model': file('sentencepiece.bpe.model'),
  };
  for (const [path, text] of texts) {
    const [folder, name] = path.split('/') as [string, string | undefined];
    if (name === undefined) tree[folder] = text;
    else tree[folder] = { ...(tree[folder] as object), [name]: text };
  }
  return t.testdir(tree as Parameters<Test['testdir']>[0]);
}

const invalid = (message: RegExp) => ({ code: 'ERR_INVALID_ARGUMENT', message });

/** Log-probabilities over the real ids at one position of a sequence. */
function logProbsAt(ids: Int32Array, position: number): { row: Float64Array; bound: number } {
  const logits = reference.logits(reference.encode(ids).states);
  const row = logits.slice(position * reference.vocabulary, (position + 1) * reference.vocabulary);
  const sum = logSumExp(row, reference.maskTokenId);
  // The difference of a logit and a mean of logits.
  return { row: row.map((logit) => logit - sum), bound: 2 * relative * rootMeanSquare(logits) };
}

t.test('fillMask()', async (t) => {
  await using model = await MaskPredict.load(undefined, options);
  const text = 'Write the <mask> 4217 in German <mask>.';
  const filled = await model.fillMask(text, { count: 7 });
  const { ids } = tokenizer.encode(text, { parseSpecial: true });
  const masks = Array.from(ids.keys()).filter((p) => ids[p] === reference.maskTokenId);
  t.equal(filled.length, 2);
  masks.forEach((position, mask) => {
    const { row, bound } = logProbsAt(ids, position);
    t.equal(filled[mask]!.length, 7);
    for (const { id, piece, logProb } of filled[mask]!) {
      t.equal(piece, tokenizer.piece(id));
      t.ok(Math.abs(logProb - row[id]!) <= bound, `${piece}: ${logProb}, expected ${row[id]}`);
    }
    // Nothing better was left out.
    const worst = filled[mask]!.at(-1)!.logProb;
    const chosen = new Set(filled[mask]!.map(({ id }) => id));
    row.forEach((value, id) => {
      if (id > 2 && id < reference.maskTokenId && !chosen.has(id)) {
        if (value > worst + bound) t.fail(`id ${id} with ${value} is better than ${worst}`);
      }
    });
  });
  t.equal((await model.fillMask(text))[0]!.length, 5, 'five by default');
  t.same((await model.fillMask(text))[1], filled[1]!.slice(0, 5));
  const [first] = await model.fillMask([text, 'the <mask>'], { count: 7 });
  t.same(first, filled, 'beside another text');

  // White space left of <mask> goes with it, and pieces bring their own.
  for (const { piece, text } of filled[1]!) {
    t.equal(text, `Write the <mask> 4217 in German${piece.replaceAll('▁', ' ')}.`);
  }
  const same = await model.fillMask('Write the<mask> 4217 in German \n <mask>.', { count: 7 });
  t.same(
    same.map((one) => one.map(({ id, logProb }) => [id, logProb])),
    filled.map((one) => one.map(({ id, logProb }) => [id, logProb])),
  );
  const [atStart] = await model.fillMask('<mask> 4217', { count: 3 });
  for (const { piece, text } of atStart!) {
    t.equal(text, `${piece.replaceAll('▁', ' ').trimStart()} 4217`);
  }

  await t.rejects(model.fillMask('no mask'), invalid(/the text has no <mask> to fill/));
  await t.rejects(model.fillMask(['<mask>', 'x']), invalid(/text 1 has no <mask>/));
  await t.rejects(model.fillMask(7 as never), invalid(/the text must be a string/));
  await t.rejects(model.fillMask('<mask>', { count: 0 }), invalid(/count/));
  await t.rejects(model.fillMask('<mask><pad>'), invalid(/<pad>/));
  await t.rejects(
    model.fillMask('<mask>', { parseSpecial: true } as never),
    invalid(/parseSpecial/),
  );
  await t.rejects(model.fillMask('<mask>', null as never), invalid(/must be an object/));
  await t.rejects(
    model.fillMask(`<mask> ${'4217 '.repeat(200)}<mask>`),
    invalid(/too long: only 1 of its 2 <mask>/),
  );
  await t.rejects(
    model.fillMask(`<mask> ${'4217 '.repeat(200)}`, { overflow: 'error' }),
    invalid(/at most 128/),
  );
  const cut = await model.fillMask(`<mask> ${'4217 '.repeat(200)}`);
  t.equal(cut.length, 1, 'a text is cut behind its masks');
  const reason = new Error('enough');
  await t.rejects(model.fillMask('<mask>', { signal: AbortSignal.abort(reason) }), reason);
});

t.test('fillMask() with labels', async (t) => {
  await using model = await MaskPredict.load(undefined, options);
  const text = 'Write the number 4217 in <mask> words.';
  for (const labels of [
    ['German', 'French', 'English'],
    ['19', '20', '97', '21'],
  ]) {
    const answers = labels.map((label) => tokenizer.encode(label).ids.slice(1, -1));
    const tokens = answers[0]!.length;
    const ids = Array.from(tokenizer.encode(text, { parseSpecial: true }).ids);
    const position = ids.indexOf(reference.maskTokenId);
    ids.splice(position, 1, ...new Array<number>(tokens).fill(reference.maskTokenId));
    const rows = Array.from({ length: tokens }, (_, i) =>
      logProbsAt(Int32Array.from(ids), position + i),
    );
    const expected = answers.map((answer) =>
      answer.reduce((sum, id, i) => sum + rows[i]!.row[id]!, 0),
    );
    const found = await model.fillMask(text, { labels });
    t.equal(found.length, labels.length);
    const total = expected.reduce((sum, logProb) => sum + Math.exp(logProb), 0);
    for (const { label, index, text: whole, logProb, probability } of found) {
      t.equal(label, labels[index]);
      t.equal(whole, `Write the number 4217 in ${label} words.`);
      const bound = rows.reduce((sum, { bound }) => sum + bound, 0);
      t.ok(Math.abs(logProb - expected[index]!) <= bound, `${label}: ${logProb}`);
      t.ok(Math.abs(probability - Math.exp(expected[index]!) / total) <= 2 * bound, label);
    }
    const sorted = found.map(({ logProb }) => logProb);
    t.same(
      sorted,
      sorted.slice().sort((a, b) => b - a),
      'best first',
    );
    t.ok(Math.abs(found.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-12);
    const [, again] = await model.fillMask(['x <mask>', text], { labels });
    t.same(again, found, 'beside another text');
  }
  const tooLong = `${'4217 '.repeat(200)}<mask>`;
  await t.rejects(model.fillMask(tooLong, { labels: ['19'] }), invalid(/too long/));
  await t.rejects(model.fillMask('<mask>', { labels: [] }), invalid(/at least one label/));
  await t.rejects(model.fillMask('<mask>', { labels: 'No' as never }), invalid(/an array/));
  await t.rejects(model.fillMask('<mask>', { labels: [''] }), invalid(/label 0 has no tokens/));
  await t.rejects(
    model.fillMask('<mask> <mask>', { labels: ['No'] }),
    invalid(/has 2 <mask>; with labels it must have one/),
  );
  await t.rejects(
    model.fillMask('<mask>', { labels: ['No', 'zweihundertsiebzehn'] }),
    invalid(/same number of tokens.*"No" has 1/),
  );
  await t.rejects(
    model.fillMask('<mask>', { labels: ['No'], count: 2 } as never),
    invalid(/no option 'count'/),
  );

  await using few = await MaskPredict.load(undefined, {
    ...options,
    vocabulary: { allowedIds: tokenizer.encode('No').ids.slice(1, -1) },
  });
  const some = await few.fillMask('<mask>', { labels: ['No', 'Yes'] });
  t.match(some[1], { label: 'Yes', logProb: -Infinity, probability: 0 });
  await t.rejects(few.fillMask('<mask>', { labels: ['Yes'] }), invalid(/no label can be written/));
});

t.test('pseudoLogLikelihood()', async (t) => {
  await using model = await MaskPredict.load(undefined, options);
  const texts = ['Write the number 17 in German words.', 'siebzehn', 'yes'];
  const likelihoods = await model.pseudoLogLikelihood(texts);
  for (const [i, text] of texts.entries()) {
    const { ids } = tokenizer.encode(text);
    const { mean, sum, tokenScores } = likelihoods[i]!;
    t.equal(tokenScores.length, ids.length - 2);
    for (let position = 1; position < ids.length - 1; position++) {
      const masked = ids.slice();
      masked[position] = reference.maskTokenId;
      const { row, bound } = logProbsAt(masked, position);
      const off = Math.abs(tokenScores[position - 1]! - row[ids[position]!]!);
      t.ok(off <= bound, `"${text}" ${position}: off by ${off}`);
    }
    t.equal(
      sum,
      tokenScores.reduce((all, one) => all + one, 0),
    );
    t.equal(mean, sum / tokenScores.length);
    t.same(await model.pseudoLogLikelihood(text), likelihoods[i], 'the same bits alone');
  }
  // Many passes, with other calls beside them.
  const [many, written] = await Promise.all([
    model.pseudoLogLikelihood([...texts, ...texts, ...texts]),
    model.generate(prompts[0]!),
  ]);
  t.same(many.slice(3, 6), likelihoods);
  t.equal(written.text, (await model.generate(prompts[0]!)).text);
  t.same(await model.pseudoLogLikelihood([]), []);
  await t.rejects(model.pseudoLogLikelihood(''), invalid(/the text has no tokens/));
  await t.rejects(model.pseudoLogLikelihood(['a', 7 as never]), invalid(/text 1 must be a string/));
  await t.rejects(model.pseudoLogLikelihood('4217 '.repeat(200)), invalid(/at most 128/));
  await t.rejects(
    model.pseudoLogLikelihood('a', { overflow: 'truncate' } as never),
    invalid(/no option 'overflow'/),
  );
  await t.rejects(model.pseudoLogLikelihood('a <pad>', { parseSpecial: true }), invalid(/<pad>/));
});

t.test('embed()', async (t) => {
  const texts = [...prompts, '', '4217 '.repeat(200)];
  const pooled = (ids: Int32Array, pooling: string, normalize: boolean): Float64Array => {
    const { states } = reference.encode(ids);
    const rows = pooling === 'mean' ? ids.length : 1;
    const vector = new Float64Array(reference.width);
    for (let i = 0; i < rows * reference.width; i++)
      vector[i % reference.width]! += states[i]! / rows;
    const length = normalize ? Math.hypot(...vector) : 1;
    return vector.map((value) => value / length);
  };
  const close = (t: Test, actual: Float32Array, expected: Float64Array, what: string) => {
    // States of unit size after a norm; relative to the size of the vector.
    const bound = (3 * relative * Math.max(rootMeanSquare(expected), 1)) / 1;
    const { worst, where } = closeness(actual, expected, bound);
    t.ok(worst <= 1, `${what}: ${worst} of the bound (${where})`);
  };
  const idsOf = (text: string, maxIds = 128) => tokenizer.encode(text, { maxIds }).ids;

  await t.test('without files', async (t) => {
    await using model = await MaskPredict.load(undefined, options);
    const vectors = await model.embed(texts);
    for (const [i, text] of texts.entries()) {
      close(t, vectors[i]!, pooled(idsOf(text), 'mean', false), `text ${i}`);
      t.ok(sameBits(await model.embed(text), vectors[i]!), 'the same bits alone');
    }
    const first = await model.embed(texts[0]!, { pooling: 'first', normalize: true });
    close(t, first, pooled(idsOf(texts[0]!), 'first', true), 'asked for');
    const [beside] = await Promise.all([model.embed(texts), model.generate(prompts)]);
    t.ok(
      beside.every((one, i) => sameBits(one, vectors[i]!)),
      'while others generate',
    );
    t.same(await model.embed([]), []);
    t.equal(model.stats().cacheBytes, 0, 'nothing is kept');
    await t.rejects(model.embed(['a', undefined as never]), invalid(/text 1 must be a string/));
    await t.rejects(model.embed([], { pool: 1 } as never), invalid(/no option 'pool'/));
    await t.rejects(
      model.embed('4217 '.repeat(200), { overflow: 'error' }),
      invalid(/at most 128/),
    );
    await using cached = await MaskPredict.load(undefined, {
      ...options,
      sourceCache: { bytes: 2 ** 20 },
    });
    t.ok(sameBits(await cached.embed(texts[0]!), vectors[0]!));
    t.equal(cached.stats().cacheBytes, 0, 'nor where sources are');
  });

  const transformer = {
    idx: 0,
    name: '0',
    path: '',
    type: 'sentence_transformers.models.Transformer',
  };
  const pooling = {
    idx: 1,
    name: '1',
    path: '1_Pooling',
    type: 'sentence_transformers.models.Pooling',
  };
  const normalize = {
    idx: 2,
    name: '2',
    path: '2_Normalize',
    type: 'sentence_transformers.models.Normalize',
  };
  const cases: [string, Record<string, unknown>, [string, boolean, number?]][] = [
    [
      'as e5 has them',
      {
        'modules.json': [transformer, pooling, normalize],
        '1_Pooling/config.json': {
          word_embedding_dimension: 128,
          pooling_mode_cls_token: false,
          pooling_mode_mean_tokens: true,
        },
        'sentence_bert_config.json': { max_seq_length: 12, do_lower_case: false },
      },
      ['mean', true, 12],
    ],
    [
      'as bge has them',
      {
        'modules.json': [transformer, pooling, normalize],
        '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false },
        'sentence_bert_config.json': { max_seq_length: 8192 },
      },
      ['first', true],
    ],
    ['pooling alone', { '1_Pooling/config.json': { pooling_mode: 'cls' } }, ['first', false]],
    [
      'another folder',
      {
        'modules.json': [transformer, { ...pooling, path: 'pool' }],
        'pool/config.json': { pooling_mode_cls_token: true },
      },
      ['first', false],
    ],
    [
      'no modes',
      { '1_Pooling/config.json': {}, 'modules.json': [transformer, pooling] },
      ['mean', false],
    ],
  ];
  for (const [what, files, [expectedPooling, expectedNormalize, most]] of cases) {
    await t.test(what, async (t) => {
      const path = made(t, { files });
      await using model = await MaskPredict.load(path, options);
      const vectors = await model.embed(texts);
      texts.forEach((text, i) => {
        const expected = pooled(idsOf(text, most), expectedPooling, expectedNormalize);
        close(t, vectors[i]!, expected, `text ${i}`);
      });
      const plain = await model.embed(texts[0]!, { pooling: 'mean', normalize: false });
      close(
        t,
        plain,
        pooled(idsOf(texts[0]!, most), 'mean', false),
        'the caller has the last word',
      );

      const saved = join(path, 'int8');
      await quantize(path, saved);
      await using int8 = await MaskPredict.load(saved, { device: 'cpu' });
      await using rounded = await MaskPredict.load(path, { device: 'cpu', precision: 'int8' });
      t.ok(sameBits(await int8.embed(texts[0]!), await rounded.embed(texts[0]!)), 'saved as int8');
    });
  }

  await t.test('lower case', async (t) => {
    const path = made(t, { files: { 'sentence_bert_config.json': { do_lower_case: true } } });
    await using model = await MaskPredict.load(path, options);
    t.ok(sameBits(await model.embed('Write THE'), await model.embed('write the')));
  });

  const unknown: [string, Record<string, unknown>, RegExp][] = [
    ['a dense module', { 'modules.json': [transformer, pooling, { type: 'x.Dense' }] }, /"Dense"/],
    [
      'two poolings',
      { '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true } },
      /cls_token and mean_tokens/,
    ],
    ['max', { '1_Pooling/config.json': { pooling_mode_max_tokens: true } }, /max_tokens/],
  ];
  for (const [what, files, message] of unknown) {
    await t.test(what, async (t) => {
      await using model = await MaskPredict.load(made(t, { files }), options);
      await t.rejects(model.embed('a'), { code: 'ERR_MODEL_FORMAT', message });
      t.equal((await model.embed('a', { pooling: 'mean' })).length, 128, 'given, it is made');
      t.ok((await model.generate(prompts[0]!)).text, 'the rest of the model works');
    });
  }

  const damaged: [string, Record<string, unknown>, RegExp][] = [
    ['no JSON', { 'modules.json': '{' }, /modules\.json is not JSON/],
    ['no array', { 'modules.json': {} }, /modules\.json holds an object, not an array/],
    ['no object', { '1_Pooling/config.json': [] }, /1_Pooling\/config\.json holds an array/],
    ['a length of 0', { 'sentence_bert_config.json': { max_seq_length: 0 } }, /max_seq_length 0/],
  ];
  for (const [what, files, message] of damaged) {
    await t.test(what, (t) =>
      t.rejects(MaskPredict.load(made(t, { files }), options), {
        code: 'ERR_MODEL_FORMAT',
        message,
      }),
    );
  }
});

const classifier = (classes: number) => (tensors: Tensors) => addClassifier(tensors, classes);

t.test('classify()', async (t) => {
  const labels = ['entailment', 'neutral', 'contradiction'];
  const id2label = Object.fromEntries(labels.map((label, i) => [i, label]));
  const inner = (text: string) => Array.from(tokenizer.encode(text).ids.slice(1, -1));
  const softmax = (logits: number[]) => {
    const weights = logits.map(Math.exp);
    return weights.map((w) => w / weights.reduce((sum, one) => sum + one, 0));
  };
  const sigmoid = (logits: number[]) => logits.map((x) => 1 / (1 + Math.exp(-x)));
  const kinds: [
    string,
    number,
    Record<string, unknown>,
    (logits: number[]) => number[],
    string[],
  ][] = [
    ['three labels', 3, { id2label }, softmax, labels],
    [
      'without names',
      3,
      { problem_type: 'single_label_classification' },
      softmax,
      ['LABEL_0', 'LABEL_1', 'LABEL_2'],
    ],
    ['many at once', 3, { id2label, problem_type: 'multi_label_classification' }, sigmoid, labels],
    ['a score', 1, {}, (logits) => logits, ['LABEL_0']],
    ['a regression', 3, { id2label, problem_type: 'regression' }, (logits) => logits, labels],
  ];
  for (const [what, classes, fields, scoresOf, names] of kinds) {
    await t.test(what, async (t) => {
      const path = made(t, { tensors: classifier(classes), config: fields });
      await using model = await MaskPredict.load(path, options);
      const reference = new ReferenceModel(path);
      const inputs = [
        ...prompts.slice(0, 3),
        { text: 'Write the number 17', pair: 'siebzehn' },
        { text: '', pair: '' },
      ];
      const results = await model.classify(inputs);
      for (const [i, input] of inputs.entries()) {
        const ids =
          typeof input === 'string'
            ? [0, ...inner(input), 2]
            : [0, ...inner(input.text), 2, 2, ...inner(input.pair), 2];
        const logits = Array.from(
          reference.classLogits(reference.encode(Int32Array.from(ids)).states),
        );
        const expected = scoresOf(logits);
        const best = expected.indexOf(Math.max(...expected));
        t.match(results[i], { label: names[best], index: best });
        t.same(model.classLabels, names);
        const { worst, where } = closeness(results[i]!.scores, expected, 4 * relative);
        t.ok(worst <= 1, `input ${i}: ${worst} of the bound (${where})`);
        t.same(await model.classify(input), results[i], 'the same bits alone');
      }
      const saved = join(path, 'int8');
      await quantize(path, saved);
      await using int8 = await MaskPredict.load(saved, { device: 'cpu' });
      t.equal((await int8.classify(prompts[0]!)).scores.length, classes, 'saved as int8');
      t.ok(names.includes((await int8.classify(prompts[0]!)).label), 'its labels with it');
    });
  }

  await t.test('long pairs are cut as Hugging Face cuts them', async (t) => {
    const path = made(t, { tensors: classifier(3) });
    await using model = await MaskPredict.load(path, options);
    const reference = new ReferenceModel(path);
    const long = '4217 '.repeat(300);
    const longInner = inner(long);
    const most = 128 - 4;
    const cases: [string, string, number, number][] = [
      [long, 'zwei', most - inner('zwei').length, inner('zwei').length],
      ['zwei', long, inner('zwei').length, most - inner('zwei').length],
      [long, long, most / 2, most / 2],
    ];
    for (const [text, pair, a, b] of cases) {
      const part = (one: string, count: number) =>
        (one === long ? longInner : inner(one)).slice(0, count);
      const ids = Int32Array.of(0, ...part(text, a), 2, 2, ...part(pair, b), 2);
      t.equal(ids.length, 128);
      const logits = Array.from(reference.classLogits(reference.encode(ids).states));
      const { scores } = await model.classify({ text, pair });
      const { worst, where } = closeness(scores, softmax(logits), 4 * relative);
      t.ok(worst <= 1, `${a} and ${b}: ${worst} of the bound (${where})`);
    }
    await t.rejects(
      model.classify({ text: long, pair: 'zwei' }, { overflow: 'error' }),
      invalid(/the text has \d+ ids.*at most 128/),
    );
    await t.rejects(model.classify({ text: 'a' } as never), invalid(/must be a string/));
    await t.rejects(
      model.classify([{ text: 'a', pair: 'b', more: 1 } as never]),
      invalid(/text 0 has no option 'more'/),
    );
    await t.rejects(model.classify([7 as never]), invalid(/text 0 must be a string or/));
  });

  await t.test('config.json that does not fit', async (t) => {
    for (const [fields, message] of [
      [{ id2label: { 0: 'a', 1: 'b' } }, /id2label must have a label for each of the 3 classes/],
      [{ id2label: { 0: 'a', 1: 'b', 3: 'c' } }, /id2label/],
      [{ problem_type: 'ranking' }, /problem_type is "ranking"/],
    ] as const) {
      const path = made(t, { tensors: classifier(3), config: fields });
      await using model = await MaskPredict.load(path, options);
      await t.rejects(model.classify('a'), { code: 'ERR_MODEL_FORMAT', message });
      t.ok(await model.embed('a'));
    }
  });
});

t.test('a model without a head', async (t) => {
  const path = made(t, { tensors: classifier(2) });
  await using model = await MaskPredict.load(path, options);
  await using whole = await MaskPredict.load(undefined, options);
  t.ok(sameBits(await model.embed('a'), await whole.embed('a')));
  const refusal = invalid(/needs a language-model head/);
  await t.rejects(model.generate('a'), refusal);
  await t.rejects(model.refine('a').next(), refusal);
  await t.rejects(model.choose('a', ['b']), refusal);
  await t.rejects(model.score('a', 'b'), refusal);
  await t.rejects(model.fillMask('<mask>'), refusal);
  await t.rejects(model.fillMask('<mask>', { labels: ['No'] }), refusal);
  await t.rejects(model.pseudoLogLikelihood('a'), refusal);
  await t.rejects(whole.classify('a'), invalid(/no sequence classifier/));
  t.ok(await model.predictLength('a'), 'a length is predicted without it');
});

t.test('together with everything else', async (t) => {
  await using model = await MaskPredict.load(undefined, options);
  const alone = {
    filled: await model.fillMask('Write <mask>'),
    vectors: await model.embed(prompts),
    answers: (await model.generate(prompts)).map(({ text, score }) => [text, score]),
  };
  for (let round = 0; round < 5; round++) {
    const [filled, vectors, answers] = await Promise.all([
      model.fillMask('Write <mask>'),
      model.embed(prompts),
      model.generate(prompts),
    ]);
    t.same(filled, alone.filled);
    t.ok(vectors.every((one, i) => sameBits(one, alone.vectors[i]!)));
    t.same(
      answers.map(({ text, score }) => [text, score]),
      alone.answers,
    );
  }
  // A call that is aborted does not disturb its neighbours.
  const controller = new AbortController();
  const stopped = model.pseudoLogLikelihood(prompts, { signal: controller.signal });
  const kept = model.embed(prompts);
  controller.abort(new Error('enough'));
  await t.rejects(stopped, { message: 'enough' });
  t.ok((await kept).every((one, i) => sameBits(one, alone.vectors[i]!)));

  await using busy = await MaskPredict.load(undefined, {
    ...options,
    scheduling: { queueLimit: 2 },
  });
  const calls = await Promise.allSettled(Array.from({ length: 8 }, () => busy.embed('a')));
  t.ok(calls.some((one) => one.status === 'rejected' && one.reason.code === 'ERR_OVERLOADED'));
  t.ok(calls.some((one) => one.status === 'fulfilled'));
  const closing = t.rejects(model.embed(prompts), { code: 'ERR_DISPOSED' });
  await model.close();
  await closing;
});
