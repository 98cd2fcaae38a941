/** Pairs of texts in two languages, which a prompt names in English. */
import { invalidArgument, shown } from '../../errors.js';
import type { Fields } from './template.js';
import type { ReadingContext } from './tasks.js';

const names = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'none' });

/** @internal */
export function readTranslation(
  { Source, target, translation }: Readonly<Record<string, unknown>>,
  { group }: ReadingContext,
): Fields {
  const [from, to] = languagesOf(group);
  const pair = translation as Record<string, unknown> | undefined;
  const source = Source ?? pair?.[from];
  const given = target ?? pair?.[to];
  if (typeof source !== 'string') {
    throw invalidArgument(
      `there is no text to translate: a column source, or translation with ${from}`,
    );
  }
  const references = typeof given === 'string' ? [given] : given;
  if (
    !Array.isArray(references) ||
    references.length === 0 ||
    !references.every((one) => typeof one === 'string')
  ) {
    throw invalidArgument(`there is no translation: a column target, or translation with ${to}`);
  }
  return { src: languageName(from), tgt: languageName(to), Source: source, target: references };
}

/** `en-de` as the codes of its two languages. @internal */
export function languagesOf(pair: string): [from: string, to: string] {
  const [, from, to] = /^([a-z]{2,3})-([a-z]{2,3})$/.exec(pair) ?? [];
  if (from !== undefined && to !== undefined) return [from, to];
  throw invalidArgument(
    `the languages of a translation are a pair such as en-de, not ${shown(pair)}: give languages, or name the file so`,
  );
}

function languageName(code: string): string {
  const name = names.of(code);
  if (name !== undefined) return name;
  throw invalidArgument(`there is no language with the code ${code}`);
}
