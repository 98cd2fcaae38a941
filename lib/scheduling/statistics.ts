/** Counts the calls of a model, and measures how long they take. */
import { createHistogram } from 'node:perf_hooks';

export interface LatencyStatistics {
  /** Calls completed. */
  count: number;
  /** Milliseconds from call to answer, of all of them together, and of the slowest of a share of them. */
  sum: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
  /** How many took at most so many milliseconds; each counts those before it too, the last one all. */
  buckets: { upTo: number; count: number }[];
}

/** The part of {@link ModelStatistics} that one of several devices has of its own. */
export interface DeviceStatistics extends Pick<
  ModelStatistics,
  'waiting' | 'running' | 'rows' | 'passes' | 'passesPerSecond' | 'tokens' | 'cacheBytes'
> {
  /** As `engine.device` says it. */
  device: string;
  /** False when the context of this GPU is lost: it takes no more calls. */
  working: boolean;
}

/** A call whose prompts are on several devices counts as waiting or running on each of them. */
export interface ModelStatistics {
  /** Calls that wait for their first pass. */
  waiting: number;
  /** Calls at work, refinements whose reader pauses among them. */
  running: number;
  /** Ids of all targets that are being written. */
  rows: number;
  /** Passes since loading, and per second in the last ten seconds. */
  passes: number;
  passesPerSecond: number;
  /**
   * Tokens of targets that were written to their end since loading, those of every length candidate, without `<s>` and
   * `</s>`. Texts that are scored (`choose`, `score`) are not written.
   */
  tokens: number;
  /** Latency of the calls that completed since loading. */
  latency: LatencyStatistics;
  /**
   * The same, by part: `queue` until a first source joined a pass, `encode` until the last one was encoded, `decode` the
   * rest, with the pauses of a refinement's reader.
   */
  phases: Record<Phase, LatencyStatistics>;
  /** Bytes of encoded sources, in use or kept for later. */
  cacheBytes: number;
  /** Sources that were there already, that were not, and that had to go; bytes kept that nobody uses now. */
  sources: { hits: number; misses: number; evictions: number; kept: number };
  /** Calls by how they ended. */
  completed: number;
  aborted: number;
  overloaded: number;
  failed: number;
  /** What each device does, in the order of the option `devices`; only a model that was loaded with it has this. */
  devices?: DeviceStatistics[];
}

export type Phase = 'queue' | 'encode' | 'decode';

/** @internal */
export type Ending = 'completed' | 'aborted' | 'overloaded' | 'failed';

/** Upper ends of the buckets in milliseconds: from one pass of a small model to a long answer of a large one. */
const bounds = [
  1,
  2,
  5,
  10,
  20,
  50,
  100,
  200,
  500,
  1000,
  2000,
  5000,
  10_000,
  30_000,
  60_000,
  Infinity,
];

/** Seconds that a rate is the mean of. */
const window = 10;

/** When a call came, joined its first pass, and had its last source encoded. */
interface CallMoments {
  arrived: number;
  joined: number | undefined;
  encoded: number;
}

/** @internal */
export class Statistics {
  readonly endings: Record<Ending, number> = { completed: 0, aborted: 0, overloaded: 0, failed: 0 };
  passes = 0;
  tokens = 0;
  readonly #latencies = new Latencies();
  readonly #phases = { queue: new Latencies(), encode: new Latencies(), decode: new Latencies() };
  /** Passes by second, and the second that the entry at its place is of. */
  readonly #counts = new Float64Array(window + 1);
  readonly #seconds = new Float64Array(window + 1).fill(-1);

  readonly #begun: number;

  /** `now` in milliseconds. */
  constructor(now: number) {
    this.#begun = now;
  }

  /** A call has its answer at `now` in milliseconds. */
  completed(call: CallMoments, now: number): void {
    const { arrived, encoded } = call;
    const joined = call.joined ?? now;
    this.endings.completed++;
    this.#latencies.add(now - arrived);
    this.#phases.queue.add(joined - arrived);
    this.#phases.encode.add(encoded - joined);
    this.#phases.decode.add(now - encoded);
  }

  /** Passes that were run up to `now` in milliseconds. */
  ran(passes: number, now: number): void {
    this.passes += passes;
    const second = Math.floor(now / 1000);
    const place = second % this.#counts.length;
    if (this.#seconds[place] !== second) this.#counts[place] = 0;
    this.#seconds[place] = second;
    this.#counts[place]! += passes;
  }

  /** Passes per second over the last ten full seconds, or as many as there were. */
  passesPerSecond(now: number): number {
    const second = Math.floor(now / 1000);
    let sum = 0;
    this.#counts.forEach((count, place) => {
      const age = second - this.#seconds[place]!;
      if (age >= 1 && age <= window) sum += count;
    });
    return sum / Math.min(window, Math.max(1, second - Math.floor(this.#begun / 1000)));
  }

  latency(): LatencyStatistics {
    return this.#latencies.statistics();
  }

  phases(): Record<Phase, LatencyStatistics> {
    const { queue, encode, decode } = this.#phases;
    return {
      queue: queue.statistics(),
      encode: encode.statistics(),
      decode: decode.statistics(),
    };
  }
}

/** How long something took, many times. */
class Latencies {
  readonly #histogram = createHistogram();
  readonly #buckets = bounds.map(() => 0);
  #count = 0;
  #sum = 0;

  add(milliseconds: number): void {
    this.#count++;
    this.#sum += milliseconds;
    this.#histogram.record(Math.max(1, Math.round(milliseconds * 1e6)));
    this.#buckets[bounds.findIndex((bound) => milliseconds <= bound)]!++;
  }

  statistics(): LatencyStatistics {
    const at = (share: number) => (this.#count ? this.#histogram.percentile(share) / 1e6 : 0);
    let count = 0;
    return {
      count: this.#count,
      sum: this.#sum,
      p50: at(50),
      p95: at(95),
      p99: at(99),
      max: this.#count ? this.#histogram.max / 1e6 : 0,
      buckets: bounds.map((upTo, index) => ({ upTo, count: (count += this.#buckets[index]!) })),
    };
  }
}
