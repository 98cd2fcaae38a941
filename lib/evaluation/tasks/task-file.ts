/** Tasks and prompts of one's own, from JSON files. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../../errors.js';
import { checkOptions } from '../../options.js';
import { measureNames, type Measure } from '../runs/measures.js';
import type { Prompt } from './prompts.js';
import { tasks, type Task } from './tasks.js';

/** The task of a name, or the one that a file `….json` describes. @internal */
export async function taskOf(name: string): Promise<Task> {
  const known = tasks.find((task) => task.name === name.toLowerCase());
  if (known) return known;
  if (name.endsWith('.json')) return checkedTask(name, await readJson(name));
  throw invalidArgument(
    `there is no task '${name}'; the tasks are ${tasks.map((task) => task.name).join(', ')}, or a file TASK.json`,
  );
}

/** The prompts of a file: an array of them. @internal */
export async function readPrompts(file: string): Promise<Prompt[]> {
  return checkedPrompts(file, await readJson(file));
}

const taskFields = ['name', 'title', 'prompts', 'columns', 'values', 'tsv', 'merge', 'measures'];

function checkedTask(file: string, given: unknown): Task {
  checkOptions(`the task in ${file}`, given, taskFields);
  const task = given as Partial<Record<(typeof taskFields)[number], unknown>>;
  const name = textOf(`${file}: name`, task['name'] ?? basename(file, '.json'));
  const measures = task['measures'] ?? ['accuracy'];
  if (!Array.isArray(measures) || !measures.every((one) => measureNames.includes(one as Measure))) {
    throw invalidArgument(`${file}: measures must be a list of ${measureNames.join(', ')}`);
  }
  return {
    name,
    title: textOf(`${file}: title`, task['title'] ?? name),
    prompts: checkedPrompts(`${file}: prompts`, task['prompts']),
    promptsFrom: 'own',
    measures: measures as Measure[],
    ...(task['columns'] !== undefined && {
      columns: tableOf(`${file}: columns`, task['columns'], (where, columns) =>
        Array.isArray(columns)
          ? columns.map((column, i) => textOf(`${where}[${i}]`, column))
          : [textOf(where, columns)],
      ),
    }),
    ...(task['values'] !== undefined && {
      values: tableOf(`${file}: values`, task['values'], (where, values) =>
        tableOf(where, values, (at, value) => (value === null ? null : textOf(at, value))),
      ),
    }),
    ...(task['tsv'] !== undefined && {
      tsv: listOf(`${file}: tsv`, task['tsv']),
    }),
    ...(task['merge'] !== undefined && { merge: textOf(`${file}: merge`, task['merge']) }),
  };
}

const promptFields = ['name', 'template', 'answer', 'labels', 'either', 'note'];

/** @internal */
export function checkedPrompts(where: string, given: unknown): Prompt[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw invalidArgument(`${where} must be a list of prompts: [{ "template": …, "answer": … }]`);
  }
  return given.map((one: unknown, i) => {
    const at = `${where}[${i}]`;
    checkOptions(at, one, promptFields);
    const { name, template, answer, labels, either, note } = one as Record<string, unknown>;
    return {
      template: textOf(`${at}.template`, template),
      answer: textOf(`${at}.answer`, answer),
      ...(name !== undefined && { name: textOf(`${at}.name`, name) }),
      ...(labels !== undefined && { labels: listOf(`${at}.labels`, labels) }),
      ...(note !== undefined && { note: textOf(`${at}.note`, note) }),
      ...(either !== undefined && { either: eitherOf(`${at}.either`, either) }),
    };
  });
}

function eitherOf(where: string, given: unknown): NonNullable<Prompt['either']> {
  checkOptions(where, given, ['printed', 'effect', 'cause']);
  const { printed, effect, cause } = given as Record<string, unknown>;
  return {
    printed: textOf(`${where}.printed`, printed),
    effect: textOf(`${where}.effect`, effect),
    cause: textOf(`${where}.cause`, cause),
  };
}

function tableOf<T>(
  where: string,
  given: unknown,
  each: (where: string, value: unknown) => T,
): Record<string, T> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidArgument(`${where} must be an object`);
  }
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, each(`${where}.${name}`, value)]),
  );
}

function listOf(where: string, given: unknown): string[] {
  if (!Array.isArray(given)) throw invalidArgument(`${where} must be a list of texts`);
  return given.map((one, i) => textOf(`${where}[${i}]`, one));
}

function textOf(where: string, given: unknown): string {
  if (typeof given === 'string' && given !== '') return given;
  throw invalidArgument(`${where} must be a text, not ${shown(given)}`);
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown;
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${file} cannot be read as JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
}
