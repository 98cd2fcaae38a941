/**
 * `score` (pseudo-log-likelihood, eq. (2)-(4)), `choose` (section 5.1) and `predictLength` over a source: they score
 * given texts and write none.
 */
import { invalidArgument, shown } from '../errors.js';
import type { Sequence, TargetOutcome } from '../scheduling/call.js';
import type { TargetPlan } from '../scheduling/passes.js';
import type { Source } from '../token/sequences.js';
import type { TextOptions, TextReader } from './text.js';

/** The label that answers a prompt, and the log-probability of each. @internal */
export interface ChosenLabel {
  label: string;
  index: number;
  logProbs: number[];
}

/**
 * Labels of one length, each token given none of the others: one all-masked target. A label is scored by the sum of its
 * tokens' log-probabilities.
 * @internal
 */
export class Choice implements Sequence<ChosenLabel> {
  readonly states = false;
  readonly ids: Int32Array;
  readonly #labels: string[];
  readonly #answers: Int32Array[];

  constructor(texts: TextReader, prompt: string, labels: readonly string[], options: TextOptions) {
    if (!Array.isArray(labels) || labels.length === 0) {
      throw invalidArgument('choose() needs an array with at least one label');
    }
    this.ids = texts.prompt(prompt, options).ids;
    // Array.from, not map: a hole is no label either.
    this.#labels = Array.from(labels as string[]);
    this.#answers = this.#labels.map((label, index) =>
      texts.answer(label, options, `label ${index}`),
    );
    checkLengths(this.#labels, this.#answers);
  }

  get targetRows(): number {
    return this.#answers[0]!.length;
  }

  targets(source: Source): TargetPlan[] {
    const target = source.target(this.#answers[0]!.length);
    return [{ target, iterations: 1, candidates: this.#answers }];
  }

  result([outcome]: TargetOutcome[]): ChosenLabel {
    const logProbs = outcome!.logProbs!.map(sum);
    const index = logProbs.reduce((best, value, i) => (value > logProbs[best]! ? i : best), 0);
    if (logProbs[index] === -Infinity) {
      throw invalidArgument(
        'no label can be written with the allowed ids of this vocabulary; allow the ids of a label',
      );
    }
    return { label: this.#labels[index]!, index, logProbs };
  }
}

/** Throws unless all labels have as many tokens. @internal */
export function checkLengths(labels: readonly string[], answers: readonly Int32Array[]): void {
  const lengths = answers.map((answer) => answer.length - 2);
  if (lengths.every((length) => length === lengths[0])) return;
  const list = labels.map((label, index) => `${shown(label)} has ${lengths[index]}`).join(', ');
  throw invalidArgument(
    `labels must have the same number of tokens, or their length alone decides: ${list}`,
  );
}

/** How probable a given answer is. */
export interface TextScore {
  mean: number;
  sum: number;
  tokenScores: Float32Array;
}

/**
 * The log-probability of each token of an answer, given all the others: a target for each.
 * @internal
 */
export class Scoring implements Sequence<TextScore> {
  readonly states = false;
  readonly ids: Int32Array;
  readonly #answer: Int32Array;
  readonly #maskTokenId: number;

  constructor(
    texts: TextReader,
    prompt: string,
    text: string,
    maskTokenId: number,
    options: TextOptions,
  ) {
    this.ids = texts.prompt(prompt, options).ids;
    this.#answer = texts.answer(text, options, 'the text to score');
    this.#maskTokenId = maskTokenId;
  }

  get targetRows(): number {
    return (this.#answer.length - 2) * this.#answer.length;
  }

  targets(source: Source): TargetPlan[] {
    return Array.from({ length: this.#answer.length - 2 }, (_, index) => {
      const masked = this.#answer.slice();
      masked[index + 1] = this.#maskTokenId;
      return { target: source.target(masked), iterations: 1, candidates: [this.#answer] };
    });
  }

  result(outcomes: TargetOutcome[]): TextScore {
    const tokenScores = Float32Array.from(
      outcomes,
      ({ logProbs }, index) => logProbs![0]![index + 1]!,
    );
    const total = sum(tokenScores);
    return { mean: total / tokenScores.length, sum: total, tokenScores };
  }
}

/** The most probable lengths, best first: the source alone. @internal */
export class LengthPrediction implements Sequence<{ length: number; logProb: number }[]> {
  readonly states = true;
  readonly ids: Int32Array;
  readonly #count: number;
  #lengths: { length: number; logProb: number }[] = [];

  constructor(texts: TextReader, prompt: string, count: number, options: TextOptions) {
    this.ids = texts.prompt(prompt, options).ids;
    this.#count = count;
  }

  targets(source: Source): [] {
    this.#lengths = source.predictLengths(this.#count);
    return [];
  }

  /** In tokens, `<s>` and `</s>` not counted. */
  result(): { length: number; logProb: number }[] {
    return this.#lengths.map(({ length, logProb }) => ({ length: length - 2, logProb }));
  }
}

/** The log-probability of a text from those of its tokens. @internal */
export function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
