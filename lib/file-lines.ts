/**
 * Lines of a file of text, as a stream: UTF-8, `\n` or `\r\n`, packed by gzip or not (the file's first two bytes tell).
 * Whatever is wrong is an `ERR_INVALID_ARGUMENT` that names file and line.
 */
import { createReadStream, type ReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { invalidArgument, MaskPredictError } from './errors.js';

/** Bytes of the longest line: far more than the longest text a model reads. */
export const longestLine = 4 * 2 ** 20;

export interface FileLine {
  text: string;
  /** From 1. */
  number: number;
}

const newline = 0x0a;
const carriageReturn = 0x0d;

/** The lines of `file`, those of one chunk together. `onBytes` sees the file's own bytes as they are read. */
export async function* readFileLines(
  file: string,
  onBytes: (bytes: Buffer) => void = () => {},
): AsyncGenerator<FileLine[], void, void> {
  const splitter = new LineSplitter(file);
  try {
    for await (const chunk of await contents(file, onBytes)) yield splitter.lines(chunk as Buffer);
  } catch (error) {
    if (error instanceof MaskPredictError) throw error;
    const { message } = error as Error;
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${splitter.place()} the file cannot be read further: ${message}`,
      { cause: error },
    );
  }
  yield splitter.end();
}

async function contents(
  file: string,
  onBytes: (bytes: Buffer) => void,
): Promise<AsyncIterable<unknown>> {
  const packed = await isGzip(file);
  const bytes = seen(createReadStream(file, { highWaterMark: 2 ** 18 }), onBytes);
  if (!packed) return bytes;
  const unpacked = createGunzip();
  // Errors arrive through `unpacked`, which whoever reads it sees.
  pipeline(bytes, unpacked, () => {});
  return unpacked;
}

async function* seen(stream: ReadStream, onBytes: (bytes: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    onBytes(chunk);
    yield chunk;
  }
}

async function isGzip(file: string): Promise<boolean> {
  try {
    const handle = await open(file);
    try {
      const { buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
      return buffer[0] === 0x1f && buffer[1] === 0x8b;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${file} cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
}

class LineSplitter {
  readonly #file: string;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  /** Parts of a line that has not ended yet: joined once, however many chunks it has. */
  #begun: Buffer[] = [];
  #begunBytes = 0;
  #number = 1;

  constructor(file: string) {
    this.#file = file;
  }

  /** `FILE:LINE:` of the line being read. */
  place(): string {
    return `${this.#file}:${this.#number}:`;
  }

  lines(chunk: Buffer): FileLine[] {
    const lines: FileLine[] = [];
    let from = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, from)) {
      this.#add(chunk.subarray(from, end));
      lines.push(this.#take());
      from = end + 1;
    }
    this.#add(chunk.subarray(from));
    return lines;
  }

  end(): FileLine[] {
    return this.#begunBytes === 0 ? [] : [this.#take()];
  }

  #add(part: Buffer): void {
    this.#begunBytes += part.length;
    if (this.#begunBytes > longestLine) {
      throw invalidArgument(
        `${this.place()} the line has more than ${longestLine / 2 ** 20} MiB, which no model reads; ` +
          'the file must have one example a line',
      );
    }
    if (part.length > 0) this.#begun.push(part);
  }

  #take(): FileLine {
    const [first] = this.#begun;
    let bytes = this.#begun.length === 1 ? first! : Buffer.concat(this.#begun);
    if (bytes.at(-1) === carriageReturn) bytes = bytes.subarray(0, -1);
    this.#begun = [];
    this.#begunBytes = 0;
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      throw invalidArgument(`${this.place()} the line is not valid UTF-8`);
    }
    return { text, number: this.#number++ };
  }
}
