/** Lines of a stream: where they end, and which come together. */
import { Readable } from 'node:stream';
import t from 'tap';
import { readLines } from '../lib/cli/lines.js';

t.test('lines end with \\n or \\r\\n only, wherever the chunks end', async (t) => {
  const bytes = Buffer.from('a\u2028b\r\n\n\u00e9\u{1f600}\rc\r\nd');
  const { signal } = new AbortController();
  const lines = async (chunks: Buffer[]) => {
    const all: string[] = [];
    for await (const some of readLines(Readable.from(chunks), 2, signal)) {
      t.ok(some.length <= 2);
      all.push(...some);
    }
    return all;
  };
  const expected = ['a\u2028b', '', '\u00e9\u{1f600}\rc', 'd'];
  t.same(await lines([bytes]), expected);
  t.same(await lines([...bytes].map((byte) => Buffer.of(byte))), expected);
  const marked = Buffer.from('\ufeffa\n\ufeffb');
  t.same(await lines([marked]), ['a', '\ufeffb'], 'a byte order mark is no part of the text');
  t.same(await lines([...marked].map((byte) => Buffer.of(byte))), ['a', '\ufeffb']);
});

t.test('a line that is not UTF-8 ends the reading, after those before it', async (t) => {
  const utf16 = Buffer.from('Write\nthis\n', 'utf16le');
  const wrong: [string, Buffer, number, RegExp][] = [
    ['ISO 8859-1', Buffer.from('a\nb\nf\xfcnf\nd', 'latin1'), 2, /^line 3 is not UTF-8: /],
    ['a character cut off', Buffer.from([0x61, 0x0a, 0xc3]), 1, /^line 2 is not UTF-8: /],
    ['half of a surrogate pair', Buffer.from([0xed, 0xa0, 0x80]), 0, /^line 1 is not UTF-8: /],
    ['UTF-16', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]), 0, /^line 1 .*UTF-16.*as UTF-8/],
    ['without a mark', utf16, 0, /^line 1 has NUL bytes.*UTF-16/],
    ['big-endian', Buffer.from(utf16).swap16(), 0, /^line 1 has NUL bytes/],
    [
      'big-endian, marked',
      Buffer.from([0xfe, 0xff, 0x6d, 0x4b, 0x8b, 0xd5]),
      0,
      /^line 1 .*mark of UTF-16/,
    ],
  ];
  for (const [what, bytes, before, message] of wrong) {
    for (const chunks of [[bytes], [...bytes].map((byte) => Buffer.of(byte))]) {
      let read = 0;
      const { signal } = new AbortController();
      const reading = (async () => {
        for await (const lines of readLines(Readable.from(chunks), 2, signal)) read += lines.length;
      })();
      await t.rejects(reading, { code: 'ERR_INVALID_ARGUMENT', message }, what);
      t.equal(read, before, what);
    }
  }
});

t.test('lines that are there come together, a line that is complete at once', async (t) => {
  const chunks = ['a\nb\nc\nd', '\ne'].map((text) => Buffer.from(text));
  const together: string[][] = [];
  for await (const some of readLines(Readable.from(chunks), 2, new AbortController().signal)) {
    together.push(some);
  }
  t.same(together, [['a', 'b'], ['c'], ['d'], ['e']]);
});
