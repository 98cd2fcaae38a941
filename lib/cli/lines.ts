/**
 * Lines of a stream as they come: those of one chunk together, at most `most` at a time, so that lines that
 * are there are worked on together and one that was typed is answered at once.
 *
 * A line ends with `\n` or `\r\n`, the last one also with the stream. Bytes that are not UTF-8 become U+FFFD.
 */
import { addAbortSignal } from 'node:stream';
import type { InputStream } from './output.js';

export async function* readLines(
  stream: InputStream,
  most: number,
  signal: AbortSignal,
): AsyncGenerator<string[], void, void> {
  addAbortSignal(signal, stream);
  const decoder = new TextDecoder();
  // Parts of a line that has not ended yet: joined once, however many chunks it has.
  let begun: string[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const [end, ...ends] = text.split('\n');
    begun.push(end!);
    if (ends.length === 0) continue;
    const rest = ends.pop()!;
    yield* groups([begun.join(''), ...ends].map(withoutReturn), most);
    begun = [rest];
  }
  const last = begun.join('') + decoder.decode();
  if (last !== '') yield [withoutReturn(last)];
}

function* groups(lines: string[], most: number): Generator<string[]> {
  for (let from = 0; from < lines.length; from += most) yield lines.slice(from, from + most);
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
