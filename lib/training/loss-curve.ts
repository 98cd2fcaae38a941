/** The losses of a training as a picture: training and validation over steps, an SVG that needs nothing else. */
import { lineChart } from '../line-chart.js';
import type { LogEntry } from './training-log.js';

/** Points of a line; more steps than that are averaged. */
const mostPoints = 400;

export interface Point {
  step: number;
  loss: number;
}

/** Steps `first` … `last`, of which `count` were seen. */
interface Sum {
  first: number;
  last: number;
  loss: number;
  count: number;
}

/** Gathers entries of a log; {@link svg} may be asked for at any time. */
export class LossCurve {
  /** Sums of `#span` steps each. */
  #sums: Sum[] = [];
  #span = 1;
  readonly #validations: Point[] = [];

  add(entry: LogEntry): void {
    if (entry.validation) {
      this.#validations.push({ step: entry.step, loss: entry.validation.loss });
      return;
    }
    const { step, loss } = entry;
    const last = this.#sums.at(-1);
    if (last && last.count < this.#span) {
      last.last = step;
      last.loss += loss;
      last.count++;
    } else {
      this.#sums.push({ first: step, last: step, loss, count: 1 });
    }
    if (this.#sums.length > 2 * mostPoints) this.#halve();
  }

  svg(): string {
    const training = this.#sums.map(
      ({ first, last, loss, count }) => [(first + last) / 2, loss / count] as const,
    );
    const validation = this.#validations.map(({ step, loss }) => [step, loss] as const);
    return lineChart({
      title: 'Loss of training and validation over steps',
      x: { label: 'step', from: 0 },
      y: { label: 'loss' },
      lines: [
        { name: 'training', points: training, markers: false },
        { name: 'validation', points: validation },
      ],
    });
  }

  #halve(): void {
    const halved: Sum[] = [];
    for (let i = 0; i < this.#sums.length; i += 2) {
      const [a, b] = [this.#sums[i]!, this.#sums[i + 1]];
      if (b) {
        const { first } = a;
        halved.push({ first, last: b.last, loss: a.loss + b.loss, count: a.count + b.count });
      } else halved.push(a);
    }
    this.#sums = halved;
    this.#span *= 2;
  }
}
