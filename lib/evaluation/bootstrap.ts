/** Paired bootstrap resampling (Koehn, 2004): how sure a score is, and a difference between systems. */
import { invalidArgument, shown } from '../errors.js';
import { checkOptions, integerOption, seedOption } from '../options.js';
import { numberOption } from './choices.js';
import { resamples } from './resamples.js';
import { SentenceStatistics } from './sentence-statistics.js';

/**
 * A system's result on each sentence of a test set: numbers whose mean is its score (accuracy, ROUGE), or the result of
 * `bleuStatistics()` or `chrfStatistics()`.
 */
export type SystemScores = readonly number[] | Float64Array | SentenceStatistics;

export interface BootstrapOptions {
  /** How many test sets are drawn, 1 … 1 000 000. Default 1000. */
  samples?: number;
  /** The same seed draws the same test sets. Default 0. */
  seed?: number | bigint;
  /** The part of the drawn scores that an interval holds, 0 … 1. Default 0.95. */
  confidence?: number;
}

export interface Interval {
  low: number;
  high: number;
}

export interface BootstrapResult {
  /** On the test set itself. */
  score: number;
  /** Over the drawn test sets. */
  mean: number;
  interval: Interval;
  /** Beside the first system, on the same drawn test sets; null for that system itself. */
  difference: {
    /** `score` less that of the first system. */
    score: number;
    interval: Interval;
    /**
     * How likely a difference this large in either direction comes by chance, as sacreBLEU computes it: (1 + the drawn
     * test sets whose absolute difference exceeds the mean one by more than |score|) / (1 + samples).
     */
    pValue: number;
  } | null;
}

/**
 * Draws test sets of the same size from the sentences, with replacement, the same for every system, and compares the
 * scores on them. The first system is the one the others are compared with.
 *
 * Throws `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function bootstrap(
  systems: readonly SystemScores[],
  options: BootstrapOptions = {},
): BootstrapResult[] {
  checkOptions('bootstrap()', options, ['samples', 'seed', 'confidence']);
  const samples = integerOption('samples', options.samples, 1000, 1, 1_000_000);
  const seed = seedOption('seed', options.seed ?? 0);
  const confidence = numberOption('confidence', options.confidence, 0.95, 0, 1);
  const statistics = readSystems(systems);
  const { length } = statistics[0]!;
  const drawn = statistics.map(() => new Float64Array(samples));
  let sample = 0;
  for (const sentences of resamples(length, samples, seed)) {
    statistics.forEach((system, i) => (drawn[i]![sample] = system.score(sentences)));
    sample++;
  }
  const whole = Int32Array.from({ length }, (_, i) => i);
  const scores = statistics.map((system) => system.score(whole));
  return statistics.map((_, i) => ({
    score: scores[i]!,
    mean: meanOf(drawn[i]!),
    interval: intervalOf(drawn[i]!, confidence),
    difference:
      i === 0 ? null : differenceOf(scores[i]! - scores[0]!, drawn[i]!, drawn[0]!, confidence),
  }));
}

function differenceOf(
  score: number,
  drawn: Float64Array,
  first: Float64Array,
  confidence: number,
): NonNullable<BootstrapResult['difference']> {
  const differences = drawn.map((value, i) => value - first[i]!);
  const sizes = differences.map(Math.abs);
  const mean = meanOf(sizes);
  const larger = sizes.filter((size) => size - mean > Math.abs(score)).length;
  const pValue = (larger + 1) / (sizes.length + 1);
  return { score, interval: intervalOf(differences, confidence), pValue };
}

/** The values at both ends once as many were cut off on each side as `confidence` leaves. */
function intervalOf(values: Float64Array, confidence: number): Interval {
  const sorted = values.toSorted();
  // So that 1000 · (1 - 0.9) / 2, which is a little less than 50 in floating point, cuts off 50.
  const cut = Math.floor((sorted.length * (1 - confidence)) / 2 + 1e-9);
  const low = Math.min(cut, Math.floor((sorted.length - 1) / 2));
  return { low: sorted[low]!, high: sorted[sorted.length - 1 - low]! };
}

function meanOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function readSystems(systems: unknown): SentenceStatistics[] {
  if (!Array.isArray(systems) || systems.length === 0) {
    throw invalidArgument('systems must be an array with the scores of at least one system');
  }
  const read = systems.map((system, i) => readSystem(`systems[${i}]`, system));
  const { length } = read[0]!;
  if (length === 0) throw invalidArgument('systems[0] must have at least one sentence');
  read.forEach((system, i) => {
    if (system.length === length) return;
    throw invalidArgument(
      `systems[${i}] has ${system.length} sentences and systems[0] ${length}: they must be the same sentences`,
    );
  });
  return read;
}

function readSystem(name: string, system: unknown): SentenceStatistics {
  if (system instanceof SentenceStatistics) return system;
  if (!Array.isArray(system) && !(system instanceof Float64Array)) {
    throw invalidArgument(
      `${name} must be an array of numbers or what bleuStatistics() or chrfStatistics() returned, not ${shown(system)}`,
    );
  }
  const values = system as readonly unknown[];
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw invalidArgument(`${name}[${i}] must be a finite number, not ${shown(values[i])}`);
    }
  }
  const rows = Array.from(values as readonly number[], (value) => [value, 1]);
  return new SentenceStatistics(rows, ([sum, count]) => sum! / count!);
}
