/** Options and results of `generate` and `refine`. */
import type { NativeStopRule } from '../../native/binding.cjs';
import type { RemaskRule, StopRule } from '../token/engine-options.js';
import { invalidArgument, shown } from '../errors.js';
import { checkOptions, integerOption, remaskOption, seedOption, stopOption } from '../options.js';
import type { Moments, Sequence, TargetOutcome } from '../scheduling/call.js';
import type { TargetPlan } from '../scheduling/passes.js';
import type { Source, Target } from '../token/sequences.js';
import { sum } from './scoring.js';
import { textOptions, type TextOptions } from './text.js';

/** `'predict'` (default), a number of tokens, or the best of several predicted lengths decoded side by side. */
export type LengthOption = 'predict' | number | LengthCandidates;

/**
 * The `candidates` most probable lengths, written side by side over one source. The answer is the one with the highest
 * `score + weight · log P(length)`, the more probable length if two are equal.
 */
export interface LengthCandidates {
  /** 1 or more, up to the lengths the model has. 1 is `'predict'`. */
  candidates: number;
  /**
   * 0 or more, default 0.25: how much the length's own log-probability counts. The score alone (0, the rule of
   * CMLM) prefers a sure fragment to the whole answer, because the mean over few sure tokens is higher.
   */
  weight?: number;
}

/** One of the lengths that were tried. */
export interface LengthCandidate {
  /** Tokens. */
  length: number;
  /** Mean log-probability of the text of this length. */
  score: number;
  /** The log-probability that the length predictor gives this length, among all lengths. */
  lengthLogProb: number;
}

export interface GenerateOptions extends TextOptions {
  /** T, the number of passes over the target. Default 10. */
  iterations?: number;
  length?: LengthOption;
  /** Draws tokens (temperature 2(1 - (t-1)/T), nucleus 0.9) instead of taking the best ones. */
  sampling?: { seed: number | bigint };
  /** When the text is good enough before its last pass. Default: all passes that could change something. */
  stop?: StopRule;
  /** Which tokens are masked again after a pass. Default: all that Mask-Predict masks. */
  remask?: RemaskRule;
}

export interface Generation {
  text: string;
  /** Ids without `<s>` and `</s>`. */
  tokens: Int32Array;
  /** Log-probability of each token when it was last predicted. */
  tokenScores: Float32Array;
  /** Their mean. */
  score: number;
  /** Number of tokens. */
  length: number;
  /** With `length: { candidates }`: every length that was tried, the most probable one first. */
  candidates?: LengthCandidate[];
  /** Passes over the target; fewer than asked where further ones could change nothing, or `stop` or `remask` ended them. */
  iterations: number;
  /** True if the instruction was cut to the length that the model can read. */
  truncated: boolean;
  /**
   * Milliseconds; of a call with several prompts, those of the whole call. `queue`: until a first source joined a
   * pass; `encode`: until the last one was encoded; `decode`: the rest. Of a refinement without its reader's pauses.
   */
  timings: { tokenize: number; queue: number; encode: number; decode: number; total: number };
}

export interface RefinedToken {
  piece: string;
  id: number;
  score: number;
  /** True if this position is masked again after this pass. */
  masked: boolean;
}

export interface RefinementStep {
  /** 1 … T */
  iteration: number;
  text: string;
  tokens: RefinedToken[];
}

/** A {@link LengthOption} with its default. */
type PlannedLength = 'predict' | number | Required<LengthCandidates>;

/** @internal {@link GenerateOptions} but those of its texts, checked. */
export interface GenerationPlan {
  iterations: number;
  length: PlannedLength;
  seed: bigint | undefined;
  stop: NativeStopRule;
  remaskBelow: number | null;
}

const generateOptions = [...textOptions, 'iterations', 'length', 'sampling', 'stop', 'remask'];

/** @internal `longest`: tokens of the longest target. */
export function readGenerateOptions(
  call: string,
  options: GenerateOptions,
  longest: number,
): GenerationPlan {
  checkOptions(call, options, generateOptions);
  const { length = 'predict', sampling } = options;
  if (sampling !== undefined) checkOptions('sampling', sampling, ['seed']);
  return {
    iterations: integerOption('iterations', options.iterations, 10, 1, 100000),
    seed: sampling === undefined ? undefined : seedOption('sampling.seed', sampling.seed),
    length: readLength(length, longest),
    stop: stopOption(options.stop),
    remaskBelow: remaskOption(options.remask),
  };
}

function readLength(length: unknown, longest: number): PlannedLength {
  if (length === 'predict') return length;
  if (typeof length === 'number') return integerOption('length', length, 0, 1, longest);
  if (typeof length === 'object' && length !== null) {
    checkOptions('length', length, ['candidates', 'weight']);
    const { candidates, weight } = length as { candidates?: unknown; weight?: unknown };
    return {
      candidates: integerOption('length.candidates', candidates ?? NaN, NaN, 1, longest),
      weight: readWeight(weight),
    };
  }
  throw invalidArgument(
    `length must be 'predict', a number of tokens or { candidates: number }, not ${shown(length)}`,
  );
}

/**
 * On the embedded model any weight from 0.05 to 5 answers as many instructions right as the predicted length does, or a
 * few more (most with 0.1), and 0 far fewer (`npm run bench -- options`). On a translation model that was trained for 2.3
 * epochs weights from 0.1 to 0.5 are within 0.2 BLEU of each other and the best (docs/evaluation.md).
 */
const defaultWeight = 0.25;

function readWeight(weight: unknown): number {
  if (weight === undefined) return defaultWeight;
  if (typeof weight === 'number' && weight >= 0 && weight <= Number.MAX_VALUE) return weight;
  throw invalidArgument(`length.weight must be a number from 0 up, not ${shown(weight)}`);
}

/** @internal A text that was written: the best of its targets. */
export interface Written {
  target: Target;
  scores: Float32Array;
  /** Mean log-probability over the inner tokens. */
  score: number;
  iterations: number;
  /** All length candidates, if there were several. */
  candidates: LengthCandidate[] | undefined;
  moments: Moments;
}

/** @internal A text to be written over a source: one target, or one for each length candidate. */
export class Writing implements Sequence<Written> {
  /** With the log-probability of each one's length, where lengths were predicted. */
  #targets: { target: Target; lengthLogProb: number }[] = [];

  constructor(
    readonly ids: Int32Array,
    readonly plan: GenerationPlan,
  ) {}

  get states(): boolean {
    return predictsLength(this.plan);
  }

  /** A length that is to be predicted is taken to be that of the source. */
  get targetRows(): number {
    const { length, iterations } = this.plan;
    const rows = typeof length === 'number' ? length + 2 : this.ids.length;
    return rows * iterations * (typeof length === 'object' ? length.candidates : 1);
  }

  targets(source: Source): TargetPlan[] {
    const { length, iterations, seed, stop, remaskBelow } = this.plan;
    this.#targets = targetsOf(source, length);
    return this.#targets.map(({ target }) => ({ target, iterations, seed, stop, remaskBelow }));
  }

  result(outcomes: TargetOutcome[], moments: Moments): Written {
    const { length } = this.plan;
    const weight = typeof length === 'object' ? length.weight : 0;
    const written = this.#targets.map(({ target, lengthLogProb }, index) => {
      const { scores } = target;
      const score = sum(scores) / (scores.length - 2);
      const worth = weight === 0 ? score : score + weight * lengthLogProb;
      return { target, scores, score, lengthLogProb, worth, iterations: outcomes[index]!.passes };
    });
    const { target, scores, score, iterations } = written.reduce((a, b) =>
      b.worth > a.worth ? b : a,
    );
    const candidates =
      typeof length === 'object'
        ? written.map(({ target, score, lengthLogProb }) => ({
            length: target.length - 2,
            score,
            lengthLogProb,
          }))
        : undefined;
    return { target, scores, score, iterations, candidates, moments };
  }
}

/** @internal Whether it needs a source's final states. */
export function predictsLength({ length }: GenerationPlan): boolean {
  return typeof length !== 'number';
}

/** The targets of one source: one, or one per length candidate, numbered apart for sampling. */
function targetsOf(
  source: Source,
  length: PlannedLength,
): { target: Target; lengthLogProb: number }[] {
  if (typeof length === 'number') return [{ target: source.target(length + 2), lengthLogProb: 0 }];
  const count = length === 'predict' ? 1 : length.candidates;
  return source.predictLengths(count).map(({ length: ids, logProb }, sequence) => ({
    target: source.target(ids, { sequence }),
    lengthLogProb: logProb,
  }));
}
