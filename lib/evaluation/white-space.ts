/**
 * White space as Python's `str.split()` and `str.rstrip()` see it, since the published scores come from there: unlike
 * JavaScript's `\s` it holds U+001C to U+001F and U+0085, and not U+FEFF.
 */
const characters =
  '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const runs = new RegExp(`[${characters}]+`);
/** A run is looked at from its begin only, so that a long one in the middle of a text costs linear time. */
const runAtEnd = new RegExp(`(?<![${characters}])[${characters}]+$`);
const single = new RegExp(`^[${characters}]$`);

/** The words between white space; none of them is empty. */
export function splitWords(text: string): string[] {
  return text.split(runs).filter((word) => word !== '');
}

/** `text` without the white space at its end. */
export function trimEnd(text: string): string {
  return text.replace(runAtEnd, '');
}

/** The code points of `text` that are not white space. A lone surrogate counts as one. */
export function visibleCodePoints(text: string): string[] {
  return Array.from(text).filter((character) => !single.test(character));
}
