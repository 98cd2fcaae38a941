/** Small JSON files of a model directory. Each is optional, and a damaged one is an error that names it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MaskPredictError, shown } from './errors.js';

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
