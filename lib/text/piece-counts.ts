/** How often the lines of text files use each piece. */
import { stat } from 'node:fs/promises';
import { MaskPredictError, invalidArgument } from '../errors.js';
import { readFileLines } from '../file-lines.js';
import type { Tokenizer } from './tokenizer.js';

const UNKNOWN = 3;

export interface CountOptions {
  signal?: AbortSignal | undefined;
  /** Called with 0 … 1. */
  onProgress?: ((fraction: number) => void) | undefined;
}

/**
 * Occurrences by id of the pieces of all lines of `files`, UTF-8, packed by gzip or not, one or many texts a line; special
 * ids and `<unk>` do not count. Lines are read as they are needed.
 */
export async function countPieces(
  files: readonly string[],
  tokenizer: Tokenizer,
  { signal, onProgress }: CountOptions,
): Promise<Float64Array> {
  const counts = new Float64Array(tokenizer.vocabulary);
  const bytes = await Promise.all(files.map(bytesOf));
  const all = bytes.reduce((sum, size) => sum + size, 0);
  let read = 0;
  for (const file of files) {
    for await (const lines of readFileLines(file, (chunk) => (read += chunk.length))) {
      signal?.throwIfAborted();
      for (const { text } of lines) {
        for (const id of tokenizer.encode(text).ids) if (id > UNKNOWN) counts[id]!++;
      }
      onProgress?.(Math.min(1, read / all));
    }
  }
  signal?.throwIfAborted();
  if (counts.every((count) => count === 0)) {
    throw invalidArgument(`${files.join(', ')}: there is no text that the tokenizer has pieces of`);
  }
  return counts;
}

async function bytesOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (cause) {
    const { message } = cause as Error;
    throw new MaskPredictError('ERR_INVALID_ARGUMENT', `${file} cannot be read: ${message}`, {
      cause,
    });
  }
}

/** The most frequent ids that together make up the share `keep` of all occurrences; of equally frequent ones lower ids. */
export function mostFrequent(counts: Float64Array, keep: number): number[] {
  const ids = [...counts.keys()].filter((id) => counts[id]! > 0);
  const all = ids.reduce((sum, id) => sum + counts[id]!, 0);
  ids.sort((a, b) => counts[b]! - counts[a]! || a - b);
  let covered = 0;
  const end = ids.findIndex((id) => (covered += counts[id]!) >= keep * all);
  return ids.slice(0, end + 1);
}
