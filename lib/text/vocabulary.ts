/**
 * Vocabulary restriction: answers are looked for among a subset of the ids, with a head of only these rows. It is
 * exact within the subset; probabilities are over the subset and the four special tokens, so scores are higher
 * than over all ids, and with other scores other positions may be masked again.
 */
import { invalidArgument, shown } from '../errors.js';
import { checkOptions, integerOption } from '../options.js';
import type { Tokenizer } from './tokenizer.js';

/** The ids that may be answered, by themselves or by the languages they are for. */
export type Vocabulary =
  | { allowedIds: Int32Array | readonly number[] }
  /**
   * BCP 47 tags, such as `['de', 'ru']`: the pieces whose characters all belong to the scripts of these
   * languages or, like digits, to none. Languages of one script share their pieces: `'de'` allows all Latin ones.
   */
  | { languages: readonly string[] };

/** The allowed ids, rising and without repetition. Languages need the `tokenizer`. */
export function allowedIds(vocabulary: unknown, tokenizer?: Tokenizer): Int32Array {
  checkOptions('vocabulary', vocabulary, ['allowedIds', 'languages']);
  const { allowedIds, languages } = vocabulary as { allowedIds?: unknown; languages?: unknown };
  if ((allowedIds === undefined) === (languages === undefined)) {
    throw invalidArgument('vocabulary must have either allowedIds or languages');
  }
  if (languages !== undefined && tokenizer === undefined) {
    throw invalidArgument(
      'vocabulary.languages needs a tokenizer: load the model with MaskPredict.load(), or name the allowedIds',
    );
  }
  const ids =
    languages === undefined
      ? listedIds(allowedIds)
      : idsOfScripts(scriptsOf(languages), tokenizer!);
  if (ids.length === 0) throw invalidArgument('vocabulary allows no id at all');
  return ids;
}

function listedIds(list: unknown): Int32Array {
  if (!Array.isArray(list) && !(list instanceof Int32Array)) {
    throw invalidArgument('vocabulary.allowedIds must be an Int32Array or an array of ids');
  }
  // Array.from, not map: a hole is no id either.
  const ids = Array.from(list as ArrayLike<unknown>, (id, index) => {
    return integerOption(`vocabulary.allowedIds[${index}]`, id ?? NaN, NaN, 3, 2 ** 24);
  });
  return Int32Array.from(new Set(ids)).sort();
}

/** Scripts that are written together, by the name under which a language asks for them. */
const combinedScripts: Record<string, string[]> = {
  Jpan: ['Hira', 'Kana', 'Hani'],
  Kore: ['Hang', 'Hani'],
  Hans: ['Hani'],
  Hant: ['Hani'],
};

function scriptsOf(languages: unknown): string[] {
  if (!Array.isArray(languages) || languages.length === 0) {
    throw invalidArgument("vocabulary.languages must be an array of language tags, e.g. ['de']");
  }
  return Array.from(languages as unknown[], (language) => {
    const script = typeof language === 'string' ? likelyScript(language) : undefined;
    if (script === undefined) {
      throw invalidArgument(
        `vocabulary.languages: ${shown(language)} is not the tag of a language with a known script; ` +
          `BCP 47 tags are meant, such as 'de', 'zh' or 'sr-Latn'`,
      );
    }
    return combinedScripts[script] ?? [script];
  }).flat();
}

/** The script a language is usually written in (Unicode's likely subtags), or the one its tag names. */
function likelyScript(language: string): string | undefined {
  try {
    const { script } = new Intl.Locale(language).maximize();
    for (const part of combinedScripts[script!] ?? [script]) new RegExp(charactersOf(part!), 'u');
    return script;
  } catch {
    return undefined; // not a tag, or a script that Unicode has no characters of
  }
}

function charactersOf(script: string): string {
  return `\\p{Script_Extensions=${script}}`;
}

function idsOfScripts(scripts: string[], tokenizer: Tokenizer): Int32Array {
  const own = scripts.map(charactersOf).join('');
  const pattern = new RegExp(`^[${own}\\p{Script=Common}\\p{Script=Inherited}]*$`, 'u');
  const ids = [];
  for (let id = 3; id < tokenizer.maskTokenId; id++) {
    if (pattern.test(tokenizer.piece(id))) ids.push(id);
  }
  return Int32Array.from(ids);
}
