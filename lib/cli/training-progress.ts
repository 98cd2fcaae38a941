/** How a training goes on, on the standard error; a line stays for every validation. */
import type { DataEvent, TrainingStep } from '../training/train.js';
import type { Validation } from '../training/validate.js';
import { SteadyProgress } from './steady-progress.js';

/** Steps that the speed is a mean of. */
const smoothed = 50;

export class TrainingProgress extends SteadyProgress {
  readonly #recent: { rows: number; at: number }[] = [];
  #begun: { at: number; progress: number } | undefined;

  data(event: DataEvent): void {
    if (event.kind === 'reading') {
      this.passing(`reading ${event.name}: ${grouped(event.examples)} examples`);
      return;
    }
    const { examples, leftOut, steps } = event;
    const left = leftOut === 0 ? '' : `, ${grouped(leftOut)} left out because they are too long`;
    const end = steps === undefined ? '' : `; ${grouped(steps)} steps`;
    this.line(`${grouped(examples)} examples${left}${end}`);
  }

  step(step: TrainingStep): void {
    const now = performance.now();
    this.#begun ??= { at: now, progress: step.progress };
    this.#recent.push({ rows: step.rows, at: now });
    if (this.#recent.length > smoothed) this.#recent.shift();
    this.show(() => this.#text(step));
  }

  validation({ loss, answers }: Validation, step: number, isBest: boolean): void {
    const scores = Object.entries(answers ?? {}).map(
      ([T, { exact, bleu }]) =>
        `T=${T} ${(100 * exact).toFixed(1)} % exact, BLEU ${bleu.toFixed(1)}`,
    );
    const all = [`validation after step ${step}: loss ${loss.toFixed(4)}`, ...scores];
    this.line(`${all.join('; ')}${isBest ? '; the best so far' : ''}`);
  }

  #text({ step, loss, learningRate, progress, rowsPerSecond }: TrainingStep): string {
    return [
      `step ${grouped(step)}`,
      `loss ${loss.toFixed(4)}`,
      `rate ${learningRate.toExponential(2)}`,
      `${grouped(Math.round(this.#speed() ?? rowsPerSecond))} rows/s`,
      `${(100 * progress).toFixed(1)} %`,
      this.#timeLeft(progress),
    ].join('  ');
  }

  /** Rows per second with everything around the steps. */
  #speed(): number | undefined {
    const [first, ...rest] = this.#recent;
    if (!first || rest.length === 0) return undefined;
    return (1000 * rest.reduce((sum, { rows }) => sum + rows, 0)) / (rest.at(-1)!.at - first.at);
  }

  #timeLeft(progress: number): string {
    const done = progress - this.#begun!.progress;
    if (done <= 0) return '';
    const left = ((performance.now() - this.#begun!.at) * (1 - progress)) / done;
    return `${duration(left)} left`;
  }
}

/** `3 h 12 min`, `12 min 5 s`, `5 s`. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function grouped(number: number): string {
  return number.toLocaleString('en-US');
}
