/**
 * The corruption of a training step (section 3.3 of the paper). It masks 1 … N of the N inner tokens of a target, with
 * a uniform number and uniform positions, and a fixed share of the inner tokens of a source. `<s>` and `</s>` are never
 * masked.
 */
import { Draws } from './random.js';

/** Whose draws: see {@link Draws}. */
export interface CorruptionKey {
  seed: bigint;
  epoch: number;
  example: number;
  occurrence?: number;
}

/** `target` with a uniform number of its inner tokens, at least one, masked. It has at least one inner token. */
export function corruptTarget(
  target: Int32Array,
  maskTokenId: number,
  { seed, epoch, example, occurrence }: CorruptionKey,
): Int32Array {
  const draws = new Draws(seed, 'target', epoch, example, occurrence);
  return masked(target, 1 + draws.below(target.length - 2), maskTokenId, draws);
}

/** `source` with `floor(percent · inner / 100)` of its inner tokens masked; `percent` is an integer. */
export function corruptSource(
  source: Int32Array,
  maskTokenId: number,
  percent: number,
  { seed, epoch, example, occurrence }: CorruptionKey,
): Int32Array {
  const count = Math.floor((percent * (source.length - 2)) / 100);
  if (count === 0) return source;
  return masked(source, count, maskTokenId, new Draws(seed, 'source', epoch, example, occurrence));
}

function masked(ids: Int32Array, count: number, maskTokenId: number, draws: Draws): Int32Array {
  const positions = Int32Array.from({ length: ids.length - 2 }, (_, index) => index + 1);
  draws.choose(positions, count);
  const copy = ids.slice();
  for (let i = 0; i < count; i++) copy[positions[i]!] = maskTokenId;
  return copy;
}
