/**
 * Lines of a stream as they come: those of one chunk together, at most `most` at a time, so that lines that
 * are there are worked on together and one that was typed is answered at once.
 *
 * A line ends with `\n` or `\r\n`, the last one also with the stream. The text is UTF-8, with or without a byte order
 * mark. A line that is not ends the reading with an error that names it, after those before it: read as UTF-8, bytes
 * of another encoding are a text that nobody wrote.
 */
import { addAbortSignal } from 'node:stream';
import { MaskPredictError } from '../errors.js';
import type { InputStream } from './output.js';

export async function* readLines(
  stream: InputStream,
  most: number,
  signal: AbortSignal,
): AsyncGenerator<string[], void, void> {
  addAbortSignal(signal, stream);
  const decoder = new LineDecoder();
  // Parts of a line that has not ended yet: joined once, however many chunks it has.
  let begun: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const bytes = Buffer.from(chunk as string);
    const lines: Buffer[] = [];
    let from = 0;
    for (let end; (end = bytes.indexOf(newline, from)) >= 0; from = end + 1) {
      lines.push(Buffer.concat([...begun, bytes.subarray(from, end)]));
      begun = [];
    }
    begun.push(bytes.subarray(from));
    yield* decoded(lines, most, decoder);
  }
  const last = Buffer.concat(begun);
  if (last.length > 0) yield* decoded([last], most, decoder);
}

const newline = 0x0a;

function* decoded(lines: Buffer[], most: number, decoder: LineDecoder): Generator<string[]> {
  let texts: string[] = [];
  for (const line of lines) {
    try {
      texts.push(decoder.decode(line));
    } catch (error) {
      if (texts.length > 0) yield texts;
      throw error;
    }
    if (texts.length < most) continue;
    yield texts;
    texts = [];
  }
  if (texts.length > 0) yield texts;
}

class LineDecoder {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #line = 0;

  /** The next line. */
  decode(bytes: Buffer): string {
    this.#line++;
    const first = this.#line === 1;
    if (bytes.includes(0) || (first && hasUtf16Mark(bytes))) {
      throw this.#wrong(
        'has NUL bytes or a byte order mark of UTF-16, so the input is probably UTF-16',
      );
    }
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      throw this.#wrong('is not UTF-8');
    }
    const begin = first && text.startsWith('\ufeff') ? 1 : 0;
    return text.slice(begin, text.endsWith('\r') ? -1 : undefined);
  }

  #wrong(how: string): MaskPredictError {
    return new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `line ${this.#line} ${how}: write the input as UTF-8 (in PowerShell: ` +
        '$OutputEncoding = [Text.UTF8Encoding]::new())',
    );
  }
}

function hasUtf16Mark([first, second]: Buffer): boolean {
  return (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
}
