/** Data files become the examples of a task: columns become fields, files or a column become groups (languages). */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../../errors.js';
import { groupedBy } from '../grouped.js';
import { Draws } from '../../training/random.js';
import { formatOf, readRows, type DataFormat, type PlacedRow } from './rows.js';
import type { Row, Task } from './tasks.js';
import type { Fields } from './template.js';
import { languagesOf } from './translation.js';

/** One question of a data set. @internal */
export interface TaskExample {
  /** `FILE:LINE`, the file without its directory. */
  id: string;
  /** A language, a pair of languages, or the file's name. */
  group: string;
  fields: Fields;
}

/** A file, whatever is in it. */
export interface HashedFile {
  /** Without its directory. */
  file: string;
  /** The SHA-256 of the bytes as they are on the disk. */
  sha256: string;
}

/** A file that was read. */
export interface DataFile extends HashedFile {
  /** That are asked. */
  examples: number;
  /** Rows without a question, such as those without a label. */
  leftOut: number;
  /** With the right answers to its lines. */
  references?: HashedFile[];
}

/** How data is read. @internal */
export interface DataSettings {
  /** Default: by the file's name. */
  format?: DataFormat;
  /** The group of all examples, where neither a column nor the files' names say it: `en-de` for translation. */
  group?: string;
  /** Files whose lines are the answers to the one data file of text: a reference set each. */
  references?: readonly string[];
  /** So many examples of each group, drawn by the seed, in the order of the data. */
  limit?: number;
  seed: number;
}

/** @internal */
export async function readExamples(
  task: Task,
  files: readonly string[],
  settings: DataSettings,
): Promise<{ examples: TaskExample[]; files: DataFile[] }> {
  if (files.length === 0) throw invalidArgument('an evaluation needs at least one data file');
  const bare = files.map((file) => basename(file));
  const twice = bare.find((name, i) => bare.indexOf(name) !== i);
  if (twice !== undefined) throw invalidArgument(`two data files have the name ${twice}`);
  const read: { examples: TaskExample[]; leftOut: number; sha256: string }[] = [];
  for (const file of files) {
    read.push({ ...(await examplesOf(task, file, settings)), sha256: await sha256(file) });
  }
  const all = read.flatMap(({ examples }) => examples);
  const references = settings.references && (await Promise.all(settings.references.map(hashed)));
  const asked = new Set(limited(all, settings.limit, settings.seed));
  if (asked.size === 0) throw invalidArgument(`${files.join(', ')}: there is no example`);
  return {
    examples: all.filter((example) => asked.has(example)),
    files: read.map(({ examples, leftOut, sha256 }, i) => ({
      file: bare[i]!,
      sha256,
      examples: examples.filter((example) => asked.has(example)).length,
      leftOut,
      ...(references && { references }),
    })),
  };
}

async function examplesOf(
  task: Task,
  file: string,
  settings: DataSettings,
): Promise<{ examples: TaskExample[]; leftOut: number }> {
  const format = settings.format ?? formatOf(file);
  const known = new Set(Object.values(task.columns ?? {}).flat());
  let rows = await readRows(file, format, task.tsv, known);
  if (settings.references) rows = await withReferences(rows, file, settings.references);
  const examples: TaskExample[] = [];
  let leftOut = 0;
  let last: unknown;
  for (const { row, place, number } of rows) {
    try {
      const given = fieldsOf(task, row);
      const group = groupOf(task, given, file, settings.group);
      const fields = (task.read ?? textFields)(given, { group });
      if (fields === null || Object.values(given).includes(null)) {
        leftOut++;
        continue;
      }
      const key = task.merge === undefined ? undefined : given[task.merge];
      const previous = key !== undefined && key === last ? examples.at(-1) : undefined;
      last = key;
      if (previous) addAnswer(previous, fields);
      else examples.push({ id: `${basename(file)}:${number}`, group, fields });
    } catch (error) {
      if (!(error instanceof MaskPredictError)) throw error;
      throw new MaskPredictError(error.code, `${place} ${error.message}`, { cause: error });
    }
  }
  return { examples, leftOut };
}

/** The lines of reference files as the column `target` beside the lines of a text. */
async function withReferences(
  rows: PlacedRow[],
  file: string,
  references: readonly string[],
): Promise<PlacedRow[]> {
  const sets = await Promise.all(
    references.map((name) => readRows(name, 'text', undefined, new Set())),
  );
  sets.forEach((set, i) => {
    if (set.length === rows.length) return;
    throw invalidArgument(
      `${references[i]!} has ${set.length} lines and ${file} ${rows.length}: they must be as many`,
    );
  });
  return rows.map((one, i) => ({
    ...one,
    row: { ...one.row, target: sets.map((set) => set[i]!.row['text']) },
  }));
}

/** The fields of a row, with what their values stand for. */
function fieldsOf(task: Task, row: Row): Record<string, unknown> {
  if (!task.columns) return { ...row };
  const fields: Record<string, unknown> = {};
  for (const [written, columns] of Object.entries(task.columns)) {
    const optional = written.endsWith('?');
    const name = optional ? written.slice(0, -1) : written;
    const column = columns.find((one) => Object.hasOwn(row, one) && row[one] !== null);
    if (column === undefined) {
      if (optional) continue;
      throw invalidArgument(
        `${task.title} needs a column ${columns.join(' or ')}; the columns are ${Object.keys(row).join(', ')}`,
      );
    }
    fields[name] = meaning(task, name, row[column]);
  }
  return fields;
}

/** The meaning of a value; null if the example is left out. */
function meaning(task: Task, name: string, value: unknown): unknown {
  const values = task.values?.[name];
  if (!values) return value;
  const text = String(value);
  if (Object.hasOwn(values, text)) return values[text];
  throw invalidArgument(
    `${shown(value)} is no ${name} of ${task.title}; there are ${Object.keys(values).join(', ')}`,
  );
}

/** For tasks whose columns are their fields: texts and lists of texts stay, other values are written as texts. */
function textFields(given: Readonly<Record<string, unknown>>): Fields {
  return Object.fromEntries(
    Object.entries(given)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([name, value]) => [
        name,
        Array.isArray(value)
          ? value.map(String)
          : typeof value === 'object'
            ? JSON.stringify(value)
            : String(value),
      ]),
  );
}

function groupOf(
  task: Task,
  { group }: Record<string, unknown>,
  file: string,
  given: string | undefined,
): string {
  if (typeof group === 'string' && group !== '') return group;
  const parts = basename(file).replace(/\.gz$/, '').split(/[._]/);
  const name =
    given ??
    parts.find((part) => (task.pairs ? /^[a-z]{2,3}-[a-z]{2,3}$/ : /^[a-z]{2}$/).test(part));
  if (task.pairs) return languagesOf(name ?? '').join('-');
  return name ?? parts[0]!;
}

function addAnswer({ fields }: TaskExample, { target }: Fields): void {
  fields['target'] = [fields['target']!, target!].flat();
}

function limited(
  examples: readonly TaskExample[],
  limit: number | undefined,
  seed: number,
): readonly TaskExample[] {
  if (limit === undefined) return examples;
  const groups = groupedBy(examples, ({ group }) => group);
  return [...groups.values()].flatMap((group) =>
    drawn(group.length, limit, seed, 0).map((index) => group[index]!),
  );
}

/** `count` of the indices below `length`, without replacement; `stream` tells draws of one seed apart. @internal */
export function drawn(length: number, count: number, seed: number, stream: number): number[] {
  const indices = Uint32Array.from({ length }, (_, index) => index);
  new Draws(BigInt(seed), 'share', 0, stream).choose(indices, count);
  return [...indices.subarray(0, count)];
}

/** @internal */
export async function hashed(file: string): Promise<HashedFile> {
  return { file: basename(file), sha256: await sha256(file) };
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
