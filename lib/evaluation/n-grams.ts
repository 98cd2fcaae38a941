/**
 * The n-grams of several sequences of symbols as numbers: equal n-grams have equal numbers.
 *
 * An n-gram is the pair of its first n - 1 symbols, which have a number already, and its last one. So a map from pairs to
 * numbers serves every order and every kind of symbol, and to count is to add to an array.
 */

/** The n-grams of one order. */
export interface Level {
  /** How many different ones there are; they have the numbers 0 … size - 1. */
  readonly size: number;
  /** For each sequence the n-gram that begins at each position: n - 1 less than it has symbols, or none. */
  readonly sequences: readonly Int32Array[];
}

/** The n-grams of the orders 1 … `order` of all `sequences`, lowest order first. */
export function numberNGrams(
  sequences: readonly (readonly string[])[],
  order: number,
): readonly Level[] {
  const symbols = numberSymbols(sequences);
  const levels = [symbols];
  for (let n = 2; n <= order; n++) levels.push(lengthen(levels[n - 2]!, symbols, n));
  return levels;
}

/** How often each n-gram of a level occurs in one of its sequences: `[level.size]`. */
export function countNGrams(level: Level, sequence: number): Int32Array {
  const counts = new Int32Array(level.size);
  for (const ngram of level.sequences[sequence]!) counts[ngram]!++;
  return counts;
}

/** How many n-grams two sequences have in common, given their counts: the sum of the smaller ones. */
export function commonNGrams(first: Int32Array, second: Int32Array): number {
  let common = 0;
  for (let i = 0; i < first.length; i++) common += Math.min(first[i]!, second[i]!);
  return common;
}

function numberSymbols(sequences: readonly (readonly string[])[]): Level {
  const numbers = new Map<string, number>();
  const numbered = sequences.map((sequence) => {
    const result = new Int32Array(sequence.length);
    for (let i = 0; i < result.length; i++) result[i] = numberOf(numbers, sequence[i]!);
    return result;
  });
  return { size: numbers.size, sequences: numbered };
}

/** The n-grams that begin with those of `shorter`, which have n - 1 symbols. */
function lengthen(shorter: Level, symbols: Level, n: number): Level {
  const numbers = new Map<number, number>();
  const numbered = shorter.sequences.map((beginnings, s) => {
    const ends = symbols.sequences[s]!;
    const result = new Int32Array(Math.max(ends.length - n + 1, 0));
    for (let i = 0; i < result.length; i++) {
      result[i] = numberOf(numbers, beginnings[i]! * symbols.size + ends[i + n - 1]!);
    }
    return result;
  });
  return { size: numbers.size, sequences: numbered };
}

/** The number of `key`: the next one where it has none yet. */
function numberOf<K>(numbers: Map<K, number>, key: K): number {
  let number = numbers.get(key);
  if (number === undefined) {
    number = numbers.size;
    numbers.set(key, number);
  }
  return number;
}
