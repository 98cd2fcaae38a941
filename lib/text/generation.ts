/** What `generate` and `refine` are asked for, and what they give. */
import type { NativeStopRule } from '../../native/binding.cjs';
import type { StopRule } from '../token/engine-options.js';
import { invalidArgument, shown } from '../errors.js';
import { checkOptions, integerOption, seedOption, stopOption } from '../options.js';
import type { Moments, Sequence, TargetOutcome } from '../scheduling/call.js';
import type { TargetPlan } from '../scheduling/passes.js';
import type { Source, Target } from '../token/sequences.js';
import { sum } from './scoring.js';
import { textOptions, type TextOptions } from './text.js';

/** `'predict'` (default), a number of tokens, or the best of several predicted lengths decoded side by side. */
export type LengthOption = 'predict' | number | { candidates: number };

export interface GenerateOptions extends TextOptions {
  /** T, the number of passes over the target. Default 10. */
  iterations?: number;
  length?: LengthOption;
  /** Draws tokens (temperature 2(1 - (t-1)/T), nucleus 0.9) instead of taking the best ones. */
  sampling?: { seed: number | bigint };
  /** When the text is good enough before its last pass. Default: all passes that could change something. */
  stop?: StopRule;
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
  /** Passes over the target; fewer than asked where further ones could change nothing, or `stop` ended them. */
  iterations: number;
  /** Whether the instruction was cut to what the model can read. */
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
  /** Whether this position is masked again after this pass. */
  masked: boolean;
}

export interface RefinementStep {
  /** 1 … T */
  iteration: number;
  text: string;
  tokens: RefinedToken[];
}

/** @internal {@link GenerateOptions} but those of its texts, checked. */
export interface GenerationPlan {
  iterations: number;
  length: LengthOption;
  seed: bigint | undefined;
  stop: NativeStopRule;
}

const generateOptions = [...textOptions, 'iterations', 'length', 'sampling', 'stop'];

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
  };
}

function readLength(length: unknown, longest: number): LengthOption {
  if (length === 'predict') return length;
  if (typeof length === 'number') return integerOption('length', length, 0, 1, longest);
  if (typeof length === 'object' && length !== null) {
    checkOptions('length', length, ['candidates']);
    const { candidates } = length as { candidates?: unknown };
    return { candidates: integerOption('length.candidates', candidates ?? NaN, NaN, 1, longest) };
  }
  throw invalidArgument(
    `length must be 'predict', a number of tokens or { candidates: number }, not ${shown(length)}`,
  );
}

/** @internal A text that was written: the best of its targets. */
export interface Written {
  target: Target;
  scores: Float32Array;
  /** Mean log-probability over the inner tokens. */
  score: number;
  iterations: number;
  moments: Moments;
}

/** @internal A text to be written over a source: one target, or one for each length candidate. */
export class Writing implements Sequence<Written> {
  #targets: Target[] = [];

  constructor(
    readonly ids: Int32Array,
    readonly plan: GenerationPlan,
  ) {}

  get states(): boolean {
    return predictsLength(this.plan);
  }

  targets(source: Source): TargetPlan[] {
    const { length, iterations, seed, stop } = this.plan;
    this.#targets = targetsOf(source, length);
    return this.#targets.map((target) => ({ target, iterations, seed, stop }));
  }

  result(outcomes: TargetOutcome[], moments: Moments): Written {
    const written = this.#targets.map((target, index) => {
      const { scores } = target;
      const score = sum(scores) / (scores.length - 2);
      return { target, scores, score, iterations: outcomes[index]!.passes, moments };
    });
    return written.reduce((a, b) => (b.score > a.score ? b : a));
  }
}

/** @internal Whether it needs a source's final states. */
export function predictsLength({ length }: GenerationPlan): boolean {
  return typeof length !== 'number';
}

/** The targets of one source: one, or one per length candidate, numbered apart for sampling. */
function targetsOf(source: Source, length: LengthOption): Target[] {
  if (typeof length === 'number') return [source.target(length + 2)];
  const count = length === 'predict' ? 1 : length.candidates;
  return source
    .predictLengths(count)
    .map((candidate, sequence) => source.target(candidate.length, { sequence }));
}
