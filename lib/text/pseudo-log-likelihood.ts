/**
 * Pseudo-log-likelihood of a text by itself, eq. (2)-(4): every inner position is masked once, the rest is given. Each
 * masked copy is a reading of its own; copies of all texts share passes.
 */
import { Reading } from './reading.js';
import { sum, type TextScore } from './scoring.js';
import { textOptions, type TextOptions, type TextReader } from './text.js';

/** A text is never cut here: its likelihood would be another text's. */
export type LikelihoodOptions = Omit<TextOptions, 'overflow'>;

/** @internal */
export const likelihoodOptions = textOptions.filter((name) => name !== 'overflow');

/** @internal */
export class PseudoLogLikelihoods {
  /** The readings of all texts, one behind the other. */
  readonly readings: Reading<number>[] = [];
  readonly #lengths: number[];

  constructor(texts: TextReader, list: string[], names: string[], options: LikelihoodOptions) {
    const encoded = list.map((text, index) => texts.answer(text, options, names[index]!));
    this.#lengths = encoded.map(({ length }) => length - 2);
    for (const ids of encoded) {
      for (let position = 1; position < ids.length - 1; position++) {
        this.readings.push(
          new Reading(ids, { kind: 'scoreAt', position }, ({ values }) => values[0]!),
        );
      }
    }
  }

  /** The results of the readings, text by text. */
  results(logProbs: number[]): TextScore[] {
    let next = 0;
    return this.#lengths.map((length) => {
      const tokenScores = Float32Array.from(logProbs.slice(next, (next += length)));
      const total = sum(tokenScores);
      return { mean: total / length, sum: total, tokenScores };
    });
  }
}
