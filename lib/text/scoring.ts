/** What `choose`, `score` and `predictLength` do over a source: texts are weighed, none is written. */
import type { Sequence, TargetOutcome } from '../scheduling/call.js';
import type { TargetPlan } from '../scheduling/passes.js';
import type { Source } from '../token/sequences.js';

/** Log-probabilities of answers of one length, each token given none of the others: one all-masked target. */
export class Choice implements Sequence<Float32Array[]> {
  readonly states = false;

  constructor(
    readonly ids: Int32Array,
    readonly answers: Int32Array[],
  ) {}

  targets(source: Source): TargetPlan[] {
    const target = source.target(this.answers[0]!.length);
    return [{ target, iterations: 1, candidates: this.answers }];
  }

  result([outcome]: TargetOutcome[]): Float32Array[] {
    return outcome!.logProbs!;
  }
}

/** The log-probability of each token of an answer, given all the others: a target for each. */
export class Scoring implements Sequence<Float32Array> {
  readonly states = false;

  constructor(
    readonly ids: Int32Array,
    readonly answer: Int32Array,
    readonly maskTokenId: number,
  ) {}

  targets(source: Source): TargetPlan[] {
    return Array.from({ length: this.answer.length - 2 }, (_, index) => {
      const masked = this.answer.slice();
      masked[index + 1] = this.maskTokenId;
      return { target: source.target(masked), iterations: 1, candidates: [this.answer] };
    });
  }

  result(outcomes: TargetOutcome[]): Float32Array {
    return Float32Array.from(outcomes, ({ logProbs }, index) => logProbs![0]![index + 1]!);
  }
}

/** The most probable lengths, in ids: the source alone. */
export class LengthPrediction implements Sequence<{ length: number; logProb: number }[]> {
  readonly states = true;
  #lengths: { length: number; logProb: number }[] = [];

  constructor(
    readonly ids: Int32Array,
    readonly count: number,
  ) {}

  targets(source: Source): [] {
    this.#lengths = source.predictLengths(this.count);
    return [];
  }

  result(): { length: number; logProb: number }[] {
    return this.#lengths;
  }
}
