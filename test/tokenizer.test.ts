/**
 * The tokenizer: ids and texts against those of SentencePiece itself (test/fixtures/tokenizer), XLM-R's
 * numbering, special tokens, truncation, and its arguments.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { LONGEST_SEGMENT } from '../lib/text/sentencepiece-segments.js';
import { Tokenizer } from '../lib/text/tokenizer.js';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const file = path('fixtures/tokenizer/sentencepiece.bpe.model');
const numbersFile = path('../models/numbers/sentencepiece.bpe.model');

interface Fixture {
  pieces: number;
  mask_token_id: number;
  cases: { text: string; ids: number[]; decoded: string }[];
}
const fixture = JSON.parse(readFileSync(path('fixtures/tokenizer/cases.json'), 'utf8')) as Fixture;

const invalid = { name: 'MaskPredictError', code: 'ERR_INVALID_ARGUMENT' };
const ids = (tokenizer: Tokenizer, text: string, options = {}) => [
  ...tokenizer.encode(text, options).ids,
];

t.test('ids and texts equal those of SentencePiece', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  t.equal(tokenizer.pieces, fixture.pieces);
  t.equal(tokenizer.maskTokenId, fixture.mask_token_id);
  t.equal(tokenizer.vocabulary, fixture.mask_token_id + 1);
  for (const [index, { text, ids: expected, decoded }] of fixture.cases.entries()) {
    const encoding = tokenizer.encode(text);
    t.type(encoding.ids, Int32Array);
    t.same([...encoding.ids], expected, `case ${index}`);
    t.equal(encoding.truncated, false);
    t.equal(tokenizer.decode(encoding.ids), decoded);
    t.equal(tokenizer.decode(expected), decoded);
    t.equal(tokenizer.countTokens(text), expected.length - 2);
  }
});

t.test('the embedded model', async (t) => {
  const tokenizer = await Tokenizer.load(numbersFile, { vocabulary: 402, maskTokenId: 401 });
  t.equal(tokenizer.pieces, 400);
  t.equal(tokenizer.vocabulary, 402);
  for (const text of ['Write the number 4217 in German words.', 'viertausendzweihundertsiebzehn']) {
    t.equal(tokenizer.decode(tokenizer.encode(text).ids), text);
  }
});

t.test('every id is one piece, numbered as in XLM-R', async (t) => {
  for (const name of [file, numbersFile]) {
    const tokenizer = await Tokenizer.load(name);
    const pieces = Array.from({ length: tokenizer.vocabulary }, (_, id) => tokenizer.piece(id));
    t.same(pieces.slice(0, 4), ['<s>', '<pad>', '</s>', '<unk>']);
    t.equal(pieces.at(-1), '<mask>');
    t.equal(new Set(pieces).size, tokenizer.vocabulary);
    // SentencePiece's own idea of each id: its text without the space in front.
    const wrong = pieces.filter((piece, id) => {
      const special = id < 4 || id === tokenizer.maskTokenId;
      return !special && tokenizer.decode([id]) !== piece.replaceAll('▁', ' ').replace(/^ /, '');
    });
    t.same(wrong, []);
    t.equal(tokenizer.decode([0, 1, 2, tokenizer.maskTokenId]), '');
    t.equal(tokenizer.decode([3]), ' ⁇ ');
    t.throws(() => tokenizer.piece(tokenizer.vocabulary), invalid);
    t.throws(() => tokenizer.piece(-1), invalid);
  }
  const tokenizer = await Tokenizer.load(file);
  const pieces = fixture.cases[3]!.ids.map((id) => tokenizer.piece(id));
  t.same(pieces, ['<s>', '▁Hello', '▁Wo', 'r', 'ld', '!', '</s>']);
});

t.test('decoding refuses what is not an id', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  for (const id of [-1, 8002, 250001, 0.5, NaN, Infinity, '5', null, undefined, 5n]) {
    t.throws(() => tokenizer.decode([5, id as number]), { ...invalid, message: /ids\[1\]/ });
  }
  for (const value of [undefined, null, 5, 'abc', {}]) {
    t.throws(() => tokenizer.decode(value as never), invalid);
  }
  t.throws(() => tokenizer.decode([5], { keepSpecial: 1 as never }), invalid);
  t.equal(tokenizer.decode([]), '');
  t.equal(tokenizer.decode(new Int32Array([0, 22, 2])), 'a');
});

t.test('decoding with special tokens kept', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const text = 'Hello <mask> World <unk>';
  const encoded = tokenizer.encode(text, { parseSpecial: true }).ids;
  t.equal(tokenizer.decode(encoded, { keepSpecial: true }), '<s> Hello<mask> World<unk></s>');
  t.equal(tokenizer.decode(encoded), 'Hello World ⁇ ');
});

t.test('special tokens in a text', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const mask = tokenizer.maskTokenId;
  const plain = (text: string) => ids(tokenizer, text).slice(1, -1);
  const parsed = (text: string) => ids(tokenizer, text, { parseSpecial: true }).slice(1, -1);

  for (const name of ['<s>', '</s>', '<pad>', '<unk>', '<mask>', '<0x41>']) {
    t.notOk(
      plain(`a ${name} b`).some((id) => id < 3 || id === mask),
      `${name} is text`,
    );
  }
  t.same(parsed('<s>'), [0]);
  t.same(parsed('<pad>'), [1]);
  t.same(parsed('</s>'), [2]);
  t.same(parsed('<unk>'), [3]);
  t.same(parsed('<mask>'), [mask]);
  t.same(parsed('<mask><mask> <mask>'), [mask, mask, mask]);
  t.same(parsed(' \t<s> \n </s> '), [0, 2]);

  const around = [...plain('Hello'), mask, ...plain('world')];
  for (const text of ['Hello<mask>world', 'Hello <mask> world', 'Hello \u3000\n <mask>   world']) {
    t.same(parsed(text), around, JSON.stringify(text));
  }
  t.same(parsed('a <mask>.'), [...plain('a'), mask, ...plain('.')]);
  t.same(parsed('a\u0085\t<mask>'), [...plain('a'), mask], 'white space before <mask> is dropped');
  t.same(parsed('a\u0085<s>'), [...plain('a\u0085'), 0], 'but not before the others');
  t.same(parsed('a</s>b'), [...plain('a'), 2, ...plain('b')]);
  for (const text of ['<MASK>', '< mask>', '<mask', '<<>>', '<eos>', '']) {
    t.same(parsed(text), plain(text), `${text} is text`);
  }
  t.same(parsed('<<mask>>'), [...plain('<'), mask, ...plain('>')]);
  t.equal(tokenizer.countTokens('a<mask>b', { parseSpecial: true }), 3);
  t.same(
    ids(tokenizer, 'a<mask>b', { parseSpecial: true, maxIds: 4 }),
    [0, ...plain('a'), mask, 2],
    'and count towards maxIds',
  );
});

t.test('truncation keeps </s> and the first ids', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  for (const { text, ids: all } of fixture.cases) {
    for (const maxIds of [2, 3, 7, all.length - 1, all.length, all.length + 1]) {
      if (maxIds < 2) continue;
      const { ids: some, truncated } = tokenizer.encode(text, { maxIds });
      const fits = all.length <= maxIds;
      t.equal(truncated, !fits);
      t.same([...some], fits ? all : [...all.slice(0, maxIds - 1), 2]);
    }
  }
  const text = 'Hello World! '.repeat(3);
  const count = tokenizer.countTokens(text) + 2;
  t.equal(tokenizer.encode(text, { maxIds: count, overflow: 'error' }).ids.length, count);
  t.throws(() => tokenizer.encode(text, { maxIds: count - 1, overflow: 'error' }), {
    ...invalid,
    message: new RegExp(`has ${count} ids.*at most ${count - 1}`),
  });
  t.throws(() => tokenizer.encode(text.repeat(20000), { maxIds: 512, overflow: 'error' }), {
    ...invalid,
    message: /has more than 65536 ids.*at most 512/,
  });
});

t.test('arguments are checked', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  for (const text of [undefined, null, 5, ['a'], Buffer.from('a'), {}]) {
    t.throws(() => tokenizer.encode(text as never), invalid);
    t.throws(() => tokenizer.countTokens(text as never), invalid);
  }
  for (const maxIds of [1, 0, -1, 2.5, NaN, '5', null]) {
    t.throws(() => tokenizer.encode('a', { maxIds: maxIds as number }), invalid);
  }
  t.throws(() => tokenizer.encode('a', { overflow: 'cut' as never }), invalid);
  t.throws(() => tokenizer.encode('a', { parseSpecial: 'yes' as never }), invalid);
  t.throws(() => tokenizer.encode('a', 5 as never), invalid);
  t.throws(() => tokenizer.encode('a', null as never), invalid);
  t.throws(() => tokenizer.countTokens('a', { parseSpecial: 1 as never }), invalid);
  for (const name of [undefined, null, 5, '', {}]) {
    await t.rejects(Tokenizer.load(name as never), invalid);
  }
  await t.rejects(Tokenizer.load(file, { vocabulary: 1.5 }), invalid);
  await t.rejects(Tokenizer.load(file, { maskTokenId: '8001' as never }), invalid);
});

t.test('lone surrogates lose nothing around them', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const spaced = ids(tokenizer, 'a bc');
  for (const text of ['a\ud83dbc', 'a\ude00bc', 'a\ud83d\ud83dbc', 'a \ude00\ud83d bc']) {
    t.same(ids(tokenizer, text), spaced, JSON.stringify(text));
  }
  t.same(ids(tokenizer, '\ud83d'), [0, 2]);
  // A pair that lies across the end of a segment is not a pair of lone surrogates.
  for (const shift of [0, 1, 2]) {
    const text = 'x'.repeat(LONGEST_SEGMENT - shift) + '😀yz';
    t.same(ids(tokenizer, text).slice(-4), ids(tokenizer, 'x😀yz').slice(-4));
  }
});
