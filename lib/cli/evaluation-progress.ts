/**
 * How an evaluation goes on, on the standard error: a line that is written over on a terminal, a line twice a minute
 * elsewhere.
 */
import type { EvaluationProgress } from '../evaluation/runs/answering.js';
import { Progress, type OutputStream } from './output.js';
import { duration } from './training-progress.js';

/** Milliseconds between two lines where there is no terminal. */
const betweenLines = 30_000;

export class EvaluationProgressLine {
  readonly #stream: OutputStream;
  readonly #progress: Progress;
  #lastLine = performance.now();
  #setting = '';

  constructor(stream: OutputStream) {
    this.#stream = stream;
    this.#progress = new Progress(stream);
  }

  /** The setting of a study that what follows is of. */
  begin(setting: string): void {
    this.#setting = `${setting}: `;
  }

  show(now: EvaluationProgress): void {
    const at = performance.now();
    if (this.#stream.isTTY) this.#progress.show(this.#text(now));
    else if (at - this.#lastLine >= betweenLines) this.line(this.#text(now));
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

  #text({ done, total, resumed, milliseconds }: EvaluationProgress): string {
    const fresh = done - resumed;
    const left = (milliseconds / fresh) * (total - done);
    const share = ((100 * done) / total).toFixed(1);
    return `${this.#setting}${done} of ${total} answers, ${share} %, ${duration(left)} left`;
  }
}
