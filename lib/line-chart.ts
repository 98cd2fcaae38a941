/**
 * A line chart as an SVG text that needs nothing else: linear or logarithmic axes, lines with or without markers, a legend.
 * Used by trainings, evaluations and benchmarks.
 */

const width = 720;
const height = 400;
const right = 20;
const bottom = 56;
const left = 66;

/** For lines that name no colour: easy to tell apart, also for those who see few colours. */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

export interface Line {
  name: string;
  /** x and y; above 0 on an axis by powers of two. */
  points: readonly (readonly [number, number])[];
  colour?: string;
  /** Default false: a dashed line is thin, without markers, and not in the legend. */
  dashed?: boolean;
  /** Default true: a dot at every point. */
  markers?: boolean;
  /** Default true: false draws the markers alone. */
  joined?: boolean;
}

export interface Axis {
  label: string;
  /** Default `'linear'`. */
  scale?: 'linear' | 'log2';
  /** Default: round numbers around the points, or powers of two. */
  ticks?: readonly { at: number; text: string; strong?: boolean }[];
  /** Linear axes: enclosed, even if no point is there. */
  from?: number;
}

export interface Chart {
  title: string;
  subtitle?: string;
  x: Axis;
  y: Axis;
  lines: readonly Line[];
}

export function lineChart({ title, subtitle, x, y, lines }: Chart): string {
  const drawn = lines.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const entries = lines.filter(({ dashed }) => !dashed);
  const top = subtitle === undefined ? 72 : 92;
  const across = new Scale(
    x,
    all.map(([value]) => value),
    left + 12,
    width - right - 12,
  );
  const up = new Scale(
    y,
    all.map(([, value]) => value),
    height - bottom,
    top,
  );
  const middle = (top + height - bottom) / 2;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#222">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    label(left, 26, title, 'font-size="16" font-weight="600"'),
    ...(subtitle === undefined ? [] : [label(left, 46, subtitle, 'fill="#666" font-size="12"')]),
    ...up.ticks.map(({ at, text, strong }) => horizontal(up.place(at), text, strong)),
    ...across.ticks.map(({ at, text }) => vertical(across.place(at), text)),
    label((left + width - right) / 2, height - 14, x.label, 'text-anchor="middle"'),
    label(18, middle, y.label, `text-anchor="middle" transform="rotate(-90 18 ${round(middle)})"`),
    ...drawn.flatMap((line) => drawnLine(line, colourOf(line, entries), across, up)),
    ...entries.flatMap((line, i) =>
      legend(line, colourOf(line, entries), i, entries.length, top - 24),
    ),
  ];
  return `${parts.join('\n')}\n</svg>\n`;
}

/** A dashed line has the colour of the line of the same name. */
function colourOf({ name, colour }: Line, entries: readonly Line[]): string {
  const index = entries.findIndex((entry) => entry.name === name);
  return colour ?? colours[Math.max(0, index) % colours.length]!;
}

class Scale {
  readonly ticks: readonly { at: number; text: string; strong?: boolean }[];
  readonly #low: number;
  readonly #high: number;
  readonly #value: (value: number) => number;

  constructor(
    { scale = 'linear', ticks: given, from }: Axis,
    values: readonly number[],
    readonly begin: number,
    readonly end: number,
  ) {
    this.#value = scale === 'log2' ? Math.log2 : (value) => value;
    const enclosed = [...values, ...(from === undefined ? [] : [from])];
    const found = scale === 'log2' ? powersOfTwo(values) : ticksAround(enclosed);
    this.ticks = given ?? found.map((at) => ({ at, text: shortNumber(at) }));
    const places = [...this.ticks.map(({ at }) => at), ...values].map(this.#value);
    this.#low = Math.min(...places);
    this.#high = Math.max(...places);
  }

  place(value: number): number {
    const share = (this.#value(value) - this.#low) / (this.#high - this.#low || 1);
    return this.begin + share * (this.end - this.begin);
  }
}

/** Values that are all the same have a tenth of themselves on either side. */
function ticksAround(values: readonly number[]): number[] {
  const [least, most] = [Math.min(...values, Infinity), Math.max(...values, -Infinity)];
  const around = least === most ? 0.1 * Math.abs(least) : 0;
  return ticks(least - around, most + around);
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

function powersOfTwo(values: readonly number[]): number[] {
  if (values.length === 0) return [1, 2];
  const low = Math.floor(Math.log2(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log2(Math.max(...values))));
  return Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));
}

function horizontal(y: number, text: string, strong = false): string {
  const stroke = strong ? 'stroke="#888" stroke-width="1.5"' : 'stroke="#ddd"';
  return (
    `<line x1="${left}" x2="${width - right}" y1="${round(y)}" y2="${round(y)}" ${stroke}/>` +
    label(left - 8, y + 4, text, 'text-anchor="end"')
  );
}

function vertical(x: number, text: string): string {
  const y = height - bottom;
  return (
    `<line x1="${round(x)}" x2="${round(x)}" y1="${y}" y2="${y + 5}" stroke="#888"/>` +
    label(x, y + 20, text, 'text-anchor="middle"')
  );
}

function drawnLine(
  { points, dashed = false, markers = true, joined = true }: Line,
  colour: string,
  across: Scale,
  up: Scale,
): string[] {
  const places = points.map(([x, y]) => [round(across.place(x)), round(up.place(y))] as const);
  const style = dashed ? 'stroke-dasharray="5 4" stroke-width="1.2"' : 'stroke-width="1.8"';
  const path = places.map((place) => place.join(',')).join(' ');
  return [
    ...(joined ? [`<polyline points="${path}" fill="none" stroke="${colour}" ${style}/>`] : []),
    ...(markers && !dashed
      ? places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`)
      : []),
  ];
}

function legend(line: Line, colour: string, index: number, count: number, y: number): string[] {
  const x = left + (index * (width - right - left)) / count;
  return [
    `<line x1="${round(x)}" x2="${round(x + 20)}" y1="${y - 4}" y2="${y - 4}" stroke="${colour}" stroke-width="3"/>`,
    label(x + 26, y, line.name),
  ];
}

function label(x: number, y: number, text: string, more = ''): string {
  return `<text x="${round(x)}" y="${round(y)}" ${more}>${escaped(text)}</text>`;
}

function round(value: number): string {
  return value.toFixed(1);
}

function shortNumber(value: number): string {
  return value >= 10000 ? `${+(value / 1000).toFixed(1)}k` : String(+value.toPrecision(4));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
