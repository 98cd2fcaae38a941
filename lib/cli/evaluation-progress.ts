/** How an evaluation goes on, on the standard error. */
import type { EvaluationProgress } from '../evaluation/runs/answering.js';
import { SteadyProgress } from './steady-progress.js';
import { duration } from './training-progress.js';

export class EvaluationProgressLine extends SteadyProgress {
  #setting = '';

  /** A study goes on with this setting. */
  begin(setting: string): void {
    this.#setting = `${setting}: `;
  }

  answered(now: EvaluationProgress): void {
    this.show(() => this.#text(now));
  }

  #text({ done, total, resumed, milliseconds }: EvaluationProgress): string {
    const fresh = done - resumed;
    const left = (milliseconds / fresh) * (total - done);
    const share = ((100 * done) / total).toFixed(1);
    return `${this.#setting}${done} of ${total} answers, ${share} %, ${duration(left)} left`;
  }
}
