/** The losses of a training as a picture: training and validation over steps, an SVG that needs nothing else. */
import type { LogEntry } from './training-log.js';

const width = 720;
const height = 360;
const margin = { top: 24, right: 16, bottom: 40, left: 56 };
/** Points of a line; more steps than that are averaged. */
const mostPoints = 400;
const colours = { training: '#1f77b4', validation: '#d62728' };

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
    const training = this.#sums.map(({ first, last, loss, count }) => ({
      step: (first + last) / 2,
      loss: loss / count,
    }));
    return draw(training, this.#validations);
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

function draw(training: Point[], validations: Point[]): string {
  const all = [...training, ...validations];
  const steps = Math.max(1, ...all.map(({ step }) => step));
  const ticksOfLoss = ticks(
    Math.min(...all.map(({ loss }) => loss), Infinity),
    Math.max(...all.map(({ loss }) => loss), -Infinity),
  );
  const least = ticksOfLoss[0]!;
  const most = ticksOfLoss.at(-1)!;
  const x = (step: number) => margin.left + (step / steps) * (width - margin.left - margin.right);
  const y = (loss: number) =>
    height -
    margin.bottom -
    ((loss - least) / (most - least)) * (height - margin.top - margin.bottom);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>Loss of training and validation over steps</title>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...ticksOfLoss.map((loss) => horizontal(y(loss), shortNumber(loss))),
    ...ticks(0, steps)
      .filter((step) => step <= steps)
      .map((step) => label(x(step), height - margin.bottom + 18, 'middle', shortNumber(step))),
    label(width / 2, height - 6, 'middle', 'step'),
    line(training, x, y, colours.training),
    line(validations, x, y, colours.validation),
    ...validations.map(
      ({ step, loss }) =>
        `<circle cx="${at(x(step))}" cy="${at(y(loss))}" r="3" fill="${colours.validation}"/>`,
    ),
    label(margin.left, 16, 'start', 'loss: training', colours.training),
    ...(validations.length > 0
      ? [label(margin.left + 96, 16, 'start', 'validation', colours.validation)]
      : []),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function horizontal(y: number, text: string): string {
  return (
    `<line x1="${margin.left}" x2="${width - margin.right}" y1="${at(y)}" y2="${at(y)}" stroke="#ddd"/>` +
    label(margin.left - 8, y + 4, 'end', text)
  );
}

function label(x: number, y: number, anchor: string, text: string, colour = '#444'): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${colour}">${text}</text>`;
}

function line(
  points: Point[],
  x: (step: number) => number,
  y: (loss: number) => number,
  colour: string,
): string {
  const list = points.map(({ step, loss }) => `${at(x(step))},${at(y(loss))}`).join(' ');
  return `<polyline points="${list}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
}

/** Three to seven round numbers that enclose `least` … `most`, rising. */
export function ticks(least: number, most: number): number[] {
  if (!(least < most)) return Number.isFinite(least) ? [least - 1, least, least + 1] : [0, 1];
  const rough = (most - least) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const first = Math.floor(least / step);
  const last = Math.ceil(most / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function at(value: number): string {
  return value.toFixed(1);
}

function shortNumber(value: number): string {
  return value >= 10000 ? `${+(value / 1000).toFixed(1)}k` : String(+value.toPrecision(4));
}
