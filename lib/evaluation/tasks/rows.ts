/**
 * The rows of a data file in any form data sets are published in: JSON lines or a JSON array, TSV (never quoted, as GLUE
 * and XNLI are), lines of text, all of them gzip too, and Parquet. Whatever is wrong names file and line.
 */
import { basename } from 'node:path';
import { invalidArgument, MaskPredictError } from '../../errors.js';
import { readFileLines } from '../../file-lines.js';
import { readParquet } from './parquet.js';
import type { Row } from './tasks.js';

export type DataFormat = 'jsonl' | 'tsv' | 'text' | 'parquet';

/** @internal */
export interface PlacedRow {
  row: Row;
  /** `FILE:LINE:`, for messages. */
  place: string;
  /** From 1: a line of the file, or its row where it has no lines. */
  number: number;
}

const formats: Record<string, DataFormat> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'jsonl',
  tsv: 'tsv',
  parquet: 'parquet',
};

/** By the file's name; text for a name that says nothing. @internal */
export function formatOf(file: string): DataFormat {
  const ending = basename(file).replace(/\.gz$/, '').split('.').at(-1)!;
  return formats[ending.toLowerCase()] ?? 'text';
}

/**
 * `names`: the columns of a TSV file that has no line of names; `known`: names that mark a first line as one.
 * @internal
 */
export async function readRows(
  file: string,
  format: DataFormat,
  names: readonly string[] | undefined,
  known: ReadonlySet<string>,
): Promise<PlacedRow[]> {
  if (format === 'parquet') {
    const rows = await readParquet(file);
    return rows.map((row, i) => ({ row, place: `${file}: row ${i + 1}:`, number: i + 1 }));
  }
  const lines: { text: string; number: number }[] = [];
  for await (const some of readFileLines(file)) lines.push(...some);
  const place = (number: number) => `${file}:${number}:`;
  if (format === 'text') {
    return lines.map(({ text, number }) => ({ row: { text }, place: place(number), number }));
  }
  const full = lines.filter(({ text }) => text.trim() !== '');
  if (format === 'tsv') return tsvRows(file, full, names, known);
  if (full[0]?.text.trimStart().startsWith('[')) return arrayRows(file, lines);
  return full.map(({ text, number }) => ({
    row: objectOf(place(number), text),
    place: place(number),
    number,
  }));
}

function tsvRows(
  file: string,
  lines: { text: string; number: number }[],
  names: readonly string[] | undefined,
  known: ReadonlySet<string>,
): PlacedRow[] {
  const first = lines[0]?.text.replace(/^\ufeff/, '').split('\t') ?? [];
  const titled = names === undefined || first.some((name) => known.has(name));
  const columns = titled ? first : names;
  return lines.slice(titled ? 1 : 0).map(({ text, number }) => {
    const cells = text.split('\t');
    const place = `${file}:${number}:`;
    if (cells.length < columns.length) {
      throw invalidArgument(
        `${place} the line has ${cells.length} columns, not ${columns.length} (${columns.join(', ')})`,
      );
    }
    const row = Object.fromEntries(columns.map((name, i) => [name, cells[i]!]));
    return { row, place, number };
  });
}

function arrayRows(file: string, lines: { text: string }[]): PlacedRow[] {
  const list = parsed(`${file}:`, lines.map(({ text }) => text).join('\n')) as unknown[];
  return list.map((row, i) => {
    const place = `${file}: row ${i + 1}:`;
    return { row: checkedObject(place, row), place, number: i + 1 };
  });
}

function objectOf(place: string, text: string): Row {
  return checkedObject(place, parsed(place, text));
}

function checkedObject(place: string, value: unknown): Row {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
  throw invalidArgument(`${place} a row must be an object with a field for each column`);
}

function parsed(place: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${place} this is not JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
}
