/** Distinct-n (Li et al., 2016): how little a system repeats itself. */
import { invalidArgument, shown } from '../errors.js';
import { checkOptions } from '../options.js';
import { choiceOption } from './choices.js';
import { checkTexts } from './corpus.js';
import { numberNGrams } from './n-grams.js';
import { splitWords } from './white-space.js';

export interface DistinctOptions {
  /**
   * By what the number of different n-grams is divided: `'ngrams'`, all n-grams (default; the usual scripts do), or
   * `'words'`, all words (the paper does).
   */
  divideBy?: 'ngrams' | 'words';
}

export interface DistinctScore {
  /** 0 … 1; 0 for texts without n-grams. */
  score: number;
  /** Different n-grams in all texts. */
  distinct: number;
  /** All n-grams, or all words: see `dividedBy`. */
  total: number;
  dividedBy: 'ngrams' | 'words';
}

/**
 * Distinct-n of a corpus, over the n-grams of all texts together. Words are what stands between white space; no n-gram
 * reaches from one text into the next.
 *
 * `n`: 1 … 16. Throws `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function distinct(
  texts: readonly string[],
  n: number,
  options: DistinctOptions = {},
): DistinctScore {
  checkOptions('distinct()', options, ['divideBy']);
  const dividedBy = choiceOption<'ngrams' | 'words'>('divideBy', options.divideBy, 'ngrams', [
    'ngrams',
    'words',
  ]);
  checkTexts('texts', texts);
  if (!Number.isInteger(n) || n < 1 || n > 16) {
    throw invalidArgument(`n must be an integer from 1 to 16, not ${shown(n)}`);
  }
  const levels = numberNGrams(texts.map(splitWords), n);
  const ngrams = levels[n - 1]!;
  const { sequences } = dividedBy === 'words' ? levels[0]! : ngrams;
  const total = sequences.reduce((sum, sequence) => sum + sequence.length, 0);
  return { score: total > 0 ? ngrams.size / total : 0, distinct: ngrams.size, total, dividedBy };
}
