/**
 * Tokens that are added to a SentencePiece model: read as Hugging Face's tokenizers read them
 * (test/fixtures/tokenizer/added-tokens.json), their ids in sources and nowhere else, and files that are wrong.
 */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import {
  convert,
  embeddedModel,
  Engine,
  MaskPredict,
  quantize,
  Tokenizer,
  Trainer,
} from '../lib/index.js';
import { refused } from './refusals-of-calls.js';
import { get, words } from './model-directories.js';
import { readTensors, safetensorsOf } from './safetensors-writer.js';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const name = 'sentencepiece.bpe.model';

interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}
interface Fixture {
  added_tokens: AddedToken[];
  cases: { text: string; ids: number[]; decoded: string }[];
}
const fixture = JSON.parse(
  readFileSync(path('fixtures/tokenizer/added-tokens.json'), 'utf8'),
) as Fixture;

type Files = Record<string, string>;

/** The fixture's SentencePiece model in a directory with these files beside it. */
function tokenizerFile(t: Test, files: Files): string {
  const file = join(t.testdir(files), name);
  copyFileSync(path(`fixtures/tokenizer/${name}`), file);
  return file;
}

/** tokenizer_config.json with these tokens. */
function described(tokens: Partial<AddedToken>[]): Files {
  const entries = tokens.map(({ id, ...token }) => [id, token] as const);
  const content = { added_tokens_decoder: Object.fromEntries(entries) };
  return { 'tokenizer_config.json': JSON.stringify(content) };
}

const listed = (tokens: Record<string, unknown>): Files => ({
  'added_tokens.json': JSON.stringify(tokens),
});

t.test('texts are read as by Hugging Face', async (t) => {
  const forms: Record<string, Files> = {
    'tokenizer_config.json': described(fixture.added_tokens),
    'tokenizer.json': {
      'tokenizer.json': JSON.stringify({
        version: 'its "added_tokens": [ are below',
        note: 'added_tokens',
        added_tokens: fixture.added_tokens,
        model: {
          vocab: [
            ['[', 0],
            ['"]', 1],
          ],
        },
      }),
    },
  };
  for (const [form, files] of Object.entries(forms)) {
    await t.test(form, async (t) => {
      const tokenizer = await Tokenizer.load(tokenizerFile(t, files));
      for (const { text, ids, decoded } of fixture.cases) {
        const encoding = tokenizer.encode(text, { parseSpecial: true });
        t.same([...encoding.ids], [0, ...ids, 2], JSON.stringify(text));
        // SentencePiece writes an unknown piece, and a token is written as it was added.
        if (ids.includes(3)) continue;
        t.equal(tokenizer.decode(encoding.ids).normalize('NFKC'), decoded, `${decoded} again`);
      }
    });
  }
});

t.test('added_tokens.json names them alone, and other files say which are special', async (t) => {
  const base = await Tokenizer.load(path(`fixtures/tokenizer/${name}`));
  const mask = base.maskTokenId;
  const tokenizer = await Tokenizer.load(
    tokenizerFile(t, {
      ...listed({ '<mask>': mask, '<b>': mask + 3, '<a>': mask + 1, __proto__: mask + 7 }),
      'special_tokens_map.json': JSON.stringify({ additional_special_tokens: ['<b>'] }),
    }),
  );
  t.equal(tokenizer.vocabulary, mask + 1, 'what can be answered');
  const read = (text: string) => [...tokenizer.encode(text, { parseSpecial: true }).ids];
  t.same(read('<a><b>'), [0, mask + 1, mask + 3, 2]);
  t.same(
    [...tokenizer.encode('<a>').ids],
    [...base.encode('<a>').ids],
    'without parseSpecial a name is text',
  );
  t.equal(tokenizer.piece(mask + 3), '<b>');
  t.equal(tokenizer.decode([mask + 1]), '<a>');
  t.equal(tokenizer.decode([mask + 1, mask + 3]), '<a>', 'special ones are left out');
  t.equal(tokenizer.decode([mask + 1, mask + 3], { keepSpecial: true }), '<a><b>');
  t.throws(() => tokenizer.decode([mask + 2]), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /ids\[0\].*added token/,
  });
  t.throws(() => base.piece(mask + 1), { code: 'ERR_INVALID_ARGUMENT' });

  const otherName = join(t.testdirName, 'other.model');
  copyFileSync(path(`fixtures/tokenizer/${name}`), otherName);
  const alone = await Tokenizer.load(otherName);
  t.throws(() => alone.piece(mask + 1), { code: 'ERR_INVALID_ARGUMENT' }, 'no model directory');
});

t.test('a long text without any name, and many names', async (t) => {
  const { maskTokenId } = await Tokenizer.load(path(`fixtures/tokenizer/${name}`));
  const many = Array.from({ length: 20_000 }, (_, i) => [`<extra_${i}>`, maskTokenId + 1 + i]);
  const tokenizer = await Tokenizer.load(
    tokenizerFile(t, listed(Object.fromEntries(many) as Record<string, number>)),
  );
  const options = { parseSpecial: true, maxIds: 64 };
  t.ok(tokenizer.encode('<extra_'.repeat(20_000), options).truncated);
  t.ok(tokenizer.encode('<extra_7>'.repeat(20_000), options).ids.includes(maskTokenId + 8));
});

t.test('files that are wrong', async (t) => {
  const { maskTokenId: mask } = await Tokenizer.load(path(`fixtures/tokenizer/${name}`));
  const decoder = (value: unknown): Files => ({
    'tokenizer_config.json': JSON.stringify({ added_tokens_decoder: value }),
  });
  const format = 'ERR_MODEL_FORMAT';
  const cases: Record<string, [Files, string, RegExp]> = {
    'no JSON': [{ 'added_tokens.json': '{"a": ' }, format, /added_tokens\.json is not JSON/],
    'a list': [
      { 'added_tokens.json': '["a"]' },
      format,
      /added_tokens\.json holds .*not an object/,
    ],
    'a negative id': [listed({ a: -1 }), format, /"a" has the id -1, not a whole number from 0/],
    'half an id': [listed({ a: mask + 1.5 }), format, /"a" has the id .*\.5/],
    'a huge id': [listed({ a: 2 ** 53 }), format, /"a" has the id 9007199254740992/],
    'an id beyond all': [{ 'added_tokens.json': '{"a": 1e999}' }, format, /Infinity/],
    'an id as text': [listed({ a: '300' }), format, /"a" has the id "300"/],
    'no id': [listed({ a: null }), format, /"a" has the id null/],
    'no text': [listed({ '': mask + 1 }), format, /content ""/],
    'one id twice': [listed({ a: mask + 1, b: mask + 1 }), format, /"b".*but "a" has the id/],
    'a decoder that is a list': [decoder([]), format, /added_tokens_decoder is/],
    'a token that is none': [decoder({ 900: 'a' }), format, /id 900 has the content undefined/],
    'content that is no text': [decoder({ 900: { content: 5 } }), format, /content 5, not a text/],
    'a key that is no id': [decoder({ '-1': { content: 'a' } }), format, /has the id "-1"/],
    'a key of digits without end': [
      decoder({ ['9'.repeat(40)]: { content: 'a' } }),
      format,
      /"a" has the id "999/,
    ],
    'one text twice': [
      decoder({ 900: { content: 'a' }, 901: { content: 'a' } }),
      format,
      /"a" has the id 901, but "a" has the id 900/,
    ],
    'two files that contradict each other': [
      {
        ...listed({ a: mask + 1 }),
        'tokenizer.json': `{"added_tokens": [{"id": ${mask + 2}, "content": "a"}]}`,
      },
      format,
      /tokenizer\.json: .*in .*added_tokens\.json; take one of them out/,
    ],
    'a tokenizer.json that was cut': [
      { 'tokenizer.json': '{"added_tokens": [{"id": 900, "cont' },
      format,
      /tokenizer\.json: its added_tokens are not JSON/,
    ],
    'the id of another piece': [
      listed({ nonsense: 10 }),
      'ERR_TOKENIZER',
      /"nonsense" the id 10, which is "/,
    ],
    'another mask': [
      listed({ '<mask>': mask + 1 }),
      'ERR_TOKENIZER',
      new RegExp(
        `"<mask>" the id ${mask + 1}, which has the id ${mask} in .*belongs to another model`,
      ),
    ],
  };
  for (const [what, [files, code, message]] of Object.entries(cases)) {
    await t.test(what, async (t) => {
      await t.rejects(Tokenizer.load(tokenizerFile(t, files)), { code, message });
    });
  }
});

/** The embedded model's rows, of which none is for an added token. */
const rows = 402;
const like = 57;

/**
 * The embedded model with three more rows, each what row 57 is, and a bias that would make it every answer; and these
 * files.
 */
function grown(t: Test, files: Files): string {
  const tensors = readTensors(readFileSync(join(embeddedModel, 'model.safetensors')));
  for (const name of [words, 'lm_head.bias']) {
    const { dtype, shape, bytes } = get(tensors, name);
    t.equal(dtype, 'F16');
    const row = bytes.length / rows;
    const large = Buffer.from([0x40, 0x56]); // 100
    const added = name === words ? bytes.subarray(like * row, (like + 1) * row) : large;
    const all = Buffer.concat([bytes, added, added, added]);
    tensors.set(name, { dtype, shape: [rows + 3, ...shape.slice(1)], bytes: all });
  }
  const config = JSON.parse(readFileSync(join(embeddedModel, 'config.json'), 'utf8')) as object;
  const directory = t.testdir({
    'config.json': JSON.stringify({ ...config, vocab_size: rows + 3 }),
    'model.safetensors': safetensorsOf(tensors),
    ...files,
  });
  copyFileSync(join(embeddedModel, name), join(directory, name));
  return directory;
}

const tokens = described([
  { id: 401, content: '<mask>', lstrip: true, special: true },
  { id: 402, content: '<one>', normalized: false },
  { id: 404, content: '[three]', normalized: false, lstrip: true },
]);

t.test('sources may have their ids, and only they', async (t) => {
  const directory = grown(t, tokens);
  const engine = await Engine.load(directory, { device: 'cpu', threads: 1 });
  t.teardown(() => engine.close());
  const encode = async (...ids: number[]) => (await engine.encode([Int32Array.from(ids)]))[0]!;
  const source = await encode(0, 402, 30, 404, 2);
  const same = await encode(0, like, 30, like, 2);
  t.same(source.states(), same.states(), 'each has the row of its own id');
  const sources = [Int32Array.of(0, 404, 401, 2), Int32Array.of(0, like, 401, 2)];
  const [filled, expected] = await engine.fillMask(sources, { count: 398 });
  t.same(filled, expected, 'and no part in the answers');
  t.notOk(filled![0]!.ids.some((id) => id >= rows));

  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'an id between them': [() => encode(0, 403, 2), /id 403 at position 1.*0 to 401.*added tokens/],
    'an id behind them': [() => encode(0, 405, 2), /id 405/],
    'a target': [() => source.target(Int32Array.of(0, 402, 401, 2)), /target id 402.*0 to 401/],
  });
  await t.rejects(
    Engine.load(directory, { device: 'cpu', vocabulary: { allowedIds: [30, 402] } }),
    { code: 'ERR_INVALID_ARGUMENT', message: /402/ },
    'none can be asked for as an answer',
  );
});

t.test('prompts name them', async (t) => {
  const model = await MaskPredict.load(grown(t, tokens), { device: 'cpu', threads: 1 });
  t.teardown(() => model.close());
  const { tokenizer } = model;
  const prompt = 'Write the number <one> in German words. [three]';
  const parsed = tokenizer.encode(prompt, { parseSpecial: true }).ids;
  t.same([parsed.filter((id) => id === 402).length, parsed.at(-2)], [1, 404]);
  const [source] = await model.engine.encode([parsed]);
  const [best] = source!.predictLengths(1);
  const answer = await model.generate(prompt, { parseSpecial: true });
  t.equal(answer.length, best!.length - 2);
  t.ok((await model.embed(prompt, { parseSpecial: true })).every(Number.isFinite));
  const [filled] = await model.fillMask('<one> <mask>[three]');
  t.equal(filled!.length, 5);
  const special = { parseSpecial: true };
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'a text to score': [
      () => model.score('x', 'a <one>', special),
      /<one> \(id 402\).*never answered/,
    ],
    'a text by itself': [() => model.pseudoLogLikelihood('a [three]', special), /\[three\].*404/],
    'a label': [() => model.choose('x', ['<one>'], special), /label 0.*<one>/],
  });
  t.same(
    (await model.score('x', 'a <one>')).tokenScores.length,
    tokenizer.countTokens('a <one>'),
    'without parseSpecial it is text',
  );
});

t.test('an id without a row is refused', async (t) => {
  const directory = grown(t, listed({ '<four>': rows + 3 }));
  const message = /added token has the id 405 .*added_tokens\.json.*only 405 rows.*resize/;
  await t.rejects(Engine.load(directory), { code: 'ERR_MODEL_FORMAT', message });
  await t.rejects(MaskPredict.load(directory), { code: 'ERR_MODEL_FORMAT', message });
});

t.test('what is made of a model has them too', async (t) => {
  const directory = grown(t, tokens);
  const out = (name: string) => join(directory, name);
  await quantize(directory, out('int8'));
  await convert(directory, out('converted'));
  const trainer = await Trainer.load(directory, { threads: 1 });
  t.teardown(() => trainer.close());
  await trainer.checkpoint(out('checkpoint'));
  const resumed = await Trainer.resume(out('checkpoint'), { threads: 1 });
  t.teardown(() => resumed.close());
  await resumed.save(out('trained'));
  for (const name of ['int8', 'converted', 'trained']) {
    const model = await MaskPredict.load(out(name), { threads: 1, device: 'cpu' });
    t.teardown(() => model.close());
    const { ids } = model.tokenizer.encode('<one>  [three]', { parseSpecial: true });
    t.same([...ids], [0, 402, 404, 2], name);
    await model.engine.encode([ids]);
  }
});
