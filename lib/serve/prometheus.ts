/** Metrics in Prometheus' text format, version 0.0.4. */

export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  labels?: Labels;
  value: number;
}

/** One metric with its samples. */
export function metric(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  samples: Iterable<Sample>,
): string {
  let text = head(type, name, help);
  for (const { labels, value } of samples) text += line(name, labels, value);
  return text;
}

/** Counts of values by upper bound, as a histogram is kept. */
export interface Distribution {
  labels?: Labels;
  /** Upper bounds, ascending. */
  bounds: readonly number[];
  /** Values up to each bound and above the one before; then those above all: one more than bounds. */
  counts: readonly number[];
  sum: number;
}

export function histogram(
  name: string,
  help: string,
  distributions: Iterable<Distribution>,
): string {
  let text = head('histogram', name, help);
  for (const { labels, bounds, counts, sum } of distributions) {
    let total = 0;
    for (const [index, count] of counts.entries()) {
      total += count;
      text += line(`${name}_bucket`, { ...labels, le: number(bounds[index] ?? Infinity) }, total);
    }
    text += line(`${name}_sum`, labels, sum) + line(`${name}_count`, labels, total);
  }
  return text;
}

function head(type: string, name: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function line(name: string, labels: Labels | undefined, value: number): string {
  const pairs = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${number(value)}\n`;
}

function number(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function escaped(text: string | number): string {
  return String(text).replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
