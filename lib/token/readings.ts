/** Answers about sequences that are read for their own sake: candidates for masks, and embeddings. */
import type { NativeAnswer } from '../../native/binding.cjs';
import { booleanOption, integerOption } from '../options.js';
import { invalidArgument, shown } from '../errors.js';
import type { CallOptions } from './engine-options.js';

export interface FillMaskOptions extends CallOptions {
  /** Candidates for each `<mask>`: 1 … 1000, default 5; fewer where fewer ids may be answered. */
  count?: number;
}

/** The candidates for one `<mask>`, best first. */
export interface FilledMask {
  /** The position of the `<mask>` in its source. */
  position: number;
  ids: Int32Array;
  /** Over all real ids. */
  logProbs: Float32Array;
}

/** `'mean'`: of all final states, those of `<s>` and `</s>` included; `'first'`: the final state of `<s>`. */
export type Pooling = 'mean' | 'first';

export interface EmbedOptions extends CallOptions {
  /** Default `'mean'`. */
  pooling?: Pooling;
  /** True: the embedding is divided by its Euclidean length. Default false. */
  normalize?: boolean;
}

const mostCandidates = 1000;

/** @internal */
export function countOption(value: unknown): number {
  return integerOption('count', value, 5, 1, mostCandidates);
}

/** @internal */
export function poolingOption(value: unknown, otherwise: Pooling): Pooling {
  if (value === undefined) return otherwise;
  if (value === 'mean' || value === 'first') return value;
  throw invalidArgument(`pooling must be 'mean' or 'first', not ${shown(value)}`);
}

/** @internal */
export function normalizeOption(value: unknown, otherwise: boolean): boolean {
  return booleanOption('normalize', value, otherwise);
}

/** The answer to a reading of the best ids, mask by mask. @internal */
export function filledMasks({ positions, ids, values }: NativeAnswer): FilledMask[] {
  const count = positions.length === 0 ? 0 : ids.length / positions.length;
  return Array.from(positions, (position, mask) => {
    const [begin, end] = [mask * count, (mask + 1) * count];
    return { position, ids: ids.slice(begin, end), logProbs: values.slice(begin, end) };
  });
}

/**
 * The answer to a reading of a pooled state. A state of zeros has no direction and stays as it is.
 * @internal
 */
export function embedding({ values }: NativeAnswer, normalize: boolean): Float32Array {
  if (!normalize) return values;
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? values : values.map((value) => value / length);
}
