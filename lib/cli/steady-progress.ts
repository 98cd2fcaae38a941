/**
 * How long work goes on, on the standard error: a line that is written over on a terminal, a line twice a minute
 * elsewhere, and lines that stay.
 */
import { Progress, type OutputStream } from './output.js';

/** Milliseconds between two lines where there is no terminal. */
const betweenLines = 30_000;

export class SteadyProgress {
  readonly #stream: OutputStream;
  readonly #progress: Progress;
  #lastLine = performance.now();

  constructor(stream: OutputStream) {
    this.#stream = stream;
    this.#progress = new Progress(stream);
  }

  /** Where the work is. `text` is called only if its result is written. */
  show(text: () => string): void {
    if (this.#stream.isTTY) this.#progress.show(text());
    else if (performance.now() - this.#lastLine >= betweenLines) this.line(text());
  }

  /** A line for terminals alone. */
  passing(text: string): void {
    this.#progress.show(text);
  }

  /** A line that stays. */
  line(text: string): void {
    this.#progress.clear();
    this.#stream.write(`${text}\n`);
    this.#lastLine = performance.now();
  }

  clear(): void {
    this.#progress.clear();
  }
}
