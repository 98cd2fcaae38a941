/**
 * JSON files that tell what a model is for, beside its weights: sentence-transformers' own and some fields of config.json.
 * Each is optional, and a damaged one is an error that names it.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isObject, readOptionalJson, readOptionalObject } from '../json-files.js';
import { addedTokensDecoder, readAddedTokens } from '../token/added-tokens.js';

/** Fields of config.json that say what the classes mean. */
export const classFields = ['id2label', 'label2id', 'problem_type'] as const;

/** Where tokens that were added to a SentencePiece model are written. */
export const addedTokensFile = 'tokenizer_config.json';

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
  // ModernBERT's tokens are all in its tokenizer.json.
  const added = given['model_type'] === 'modernbert' ? [] : readAddedTokens(from);
  if (added.length > 0) await writeJson(join(to, addedTokensFile), addedTokensDecoder(added));
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
