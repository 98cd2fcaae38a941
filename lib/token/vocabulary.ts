/**
 * Vocabulary restriction: answers are looked for among a subset of the ids, with a head of only these rows. It is
 * exact within the subset; probabilities are over the subset and the four special tokens, so scores are higher
 * than over all ids, and with other scores other positions may be masked again.
 */
import { invalidArgument } from '../errors.js';
import { checkOptions, integerOption } from '../options.js';

/** The ids that may be answered, by themselves or by the languages they are for. */
export type Vocabulary =
  | { allowedIds: Int32Array | readonly number[] }
  /**
   * BCP 47 tags, such as `['de', 'ru']`: the pieces whose characters all belong to the scripts of these
   * languages or, like digits, to none. Languages of one script share their pieces: `'de'` allows all Latin ones.
   * They need a tokenizer, so `MaskPredict.load()` takes them and the engine alone does not.
   */
  | { languages: readonly string[] };

/**
 * The allowed ids, rising and without repetition. `ofLanguages` are those of its languages; without them languages are an
 * error.
 * @internal
 */
export function allowedIds(vocabulary: unknown, ofLanguages?: Int32Array): Int32Array {
  checkOptions('vocabulary', vocabulary, ['allowedIds', 'languages']);
  const { allowedIds, languages } = vocabulary as { allowedIds?: unknown; languages?: unknown };
  if ((allowedIds === undefined) === (languages === undefined)) {
    throw invalidArgument('vocabulary must have either allowedIds or languages');
  }
  if (languages !== undefined && ofLanguages === undefined) {
    throw invalidArgument(
      'vocabulary.languages needs a tokenizer: load the model with MaskPredict.load(), or name the allowedIds',
    );
  }
  const ids = languages === undefined ? listedIds(allowedIds) : ofLanguages!;
  if (ids.length === 0) throw invalidArgument('vocabulary allows no id at all');
  return ids;
}

function listedIds(list: unknown): Int32Array {
  if (!Array.isArray(list) && !(list instanceof Int32Array)) {
    throw invalidArgument('vocabulary.allowedIds must be an Int32Array or an array of ids');
  }
  // Array.from, not map: a hole is no id either.
  const ids = Array.from(list as ArrayLike<unknown>, (id, index) => {
    return integerOption(`vocabulary.allowedIds[${index}]`, id ?? NaN, NaN, 0, 2 ** 24);
  });
  return Int32Array.from(new Set(ids)).sort();
}
