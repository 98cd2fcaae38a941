/** A call of the text level on its way through the scheduler: its sequences, and how it ends. */
import type { Source } from '../token/sequences.js';
import type { PassView, SourcePlan, TargetPlan } from './passes.js';
import type { SourceEntry } from './source-cache.js';

/** The outcome of a target. @internal */
export interface TargetOutcome {
  /** Passes it took. */
  passes: number;
  /** Log-probabilities of the candidates, if the target has some. */
  logProbs: Float32Array[] | undefined;
}

/**
 * Milliseconds (performance.now) at which a sequence's source joined a pass, and was encoded.
 * @internal
 */
export interface Moments {
  joined: number;
  encoded: number;
}

/** One source, and the targets over it. @internal */
export interface Sequence<R> extends SourcePlan {
  /**
   * Rows of all passes over its targets, as far as that can be told before the source is encoded: for a choice among
   * devices. Default: none.
   */
  readonly targetRows?: number | undefined;
  /**
   * Asked when the source is encoded: once, or once more where that was in vain because its device was lost. What it throws,
   * the call is rejected with.
   */
  targets(source: Source): TargetPlan[];
  /** Asked once, when all targets are done. */
  result(outcomes: TargetOutcome[], moments: Moments): R;
}

/** A sequence of a call. @internal */
export class Job {
  /** Targets that are not done. */
  left = 0;
  readonly outcomes: TargetOutcome[] = [];
  readonly moments: Moments = { joined: 0, encoded: 0 };

  constructor(
    readonly call: ScheduledCall,
    readonly sequence: Sequence<unknown>,
    readonly index: number,
    readonly entry: SourceEntry,
  ) {}
}

/** @internal */
export class RunningTarget {
  passed = 0;

  constructor(
    readonly job: Job,
    readonly index: number,
    readonly plan: TargetPlan,
  ) {}

  get rows(): number {
    return this.plan.target.length;
  }
}

/** The view of a pass that the reader of a paced call gets. @internal */
export interface PacedView extends PassView {
  iteration: number;
  /** 1 where a position is masked again. */
  masked: Uint8Array;
}

/** @internal */
export class ScheduledCall {
  readonly promise: Promise<unknown[]>;
  readonly results: unknown[] = [];
  /** Sequences that have not begun, the next one last. */
  readonly pending: Job[] = [];
  /** Sequences that hold a source, encoded or to be. */
  readonly jobs = new Set<Job>();
  /** Sequences without a result. */
  open = 0;
  /** True if a sequence of the call has begun. */
  begun = false;
  /** True while the call stands in the queue. */
  queued = false;
  ended = false;
  /** Passes that went by while it was the first in line. */
  passedOver = 0;
  /** Where in the queue it stands: the earlier, the sooner. Changed only while it is not queued. */
  due = 0;
  /** When its first source joined a pass, and when its last one was encoded. */
  joined: number | undefined;
  encoded = 0;
  /** Clears the timer and the listener of the call when it ends. */
  forget: () => void = () => {};
  resolve!: (results: unknown[]) => void;
  reject!: (reason: unknown) => void;

  /**
   * `arrived` in milliseconds; `slack`: how many it may wait, as far as the queue's order goes. A `paced` call has
   * one target, and a pass of it is run only when its reader asks.
   */
  constructor(
    readonly arrived: number,
    readonly slack: number,
    readonly pace: Pace | undefined,
  ) {
    this.due = arrived + slack;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** The reader's side of a paced call: at most one pass ahead of what was read. @internal */
export class Pace {
  /** The target, while it rests. */
  resting: RunningTarget | undefined;
  #view: PacedView | undefined;
  #waiting: (() => void) | undefined;

  deliver(view: PacedView): void {
    this.#view = view;
    this.wake();
  }

  /** Lets the reader look again: there is a view, or the call has ended. */
  wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }

  take(): PacedView | undefined {
    const view = this.#view;
    this.#view = undefined;
    return view;
  }

  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}
