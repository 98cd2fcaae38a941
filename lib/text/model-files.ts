/**
 * JSON files that tell what a model is for, beside its weights: sentence-transformers' own and some fields of config.json.
 * Each is optional, and a damaged one is an error that names it.
 */
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MaskPredictError, shown } from '../errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The content of a file, or undefined where there is none. */
export function readOptionalJson(directory: string, name: string): unknown {
  const path = join(directory, name);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${path} cannot be read: ${message}`, { cause });
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, '')) as unknown;
  } catch (cause) {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${path} is not JSON`, { cause });
  }
}

/** The same for a file that holds an object. */
export function readOptionalObject(directory: string, name: string): JsonObject | undefined {
  const value = readOptionalJson(directory, name);
  if (value === undefined || isObject(value)) return value;
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `${join(directory, name)} holds ${shown(value)}, not an object`,
  );
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Fields of config.json that say what the classes mean. */
export const classFields = ['id2label', 'label2id', 'problem_type'] as const;

export const modulesFile = 'modules.json';
export const transformerFile = 'sentence_bert_config.json';

/** The config.json of the pooling module that `modules.json` names, or of the folder that it has by default. */
export function poolingFile(directory: string): string {
  const modules = readOptionalJson(directory, modulesFile);
  const module = (Array.isArray(modules) ? (modules as unknown[]) : []).find(
    (module) => kindOf(module) === 'Pooling',
  );
  const path = isObject(module) ? module['path'] : undefined;
  const inside = typeof path === 'string' && !/^\/|(^|[/\\])\.\.($|[/\\])/.test(path);
  return join(inside ? path : '1_Pooling', 'config.json');
}

/** The kind of a module of `modules.json`: the last part of its type. */
export function kindOf(module: unknown): string | undefined {
  const type = isObject(module) ? module['type'] : undefined;
  return typeof type === 'string' ? type.split('.').at(-1) : undefined;
}

/** sentence-transformers' files of a model, by their names in its directory. */
export function poolingFiles(directory: string): string[] {
  return [modulesFile, poolingFile(directory), transformerFile].filter(
    (name) => readOptionalJson(directory, name) !== undefined,
  );
}

/** Gives a model that was saved from another what tells what that one is for. Its own config.json is there already. */
export async function copyTextFiles(from: string, to: string): Promise<void> {
  for (const name of poolingFiles(from)) {
    await writeJson(join(to, name), readOptionalJson(from, name));
  }
  const given = readOptionalObject(from, 'config.json') ?? {};
  const fields = classFields.filter((field) => given[field] !== undefined);
  if (fields.length === 0) return;
  const own = readOptionalObject(to, 'config.json') ?? {};
  const kept = Object.fromEntries(fields.map((field) => [field, given[field]]));
  await writeJson(join(to, 'config.json'), { ...own, ...kept });
}

/** Writes a small file of a model, and makes the folder it is in. */
export async function writeJson(path: string, content: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(content, undefined, 2)}\n`);
}
