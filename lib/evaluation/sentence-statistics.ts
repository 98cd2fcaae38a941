/**
 * A measure of a whole corpus whose value for any selection of its sentences follows from the sum of their statistics.
 * BLEU and chrF are such measures: they are not means over sentences.
 */
export class SentenceStatistics {
  /** How many sentences there are. */
  readonly length: number;
  readonly #rows: Float64Array;
  readonly #width: number;
  readonly #scoreOf: (sum: Float64Array) => number;

  /** `rows`: the statistics of each sentence, all as many. `scoreOf`: the measure, given their sum; it keeps nothing. */
  constructor(rows: readonly (readonly number[])[], scoreOf: (sum: Float64Array) => number) {
    this.length = rows.length;
    this.#width = rows[0]?.length ?? 0;
    this.#rows = Float64Array.from(rows.flat());
    this.#scoreOf = scoreOf;
  }

  /** The measure of the corpus that has these sentences, each by its index, as often as it is named. */
  score(sentences: ArrayLike<number>): number {
    return this.#scoreOf(this.sum(sentences));
  }

  /** The sum of the statistics of these sentences; of all of them, if none are named. */
  sum(sentences?: ArrayLike<number>): Float64Array {
    const sum = new Float64Array(this.#width);
    const count = sentences?.length ?? this.length;
    for (let s = 0; s < count; s++) {
      const begin = (sentences ? sentences[s]! : s) * this.#width;
      for (let i = 0; i < sum.length; i++) sum[i]! += this.#rows[begin + i]!;
    }
    return sum;
  }
}
