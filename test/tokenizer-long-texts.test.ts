/**
 * Long texts: the ids they have as a whole, in linear time whatever they hold.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { SentencePieceProcessor } from 'sentencepiece-js';
import t from 'tap';
import { LONGEST_SEGMENT, segments } from '../lib/text/sentencepiece-segments.js';
import { Tokenizer } from '../lib/text/tokenizer.js';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const file = path('fixtures/tokenizer/sentencepiece.bpe.model');

const cases = JSON.parse(readFileSync(path('fixtures/tokenizer/cases.json'), 'utf8')).cases as {
  text: string;
}[];

const ids = (tokenizer: Tokenizer, text: string, options = {}) => [
  ...tokenizer.encode(text, options).ids,
];

// sentencepiece-js by itself: a text's ids without segments. Its listeners do no harm in a test.
const bare = new SentencePieceProcessor();
await bare.load(file);
const wholeTextIds = (text: string) => [
  0,
  ...bare.encodeIds(text).map((piece) => (piece === 0 ? 3 : piece + 1)),
  2,
];

t.test('the segments of a long text', async (t) => {
  const spaces = new Set([' ', '\n']);
  const cut = (text: string) => [...segments(text, spaces)];
  t.same(cut(''), []);
  t.same(cut('a b'), [{ text: 'a b', endsInsideWord: false }]);
  for (const text of [
    'ab cd\n'.repeat(3000),
    'x'.repeat(20000),
    ' '.repeat(9000),
    '😀'.repeat(9001),
    `e${'\u0301'.repeat(9000)}`,
    `x${'👩\u200d👩\u200d👧\u200d👦'.repeat(2000)}`,
    'a'.repeat(LONGEST_SEGMENT - 1) + '한'.normalize('NFD').repeat(3000),
  ]) {
    const parts = cut(text);
    t.equal(parts.map((part) => part.text).join(''), text, 'hold all of it');
    t.ok(parts.every((part) => part.text.length <= LONGEST_SEGMENT && part.text.length > 0));
    t.equal(parts.at(-1)!.endsInsideWord, false);
    for (const part of parts.slice(0, -1)) {
      t.equal(part.endsInsideWord, !/[ \n]$/.test(part.text));
    }
  }
  t.notOk(
    cut('👩\u200d👩\u200d👧\u200d👦'.repeat(2000)).some(
      (part) => !part.text.startsWith('👩\u200d👩\u200d👧'),
    ),
    'graphemes stay whole',
  );
});

t.test('a long text has the ids it has as a whole', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const sentences = cases.map((entry) => entry.text);
  const long: Record<string, string> = {
    sentences: sentences.join(' ').repeat(12),
    lines: sentences.join('\r\n').repeat(12),
    'Chinese lines': '我喜欢喝茶，不喜欢喝咖啡。\n'.repeat(1500),
    'zero-width spaces': 'ผมไม่รู้ว่าเขาจะมาไหม\u200b'.repeat(900),
    'ideographic spaces': '我喜欢喝茶\u3000'.repeat(3000),
    'white space': `a${' \t\n\u00a0'.repeat(9000)}b`,
    'white space around words': ` ${'  a \n\n b'.repeat(9000)} `,
    'removed characters': `a${'\u0001\u0008'.repeat(9000)} b c${'\u0001'.repeat(9000)} d`,
    'removed characters first': `${'\u0001'.repeat(9000)}Hello World!`,
    'unknown characters': 'ک'.repeat(30000),
    'different unknown characters': 'aکگ☃😀'.repeat(60) + 'کگ☃😀'.repeat(5000) + 'a',
    'unknown characters and spaces': 'ک ☃ '.repeat(9000),
    'a known character behind a cut': 'ک'.repeat(LONGEST_SEGMENT) + 'aکa',
    'an unknown character behind a cut': 'x'.repeat(LONGEST_SEGMENT) + 'کx',
    'a space behind a cut': 'x'.repeat(LONGEST_SEGMENT) + ' x',
    digits: '99999'.repeat(3000),
    'lone replacement characters': 'a\ufffd'.repeat(5000),
  };
  for (const [name, text] of Object.entries(long)) {
    const all = wholeTextIds(text);
    t.same(ids(tokenizer, text), all, name);
    t.equal(tokenizer.countTokens(text), all.length - 2);
    const { ids: first, truncated } = tokenizer.encode(text, { maxIds: 512 });
    t.equal(truncated, all.length > 512);
    t.same([...first], truncated ? [...all.slice(0, 511), 2] : all, `${name}, truncated`);
  }

  // A word too long for a segment: the same text, and the same ids up to the first cut.
  const word = '我喜欢喝茶，不喜欢喝咖啡。ผมไม่รู้ว่าเขาจะมาไหม'.repeat(400);
  const all = wholeTextIds(word);
  t.equal(tokenizer.decode(tokenizer.encode(word).ids), tokenizer.decode(all));
  t.same(ids(tokenizer, word).slice(0, 1000), all.slice(0, 1000));
  t.same(ids(tokenizer, word, { maxIds: 512 }), [...all.slice(0, 511), 2]);
  t.same(
    ids(tokenizer, word, { maxIds: 5000 }).slice(0, -1),
    ids(tokenizer, word).slice(0, 4999),
    'a truncated text begins as the whole one, beyond cuts too',
  );
});

t.test('hostile texts take no more than linear time', async (t) => {
  const tokenizer = await Tokenizer.load(file);
  const limit = { maxIds: 512 };
  for (const [name, text] of Object.entries({
    'unknown characters': '😀'.repeat(200_000),
    'white space': ' \n'.repeat(500_000),
    'removed characters': '\u0001'.repeat(500_000),
    'one grapheme': `e${'\u0301'.repeat(400_000)}`,
    '<mask> after white space': `${' '.repeat(1000)}<mask>`.repeat(500),
    'almost special': '<mask'.repeat(100_000),
  })) {
    const start = performance.now();
    tokenizer.encode(text, { ...limit, parseSpecial: true });
    t.ok(performance.now() - start < 10_000, name);
  }
  const start = performance.now();
  t.equal(tokenizer.encode('Hello World! '.repeat(1_000_000), limit).truncated, true);
  t.ok(performance.now() - start < 1000, 'only the beginning of a long text is encoded');
});
