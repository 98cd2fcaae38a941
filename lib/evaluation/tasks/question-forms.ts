/** Examples that are not one text in each column: a letter for a number, the last word of a text, a list of options. */
import { invalidArgument, shown } from '../../errors.js';
import type { Fields } from './template.js';

const letters = 'ABCD';

/** The letter for an index from 0, as a number or text, or for a letter itself. @internal */
export function letterOf(value: unknown, count: number): string {
  const text = String(value);
  const index = /^\d+$/.test(text) ? Number(text) : letters.indexOf(text);
  if (text !== '' && index >= 0 && index < count) return letters[index]!;
  const last = letters[count - 1]!;
  throw invalidArgument(`the label must be 0 to ${count - 1} or A to ${last}, not ${shown(value)}`);
}

/** A text without its last word, and that word. @internal */
export function lastWordTask({ text }: Readonly<Record<string, unknown>>): Fields {
  const [, source, target] = /^(.*\S)\s+(\S+)\s*$/su.exec(text as string) ?? [];
  if (source === undefined || target === undefined) {
    throw invalidArgument(`the text must have two words or more, not ${shown(text)}`);
  }
  return { source, target };
}

/** Four options, as a list or as `{ text: [...] }`. @internal */
export function optionsTask({
  question,
  options,
  label,
}: Readonly<Record<string, unknown>>): Fields {
  const list = Array.isArray(options) ? options : (options as { text?: unknown } | null)?.text;
  if (!Array.isArray(list) || list.length !== 4 || !list.every((one) => typeof one === 'string')) {
    throw invalidArgument('the options must be a list of four texts');
  }
  const [o1, o2, o3, o4] = list as [string, string, string, string];
  return { question: question as string, o1, o2, o3, o4, letter: letterOf(label, 4) };
}
