/**
 * Instructions with their outputs, from files or from the caller: JSON lines (`{ "instruction": …, "output": … }`, or
 * fields of other names), or pairs in two columns (`.tsv`), each packed by gzip or not. Read as a stream. An example
 * knows where it comes from, so that whoever refuses it can say so.
 */
import { invalidArgument, shown } from '../errors.js';
import { readFileLines } from '../file-lines.js';

export interface Example {
  instruction: string;
  output: string;
}

/** An example and its place: `FILE:LINE`, or its number in the caller's iterable. @internal */
export interface PlacedExample extends Example {
  place: string;
}

/** Names of the fields that hold instruction and output. */
export type Fields = readonly [instruction: string, output: string];
/** @internal */
export const defaultFields: Fields = ['instruction', 'output'];

/**
 * The examples of `file`, some at a time. Blank lines are skipped. `onBytes` sees the file's bytes.
 * @internal
 */
export async function* readExamples(
  file: string,
  fields: Fields,
  onBytes?: (bytes: Buffer) => void,
): AsyncGenerator<PlacedExample[], void, void> {
  const read = isTable(file) ? fromColumns : fromJson;
  for await (const lines of readFileLines(file, onBytes)) {
    const examples: PlacedExample[] = [];
    for (const { text, number } of lines) {
      if (text.trim() === '') continue;
      const place = `${file}:${number}`;
      examples.push({ ...read(text, place, fields), place });
    }
    yield examples;
  }
}

/** The examples of an iterable, one at a time. @internal */
export async function* placedExamples(
  iterable: AsyncIterable<Example> | Iterable<Example>,
): AsyncGenerator<PlacedExample[], void, void> {
  let number = 0;
  for await (const example of iterable) {
    const place = `example ${number++}`;
    yield [{ ...textsOf(example, place, defaultFields), place }];
  }
}

/** Two columns parted by a tab, instead of JSON lines. @internal */
export function isTable(file: string): boolean {
  return /\.tsv(\.gz)?$/i.test(file);
}

function fromJson(text: string, place: string, fields: Fields): Example {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalidArgument(`${place}: the line is no JSON: ${(error as Error).message}`);
  }
  return textsOf(value, place, fields);
}

function fromColumns(text: string, place: string): Example {
  const columns = text.split('\t');
  if (columns.length !== 2) {
    throw invalidArgument(
      `${place}: a line of a .tsv file has an instruction, a tab and its output, not ${columns.length} column${columns.length === 1 ? '' : 's'}`,
    );
  }
  return { instruction: columns[0]!, output: columns[1]! };
}

function textsOf(value: unknown, place: string, [instruction, output]: Fields): Example {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(
      `${place}: an example must be an object with the fields ${instruction} and ${output}, not ${shown(value)}`,
    );
  }
  const record = value as Record<string, unknown>;
  return {
    instruction: textOf(record, instruction, place),
    output: textOf(record, output, place),
  };
}

function textOf(record: Record<string, unknown>, field: string, place: string): string {
  const text = Object.hasOwn(record, field) ? record[field] : undefined;
  if (typeof text === 'string') return text;
  if (text !== undefined) {
    throw invalidArgument(`${place}: the field ${field} must be a string, not ${shown(text)}`);
  }
  const names = Object.keys(record).slice(0, 8).join(', ');
  throw invalidArgument(
    `${place}: the field ${field} is missing; the example has ${names === '' ? 'no fields' : names}; ` +
      'fields says which ones hold instruction and output',
  );
}
