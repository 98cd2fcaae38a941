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
  t.same(await lines([Buffer.from([0x61, 0xff, 0x0a, 0xc3])]), ['a\ufffd', '\ufffd']);
});

t.test('lines that are there come together, a line that is complete at once', async (t) => {
  const chunks = ['a\nb\nc\nd', '\ne'].map((text) => Buffer.from(text));
  const together: string[][] = [];
  for await (const some of readLines(Readable.from(chunks), 2, new AbortController().signal)) {
    together.push(some);
  }
  t.same(together, [['a', 'b'], ['c'], ['d'], ['e']]);
});
