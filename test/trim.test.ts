/**
 * `trim`: over kept pieces a trimmed model has the pieces, the states and the logits of the whole one, and
 * log-probabilities that differ by what was removed. On the embedded model (float16) in every form of file, and on the real XLM-R
 * vocabulary with sentences of Tatoeba, where they lie beside the checkout.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import {
  convert,
  embeddedModel,
  Engine,
  MaskPredict,
  quantize,
  Tokenizer,
  trim,
  type Trimmed,
  type TrimOptions,
} from '../lib/index.js';
import { SentencePieceSubset } from '../lib/text/sentencepiece-subset.js';
import { addClassifier } from './classifying-model.js';
import { sameBits } from './reference/closeness.js';
import { logSumExp } from './reference/prediction.js';
import { Random } from './reference/random.js';
import { fromFp16, toBf16 } from './reference/stored.js';
import {
  readTensors,
  safetensorsOf,
  type StoredTensor,
  type Tensors,
} from './safetensors-writer.js';
import { composed, message, piece, specialPieces } from './sentencepiece-writer.js';
import { stateOf, torchFile } from './torch-writer.js';

const tokenizerName = 'sentencepiece.bpe.model';
const words = 'roberta.embeddings.word_embeddings.weight';
const embedded = (name: string) => readFileSync(join(embeddedModel, name));
const tensors = readTensors(embedded('model.safetensors'));
const config = JSON.parse(embedded('config.json').toString()) as Record<string, unknown>;
const wholeTokenizer = await Tokenizer.load(join(embeddedModel, tokenizerName));

const questions = [
  'Write the number 21 in English words.',
  'Write the number 4217 in German words.',
  'Write this French number in digits: dix-neuf',
  'Translate the following text from French to German: six mille soixante',
];

/** A directory of the embedded model with other tensors, fields of its config, and more files. */
function made(
  t: Test,
  changed: Tensors = tensors,
  fields: object = {},
  files: Record<string, string | Buffer | object> = {},
): string {
  return t.testdir({
    model: {
      'config.json': JSON.stringify({ ...config, ...fields }),
      'model.safetensors': safetensorsOf(changed),
      [tokenizerName]: embedded(tokenizerName),
      ...files,
    },
    'texts.txt': `${questions.join('\n')}\n`,
  } as Parameters<Test['testdir']>[0]);
}

/** Trims the model in `directory`/model to the questions, or as `options` say. */
async function trimmed(directory: string, options: TrimOptions = {}) {
  const out = join(directory, 'out');
  const texts = join(directory, 'texts.txt');
  return { out, ...(await trim(join(directory, 'model'), out, { texts, keep: 1, ...options })) };
}

/** The ids of the whole model's that a trimmed one has, as its own. */
function renumbered(ids: Int32Array, kept: Int32Array): Int32Array {
  const numbers = new Map(Array.from(kept, (old, id) => [old, id]));
  return ids.map((id) => numbers.get(id) ?? -1);
}

/** Every second id between `<s>` and `</s>`. */
const isMasked = (target: Int32Array, i: number) => i % 2 === 1 && i < target.length - 1;

/** The results of a model for a source and a target over it, with every second id of the target masked. */
async function computed(
  directory: string,
  maskTokenId: number,
  source: Int32Array,
  target: Int32Array,
) {
  await using engine = await Engine.load(directory, {
    device: 'cpu',
    threads: 1,
    precision: 'fp32',
    maskTokenId,
  });
  const [encoded] = await engine.encode([source]);
  const tokens = target.map((id, i) => (isMasked(target, i) ? engine.maskTokenId : id));
  const over = encoded!.target(tokens);
  const states = [encoded!.states(), ...(await engine.states([over]))];
  const [logits] = engine.config.head ? await engine.logits([over]) : [];
  const [[logProbs]] = engine.config.head
    ? ((await engine.logProbs([over], [[target]])) as [[Float32Array]])
    : [[undefined]];
  const { vocabulary } = engine.config;
  return { states, logits, logProbs, vocabulary, lengths: encoded!.lengthLogits };
}

/** How far float32 may be off in a log-probability; as test/vocabulary.test.ts derives it. */
function bound(rows: number, logProb: number, sum: number): number {
  return 2 ** -24 * (rows + 4 + 4 * (Math.abs(logProb) + Math.abs(sum)));
}

/** Compares a trimmed model with the whole one on ids of the whole one that are all kept. */
async function compares(
  t: Test,
  whole: string,
  out: string,
  { ids, config: written }: Trimmed,
  source: Int32Array,
  target: Int32Array,
): Promise<void> {
  const before = await computed(whole, ids.at(-1)!, source, target);
  const after = await computed(
    out,
    ids.length - 1,
    renumbered(source, ids),
    renumbered(target, ids),
  );
  t.equal(after.vocabulary, written['vocab_size']);
  before.states.forEach((states, i) => t.ok(sameBits(after.states[i]!, states), `states ${i}`));
  t.same(after.lengths, before.lengths, 'lengths');
  t.equal(after.logits === undefined, before.logits === undefined);
  if (before.logits === undefined) return;
  const mask = ids.at(-1)!; // real ids are those up to it
  for (const [position, id] of target.entries()) {
    const row = before.logits.subarray(position * before.vocabulary).subarray(0, mask + 1);
    const own = after.logits!.subarray(position * ids.length).subarray(0, ids.length);
    t.ok(
      sameBits(
        own,
        Float32Array.from(ids, (old) => row[old]!),
      ),
      `logits at ${position}`,
    );
    if (!isMasked(target, position)) continue;
    const sum = logSumExp(Float64Array.from(row), mask);
    const kept = new Set(ids);
    const removed = row.reduce((mass, x, old) => mass + (kept.has(old) ? 0 : Math.exp(x - sum)), 0);
    const expected = before.logProbs![position]! - Math.log1p(-removed);
    const allowed = bound(mask + 1, row[id]! - sum, sum) + bound(ids.length, expected, sum);
    const off = Math.abs(after.logProbs![position]! - expected);
    t.ok(off <= allowed, `log-probability at ${position}: ${off} off, ${removed} removed`);
  }
}

const [source, target] = [questions[0]!, questions[3]!].map(
  (text) => wholeTokenizer.encode(text).ids,
);

t.test('the embedded model', async (t) => {
  const directory = made(t, tensors, {}, { 'tokenizer.json': '{}', 'added_tokens.json': '{}' });
  const model = join(directory, 'model');
  const progress: [number, string][] = [];
  const { out, ...result } = await trimmed(directory, {
    onProgress: (fraction, stage) => void progress.push([fraction, stage]),
  });
  t.same(readdirSync(out).sort(), ['config.json', 'model.safetensors', tokenizerName]);
  const { ids, pieces, bytes } = result;
  t.equal(pieces.before, wholeTokenizer.pieces);
  t.equal(pieces.after, ids.length - 2);
  t.ok(pieces.after < pieces.before / 2, `${pieces.after} of ${pieces.before} pieces`);
  const size = (path: string) =>
    embedded_(path, 'model.safetensors') + embedded_(path, tokenizerName);
  const embedded_ = (path: string, name: string) => readFileSync(join(path, name)).length;
  t.same(bytes, { before: size(model), after: size(out) });
  t.same(
    JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')),
    { ...config, vocab_size: ids.length, mask_token_id: ids.length - 1 },
    'the config is the same but for the sizes',
  );
  t.same(result.leftOut, []);
  for (const stage of ['texts', 'weights']) {
    const fractions = progress.filter(([, of]) => of === stage).map(([fraction]) => fraction);
    t.equal(fractions.at(-1), 1, stage);
    t.same(
      fractions,
      [...fractions].sort((a, b) => a - b),
    );
  }

  const tokenizer = await Tokenizer.load(join(out, tokenizerName));
  for (const [id, old] of ids.entries()) t.equal(tokenizer.piece(id), wholeTokenizer.piece(old));
  for (const text of questions) {
    t.same(tokenizer.encode(text).ids, renumbered(wholeTokenizer.encode(text).ids, ids), text);
  }
  await compares(t, model, out, result, source!, target!);

  // A target that the whole model fills with kept pieces is filled with the same ones.
  await using before = await MaskPredict.load(model, { device: 'cpu' });
  await using after = await MaskPredict.load(out, { device: 'cpu' });
  t.equal((await before.generate(questions[0]!)).text, 'twenty-one');
  const answers = join(directory, 'answers.txt');
  writeFileSync(answers, `${questions.join('\n')}\ntwenty-one\n`);
  const more = join(directory, 'more');
  await trim(model, more, { texts: [answers], keep: 1 });
  await using answering = await MaskPredict.load(more, { device: 'cpu' });
  t.equal((await answering.generate(questions[0]!)).text, 'twenty-one');
  t.equal(after.tokenizer.maskTokenId, ids.length - 1);
});

t.test('every form of a checkpoint', async (t) => {
  const with_ = (change: (copy: Tensors) => void) => {
    const copy = new Map(tensors);
    change(copy);
    return copy;
  };
  const floats = ({ bytes }: StoredTensor) =>
    Float32Array.from(new Uint16Array(Uint8Array.from(bytes).buffer), fromFp16);
  const as = (dtype: string, packed: (values: Float32Array) => Uint8Array) =>
    new Map(
      [...tensors].map(([name, tensor]) => {
        return [name, { ...tensor, dtype, bytes: packed(floats(tensor)) }];
      }),
    );
  const own = (shape: number[]): StoredTensor => {
    const values = new Random(3).normals(
      shape.reduce((a, b) => a * b),
      0.2,
    );
    return { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) };
  };
  const { shape } = tensors.get(words)!;
  const rows = shape[0]!;
  const forms: Record<string, [Tensors, object?]> = {
    'a separate head': [
      with_((copy) => copy.set('lm_head.decoder.weight', own(shape))),
      { tie_word_embeddings: false },
    ],
    'a bias under its other name': [
      with_((copy) => {
        copy.set('lm_head.decoder.bias', own([rows]));
        copy.delete('lm_head.bias');
      }),
    ],
    'no prefix': [new Map([...tensors].map(([name, of]) => [name.replace('roberta.', ''), of]))],
    float32: [as('F32', (values) => new Uint8Array(values.buffer))],
    bfloat16: [as('BF16', (values) => new Uint8Array(Uint16Array.from(values, toBf16).buffer))],
    'more rows than ids': [
      with_((copy) => {
        for (const [name, { shape, bytes, dtype }] of tensors) {
          if (shape[0] !== rows) continue;
          const padding = Buffer.alloc((bytes.length / rows) * 6, 1);
          copy.set(name, {
            dtype,
            shape: [rows + 6, ...shape.slice(1)],
            bytes: Buffer.concat([bytes, padding]),
          });
        }
      }),
      { vocab_size: rows + 6 },
    ],
    'an encoder alone': [
      with_((copy) => {
        for (const name of copy.keys()) if (name.startsWith('lm_head')) copy.delete(name);
      }),
    ],
  };
  for (const [what, [changed, fields]] of Object.entries(forms)) {
    await t.test(what, async (t) => {
      const directory = made(t, changed, fields);
      const { out, ...result } = await trimmed(directory);
      await compares(t, join(directory, 'model'), out, result, source!, target!);
      const types = (path: string) =>
        new Set(Array.from(readTensors(readFileSync(path)).values(), ({ dtype }) => dtype));
      t.same(
        types(join(out, 'model.safetensors')),
        types(join(directory, 'model/model.safetensors')),
      );
    });
  }
  const layer = (name: string) => name.includes('layer.1.');
  const parts = [layer, (name: string) => !layer(name)].map(
    (belongs) => new Map([...tensors].filter(([name]) => belongs(name))),
  );
  const index = Object.fromEntries(
    parts.flatMap((part, i) => [...part.keys()].map((name) => [name, `${i}.safetensors`])),
  );
  const files: Record<string, Record<string, string | Buffer>> = {
    'a .bin': { 'pytorch_model.bin': torchFile(stateOf(tensors)) },
    shards: {
      '0.safetensors': safetensorsOf(parts[0]!),
      '1.safetensors': safetensorsOf(parts[1]!),
      'model.safetensors.index.json': JSON.stringify({ weight_map: index }),
    },
  };
  for (const [what, weights] of Object.entries(files)) {
    await t.test(what, async (t) => {
      const directory = t.testdir({
        model: {
          'config.json': JSON.stringify(config),
          [tokenizerName]: embedded(tokenizerName),
          ...weights,
        },
        'texts.txt': questions.join('\n'),
      });
      const { out, bytes, ...result } = await trimmed(directory);
      const sizes = Object.values(weights).filter((of): of is Buffer => typeof of !== 'string');
      const all = [...sizes, embedded(tokenizerName)].reduce((sum, { length }) => sum + length, 0);
      t.equal(bytes.before, all);
      await compares(t, embeddedModel, out, { ...result, bytes }, source!, target!);
    });
  }
});

t.test('pooling and classes are copied', async (t) => {
  const copy = new Map(tensors);
  addClassifier(copy, 3);
  const classes = { id2label: { 0: 'a', 1: 'b', 2: 'c' }, label2id: { a: 0, b: 1, c: 2 } };
  const pooling = { pooling_mode_mean_tokens: true, word_embedding_dimension: 128 };
  const modules = [{ type: 'sentence_transformers.models.Pooling', path: '1_Pooling' }];
  const directory = made(t, copy, classes, {
    'modules.json': JSON.stringify(modules),
    '1_Pooling': { 'config.json': JSON.stringify(pooling) },
    'sentence_bert_config.json': JSON.stringify({ max_seq_length: 64 }),
  });
  const { out } = await trimmed(directory);
  const json = (name: string) => JSON.parse(readFileSync(join(out, name), 'utf8')) as unknown;
  t.match(json('config.json'), classes);
  t.same(json('modules.json'), modules);
  t.same(json('1_Pooling/config.json'), pooling);
  t.same(json('sentence_bert_config.json'), { max_seq_length: 64 });
  await using before = await MaskPredict.load(join(directory, 'model'), { device: 'cpu' });
  await using after = await MaskPredict.load(out, { device: 'cpu' });
  t.same(await after.classify(questions[1]!), await before.classify(questions[1]!));
  t.same(await after.embed(questions[1]!), await before.embed(questions[1]!));
});

t.test('which pieces are kept', async (t) => {
  const scored: [string, number][] = [
    ['▁', -2],
    ['▁ab', -3],
    ['abc', -4],
    ['a', -5],
    ['b', -5],
    ['c', -6],
    ['d', -6],
    ['д', -7],
    ['да', -7],
    ['а', -8],
    ['▁x', -9],
    ['x', -9.5],
    ['z', -1],
    ['1', -5],
    ['ы1', -5],
  ];
  const bytes = composed({
    pieces: [
      ...specialPieces,
      ...scored.map(([text, score]) => piece(text, 1, score)),
      piece('MARK', 4, 0),
    ],
    trainer: [
      [3, 1],
      [4, 999],
      [40, 0],
    ],
  });
  const samples = message([4, message([1, message([1, 'ab'], [2, '▁ab'])])]);
  const file = Buffer.concat([bytes, samples]);
  const subset = new SentencePieceSubset(file, 'x');
  const id = (text: string) => 3 + scored.findIndex(([of]) => of === text);
  const names = (ids: Int32Array) => Array.from(ids).filter((of) => of > 2);
  t.same(
    names(subset.closure([id('▁ab')], [id('d')])),
    [...['▁', '▁ab', 'a', 'b', 'd', 'x', 'z'].map(id), 18],
    'characters, ▁, the lowest and the highest score, pieces of other types; of what is only spelt no more than these',
  );
  t.ok(
    subset.closure([], [id('ы1')]).includes(id('ы1')),
    'a piece that its characters cannot spell is kept',
  );
  t.same(Array.from(subset.closure([], []).subarray(0, 3)), [0, 1, 2]);

  const directory = t.testdir();
  const kept = subset.closure([id('▁ab')], []);
  const path = join(directory, tokenizerName);
  const written = subset.write(kept);
  writeFileSync(path, written);
  const small = await Tokenizer.load(path);
  t.equal(small.pieces, kept.length);
  t.same(
    Array.from(kept, (_, i) => small.piece(i < 3 ? [3, 0, 2][i]! : i + 1)),
    ['<unk>', '<s>', '</s>', '▁', '▁ab', 'a', 'b', 'x', 'z', 'MARK'],
  );
  t.ok(written.includes(message([4, kept.length])), 'the stated size is the right one');
  t.notOk(written.includes(samples), 'its own samples are left out');
  t.same(
    Array.from(small.encode('ab da').ids, (of) => small.piece(of)),
    ['<s>', '▁ab', '▁', '<unk>', 'a', '</s>'],
  );
});

t.test('texts, their share, and languages', async (t) => {
  const directory = made(t);
  const model = join(directory, 'model');
  const path = join(directory, 'frequent.txt');
  const line = 'Write the number';
  writeFileSync(path, `${`${line}\n`.repeat(999)}zwei\r\n\n`);
  const packed = join(directory, 'frequent.txt.gz');
  writeFileSync(packed, gzipSync(readFileSync(path)));
  const keptOf = async (name: string, options: TrimOptions) => {
    const { ids } = await trim(model, join(directory, name), options);
    return new Set(ids);
  };
  const all = await keptOf('all', { texts: path, keep: 1 });
  const share = await keptOf('share', { texts: path });
  const zwei = [...wholeTokenizer.encode('zwei').ids];
  const rare = zwei.filter((id) => wholeTokenizer.piece(id).replace('▁', '').length > 1);
  t.ok(rare.length > 0);
  t.ok(zwei.every((id) => all.has(id)));
  t.ok(wholeTokenizer.encode(line).ids.every((id) => share.has(id)));
  const missing = rare.filter((id) => !share.has(id) && id > 3);
  t.same(missing.length > 0, true, 'the rarest are left out by default');
  const tokenizer = await Tokenizer.load(join(directory, 'share', tokenizerName));
  t.notOk(tokenizer.encode('zwei').ids.includes(3), 'but can be written by their characters');
  t.same(await keptOf('packed', { texts: [packed, path] }), share, 'gzip, several files');
  const latin = await keptOf('latin', { languages: ['de'] });
  const ids = Array.from({ length: wholeTokenizer.maskTokenId - 4 }, (_, i) => i + 4);
  const isLatin = (id: number) =>
    /^[\p{Script_Extensions=Latin}\p{Script=Common}\p{Script=Inherited}]*$/u.test(
      wholeTokenizer.piece(id),
    );
  t.ok(ids.filter(isLatin).every((id) => latin.has(id)));
  const both = await keptOf('both', { languages: ['ru'], texts: path, keep: 1 });
  t.ok([...all].every((id) => both.has(id)));
});

t.test('what cannot be trimmed, and wrong options', async (t) => {
  const directory = made(t);
  const model = join(directory, 'model');
  const texts = join(directory, 'texts.txt');
  const out = join(directory, 'out');
  const put = (name: string, files: Record<string, string | Buffer>) => {
    const path = join(directory, name);
    mkdirSync(path);
    for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content);
    return path;
  };
  const whole = {
    'config.json': JSON.stringify(config),
    'model.safetensors': safetensorsOf(tensors),
    [tokenizerName]: embedded(tokenizerName),
  };
  const { [tokenizerName]: _, ...noTokenizer } = whole;
  const short = new Map(tensors);
  const { shape, bytes, dtype } = short.get('lm_head.bias')!;
  short.set('lm_head.bias', {
    dtype,
    shape: [shape[0]! - 1],
    bytes: bytes.subarray(bytes.length / shape[0]!),
  });
  const few = new Map(tensors);
  const matrix = few.get(words)!;
  few.set(words, {
    ...matrix,
    shape: [9, 128],
    bytes: matrix.bytes.subarray(0, (9 * matrix.bytes.length) / matrix.shape[0]!),
  });
  const quantized = join(directory, 'int8');
  await quantize(model, quantized);
  const empty = join(directory, 'empty.txt');
  writeFileSync(empty, '\n\n');
  const wrong = (options: unknown) => options as TrimOptions;
  const failing: Record<string, [string, TrimOptions, string, RegExp]> = {
    'neither languages nor texts': [model, {}, 'ERR_INVALID_ARGUMENT', /languages.*texts/],
    'keep without texts': [model, { languages: ['de'], keep: 1 }, 'ERR_INVALID_ARGUMENT', /keep/],
    'keep 0': [model, { texts, keep: 0 }, 'ERR_INVALID_ARGUMENT', /keep.*above 0.*not 0/],
    'keep 2': [model, { texts, keep: 2 }, 'ERR_INVALID_ARGUMENT', /keep.*not 2/],
    'keep as text': [model, wrong({ texts, keep: '1' }), 'ERR_INVALID_ARGUMENT', /keep/],
    'an unknown language': [
      model,
      { languages: ['?'] },
      'ERR_INVALID_ARGUMENT',
      /^languages: "\?"/,
    ],
    'no language': [model, { languages: [] }, 'ERR_INVALID_ARGUMENT', /^languages must/],
    'no texts': [model, { texts: [] }, 'ERR_INVALID_ARGUMENT', /texts must be/],
    'texts that are no path': [model, wrong({ texts: 5 }), 'ERR_INVALID_ARGUMENT', /texts must be/],
    'a missing file': [model, { texts: `${texts}2` }, 'ERR_INVALID_ARGUMENT', /texts\.txt2 cannot/],
    'a folder': [model, { texts: directory }, 'ERR_INVALID_ARGUMENT', /cannot be read/],
    'no text in it': [
      model,
      { texts: empty },
      'ERR_INVALID_ARGUMENT',
      /empty\.txt: there is no text/,
    ],
    'an unknown option': [model, wrong({ texts, to: 'bf16' }), 'ERR_INVALID_ARGUMENT', /'to'/],
    'int8 weights': [quantized, { texts }, 'ERR_MODEL_FORMAT', /int8.*trimmed.*then quantize/],
    'no directory': [`${model}2`, { texts }, 'ERR_MODEL_FORMAT', /config\.json is missing/],
    'another kind of model': [
      put('bert', { ...whole, 'config.json': JSON.stringify({ ...config, model_type: 'bert' }) }),
      { texts },
      'ERR_MODEL_FORMAT',
      /model_type is "bert"/,
    ],
    'another <mask>': [
      put('mask', { ...whole, 'config.json': JSON.stringify({ ...config, mask_token_id: 77 }) }),
      { texts },
      'ERR_TOKENIZER',
      /mask_token_id is 77/,
    ],
    'no tokenizer': [put('bare', noTokenizer), { texts }, 'ERR_TOKENIZER', /sentencepiece/],
    'no weights': [
      put('weightless', {
        'config.json': whole['config.json'],
        [tokenizerName]: whole[tokenizerName]!,
      }),
      { texts },
      'ERR_MODEL_FORMAT',
      /model\.safetensors/,
    ],
    'a bias of another size': [
      put('short', { ...whole, 'model.safetensors': safetensorsOf(short) }),
      { texts },
      'ERR_MODEL_FORMAT',
      /lm_head\.bias" has 401 rows.*402/,
    ],
    'fewer rows than ids': [
      put('few', { ...whole, 'model.safetensors': safetensorsOf(few) }),
      { texts },
      'ERR_MODEL_FORMAT',
      /ids up to 401, the model only 9/,
    ],
  };
  for (const [what, [from, options, code, message]] of Object.entries(failing)) {
    await t.rejects(trim(from, out, options), { code, message }, what);
    t.notOk(existsSync(out), `${what}: nothing is left`);
  }
  await t.rejects(trim(model, directory, { texts }), { message: /is not empty/ });
  await t.rejects(trim(model, model, { texts, overwrite: true }), { message: /the model itself/ });
  await t.rejects(trim(model, join(texts, 'below'), { texts }), { code: 'ERR_INVALID_ARGUMENT' });
  await t.rejects(convert(quantized, out), { message: /int8.*converted/ });
});

t.test('stopped, or failing in the middle, it leaves nothing', async (t) => {
  const directory = made(
    t,
    tensors,
    {},
    {
      'modules.json': '[]',
      '1_Pooling': { 'config.json': '{"pooling_mode_cls_token":true}' },
    },
  );
  const model = join(directory, 'model');
  const texts = join(directory, 'texts.txt');
  const reason = new Error('enough');
  for (const stage of ['texts', 'weights', 'before'] as const) {
    for (const there of [false, true]) {
      const out = join(directory, `${stage}${there}`);
      if (there) mkdirSync(out);
      const controller = new AbortController();
      if (stage === 'before') controller.abort(reason);
      const options: TrimOptions = {
        texts,
        signal: controller.signal,
        onProgress: (_, at) => at === stage && controller.abort(reason),
      };
      await t.rejects(trim(model, out, options), reason, stage);
      t.equal(existsSync(out), there);
      if (there) t.same(readdirSync(out), []);
      const throwing = (_: number, at: string) => {
        if (at === stage) throw reason;
      };
      if (stage === 'before') continue;
      await t.rejects(trim(model, out, { texts, onProgress: throwing }), reason);
      t.equal(existsSync(out), there);
    }
  }
  // A folder in the place of the last files fails when the weights are written already.
  for (const name of ['config.json', tokenizerName, '1_Pooling/config.json', 'model.safetensors']) {
    const out = join(directory, name.replace('/', '-'));
    mkdirSync(join(out, name, 'x'), { recursive: true });
    await t.rejects(trim(model, out, { texts, overwrite: true }), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /cannot be written/,
    });
    t.same(readdirSync(out), [name.split('/')[0]!], `${name}: what was there before alone is left`);
  }
  const out = join(directory, 'again');
  await trim(model, out, { texts });
  const first = readFileSync(join(out, 'model.safetensors'));
  await trim(model, out, { texts, overwrite: true });
  t.ok(readFileSync(join(out, 'model.safetensors')).equals(first));
});

const data = fileURLToPath(new URL('../../shared/data', import.meta.url));
const realTokenizer = join(data, 'xlm-r-tokenizer', tokenizerName);
const tatoeba = join(data, 'tatoeba');
const skip =
  existsSync(realTokenizer) && existsSync(tatoeba) ? false : 'the XLM-R vocabulary is not there';

t.test('the real vocabulary', { skip }, async (t) => {
  const whole = await Tokenizer.load(realTokenizer);
  const random = new Random(11);
  const [hidden, rows] = [16, whole.vocabulary];
  const tiny = new Map<string, StoredTensor>();
  const put = (name: string, shape: number[], values?: (count: number) => Float32Array) => {
    const count = shape.reduce((a, b) => a * b);
    const floats = values?.(count) ?? random.normals(count, 0.5);
    tiny.set(name, { dtype: 'F32', shape, bytes: new Uint8Array(floats.buffer) });
  };
  const linear = (name: string, outputs: number, inputs: number) => {
    put(`${name}.weight`, [outputs, inputs]);
    put(`${name}.bias`, [outputs]);
  };
  const norm = (name: string) => linear(name, hidden, 1);
  const layer = 'roberta.encoder.layer.0';
  put(words, [rows, hidden], (count) =>
    Float32Array.from({ length: count }, () => random.uniform() - 0.5),
  );
  put('roberta.embeddings.position_embeddings.weight', [130, hidden]);
  put('roberta.embeddings.token_type_embeddings.weight', [1, hidden]);
  for (const part of ['attention.self.query', 'attention.self.key', 'attention.self.value']) {
    linear(`${layer}.${part}`, hidden, hidden);
  }
  linear(`${layer}.attention.output.dense`, hidden, hidden);
  linear(`${layer}.intermediate.dense`, 2 * hidden, hidden);
  linear(`${layer}.output.dense`, hidden, 2 * hidden);
  linear('lm_head.dense', hidden, hidden);
  put('lm_head.bias', [rows]);
  for (const name of [
    'roberta.embeddings.LayerNorm',
    `${layer}.attention.output.LayerNorm`,
    `${layer}.output.LayerNorm`,
    'lm_head.layer_norm',
  ]) {
    norm(name);
    const weight = tiny.get(`${name}.weight`)!;
    tiny.set(`${name}.weight`, { ...weight, shape: [hidden] });
  }
  const directory = t.testdir();
  const model = join(directory, 'model');
  mkdirSync(model);
  writeFileSync(join(model, 'model.safetensors'), safetensorsOf(tiny));
  writeFileSync(join(model, tokenizerName), readFileSync(realTokenizer));
  const settings = {
    model_type: 'xlm-roberta',
    vocab_size: rows,
    hidden_size: hidden,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 2 * hidden,
    hidden_act: 'gelu',
    max_position_embeddings: 130,
    type_vocab_size: 1,
    layer_norm_eps: 1e-5,
  };
  writeFileSync(join(model, 'config.json'), JSON.stringify(settings));

  const sentences = ['de-en', 'en-de'].flatMap((pair) =>
    readFileSync(join(tatoeba, `${pair}.test.jsonl`), 'utf8')
      .trim()
      .split('\n')
      .flatMap((line) => {
        const { source, references } = JSON.parse(line) as { source: string; references: string[] };
        return [source, ...references];
      }),
  );
  const encoded = sentences.map((text) => whole.encode(text).ids);
  const lines = gunzipSync(readFileSync(join(tatoeba, 'en-de.train.tsv.gz')));
  const some = lines.subarray(0, lines.lastIndexOf('\n', 2 ** 18));
  const texts = join(directory, 'texts.tsv.gz');
  writeFileSync(texts, gzipSync(some));

  const trims: Record<string, TrimOptions> = {
    'to languages': { languages: ['de', 'en'] },
    'to texts': { texts, keep: 1 },
    'to the most of texts': { texts, keep: 0.99 },
    'to both': { texts, languages: ['ru'] },
  };
  for (const [what, options] of Object.entries(trims)) {
    await t.test(what, async (t) => {
      const out = join(directory, what.replaceAll(' ', '-'));
      const result = await trim(model, out, options);
      const { ids, pieces } = result;
      t.comment(`${pieces.after} of ${pieces.before} pieces`);
      const tokenizer = await Tokenizer.load(join(out, tokenizerName), {
        vocabulary: ids.length,
        maskTokenId: ids.length - 1,
      });
      const kept = new Set(ids);
      let compared = 0;
      let different = 0;
      for (const [i, expected] of encoded.entries()) {
        if (!expected.every((id) => kept.has(id))) continue;
        compared++;
        const own = tokenizer.encode(sentences[i]!).ids.map((id) => ids[id]!);
        if (!sameBits(new Float32Array(own), new Float32Array(expected))) different++;
      }
      t.equal(different, 0, `the same pieces in ${compared} of ${sentences.length} sentences`);
      t.ok(compared > 1000);
      if (what === 'to languages') t.ok(compared > 0.98 * sentences.length);
      if (what === 'to texts') {
        for (const line of some.toString().split('\n').slice(0, 5000)) {
          const own = Array.from(tokenizer.encode(line).ids, (id) => ids[id]!);
          if (own.join() !== whole.encode(line).ids.join()) t.fail(line);
        }
      }
      if (what === 'to the most of texts') {
        const unknown = (of: Tokenizer, text: string) =>
          of.encode(text).ids.filter((id) => id === 3).length;
        const more = some
          .toString()
          .split('\n')
          .slice(0, 5000)
          .filter((line) => unknown(tokenizer, line) > unknown(whole, line));
        t.same(more, [], 'pieces that are left out are written by their characters, not as <unk>');
      }
      const [source, target] = encoded.filter(
        (of) => of.every((id) => kept.has(id)) && of.length > 8,
      );
      await compares(t, model, out, result, source!, target!);
    });
  }
});
