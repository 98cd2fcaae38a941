/**
 * The tokenizers of BLEU. A token is what stands between white space after punctuation was set apart; they differ in what
 * they set apart.
 */
import { splitWords, visibleCodePoints } from './white-space.js';

/**
 * - `'13a'`: punctuation and symbols of ASCII, after the entities of XML were read; as mteval-v13a does.
 * - `'intl'`: punctuation and symbols of all scripts; as mteval-v14 does with --international-tokenization.
 * - `'char'`: every code point is a token.
 * - `'none'`: the text is tokenized already.
 */
export type BleuTokenizer = '13a' | 'intl' | 'char' | 'none';

/** @internal */
export const bleuTokenizers: Readonly<Record<BleuTokenizer, (text: string) => string[]>> = {
  '13a': (text) => splitWords(replaceInTurn(` ${readEntities(text)} `, rules13a)),
  intl: (text) => splitWords(replaceInTurn(text, rulesIntl)),
  char: visibleCodePoints,
  none: splitWords,
};

type Rules = readonly (readonly [RegExp, string])[];

/** All with the flag u: a character is a code point. */
const rules13a: Rules = [
  [/[{-~[-` -&(-+:-@/]/gu, ' $& '],
  // A period or comma stays where a digit stands on either side of it.
  [/([^0-9])([.,])/gu, '$1 $2 '],
  [/([.,])([^0-9])/gu, ' $1 $2'],
  [/([0-9])(-)/gu, '$1 $2 '],
];

const rulesIntl: Rules = [
  // A number in front of a final period keeps it, as in mteval-v14.
  [/(\P{N})(\p{P})/gu, '$1 $2 '],
  [/(\p{P})(\P{N})/gu, ' $1 $2'],
  [/\p{S}/gu, ' $& '],
];

function replaceInTurn(text: string, rules: Rules): string {
  return rules.reduce((replaced, [pattern, by]) => replaced.replace(pattern, by), text);
}

function readEntities(text: string): string {
  return text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
}
