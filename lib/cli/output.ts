/**
 * Where results and messages go: writes that wait for a slow reader, and a reader that has gone
 * (`mask-predict generate | head -1`) as a {@link OutputClosed} instead of a crash.
 */
import type { Readable, Writable } from 'node:stream';

export type OutputStream = Writable & { isTTY?: boolean };
export type InputStream = Readable & { isTTY?: boolean };

/** The streams that a command reads and writes. */
export interface Surroundings {
  stdin: InputStream;
  stdout: OutputStream;
  stderr: OutputStream;
  environment: NodeJS.ProcessEnv;
  /** Stops the command. */
  signal: AbortSignal;
}

/** Nobody reads the output any more. */
export class OutputClosed extends Error {}

export class Output {
  readonly #stream: OutputStream;

  constructor(stream: OutputStream) {
    this.#stream = stream;
    // Every write has a callback that gets the error too; without a listener it would end the process.
    stream.on('error', () => {});
  }

  /** Resolves once the text is handed over, so that no more than one write is kept in memory. */
  write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(text, (error) => {
        if (!error) resolve();
        else reject(isClosed(error) ? new OutputClosed('the output is closed') : error);
      });
    });
  }
}

/** A line on a terminal that is written over again and again; nothing anywhere else. */
export class Progress {
  readonly #stream: OutputStream;
  readonly #begun = performance.now();
  #last = 0;
  #shown = false;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** Shows `text` if the work takes longer than a second, five times a second at most. */
  show(text: string): void {
    const now = performance.now();
    if (!this.#stream.isTTY || now - this.#begun < 1000 || now - this.#last < 200) return;
    this.#stream.write(`\r\x1b[K${text}`);
    this.#last = now;
    this.#shown = true;
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[K');
    this.#shown = false;
  }
}

function isClosed(error: Error & { code?: string }): boolean {
  return error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED';
}
