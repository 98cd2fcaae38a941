/** One native call: sources and targets that go through a pass together, and what became of each. */
import type {
  AdvanceResult,
  NativeEngine,
  NativeReading,
  NativeSource,
  NativeStopRule,
} from '../../native/binding.cjs';
import { ofThisRealm } from '../token/native.js';
import { Source, Target } from '../token/sequences.js';

/** A source that is to be encoded, with or without its final states. @internal */
export interface SourcePlan {
  readonly ids: Int32Array;
  readonly states: boolean;
  /** If given, the source is read for this and not kept. */
  readonly reading?: NativeReading | undefined;
}

/** The plan of a target, from beginning to end. @internal */
export interface TargetPlan {
  readonly target: Target;
  /** T. */
  readonly iterations: number;
  /** The seed of the generator, if tokens are drawn. */
  readonly seed?: bigint | undefined;
  readonly stop?: NativeStopRule;
  /** A log-probability: positions above it are not masked again. */
  readonly remaskBelow?: number | null;
  /** If given, the target is scored: one pass, and log-probabilities of these ids. */
  readonly candidates?: Int32Array[];
}

/** A target in one native call. @internal */
export interface TargetPass {
  readonly plan: TargetPlan;
  /** Passes done before, and the last one that this call may do. */
  readonly passed: number;
  readonly until: number;
  /** True: also return the predictions of the last pass as they were before some were masked again. */
  readonly watched: boolean;
}

/** Tokens and scores as a pass left them, before some were masked again. @internal */
export interface PassView {
  tokens: Int32Array;
  scores: Float32Array;
}

/**
 * The result of a native call (AdvanceResult), with its sources in the form that the package shows.
 * @internal
 */
export interface PassResult extends Omit<AdvanceResult, 'sources' | 'views'> {
  /** For each source, or the error if it did not fit into memory. */
  sources: (Pick<Source, 'bytes' | 'dispose'> | Error)[];
  views?: PassView[];
}

/** Runs passes: an engine, or a test's imitation of one. One call at a time. @internal */
export interface PassRunner {
  /**
   * Encodes sources and moves targets. With sources or candidates one pass; else passes until the first target is
   * done or at its `until`.
   */
  start(sources: SourcePlan[], targets: TargetPass[]): { promise: Promise<PassResult>; id: number };
  /** The running call ends well after the pass it is in. */
  interrupt(): void;
  /** The call rejects, between two layers. */
  cancel(id: number): void;
}

/** @internal */
export function nativeRunner(engine: NativeEngine): PassRunner {
  let plans = new Int32Array(64);
  return {
    start(sources, targets) {
      if (plans.length < 4 * targets.length) plans = new Int32Array(8 * targets.length);
      targets.forEach(({ plan, passed, until, watched }, index) => {
        plans.set([plan.iterations, passed, until, watched ? 1 : 0], 4 * index);
      });
      const each = <T>(value: (plan: TargetPlan) => T | null | undefined): (T | null)[] | null =>
        targets.some(({ plan }) => value(plan) != null)
          ? targets.map(({ plan }) => value(plan) ?? null)
          : null;
      const { promise, id } = engine.advance(
        sources.map(({ ids }) => ids),
        sources.map(({ states, reading }) => reading ?? states),
        targets.map(({ plan }) => Target.native(plan.target)),
        plans,
        each((plan) => plan.seed),
        each((plan) => plan.stop),
        each((plan) => plan.remaskBelow),
        each((plan) => plan.candidates),
      );
      const wrap = (source: NativeSource | Error) =>
        source instanceof Error ? source : Source.of(source);
      const wrapped = promise.then((result) => {
        const own = ofThisRealm(result);
        return { ...own, sources: own.sources.map(wrap) };
      });
      return { promise: wrapped, id };
    },
    interrupt: () => engine.interrupt(),
    cancel: (id) => engine.cancel(id),
  };
}
