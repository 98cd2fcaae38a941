/**
 * Sampling in double precision: the distribution after temperature and nucleus, and the counter-based generator
 * that picks from it (Philox4x32-10, Salmon et al. 2011).
 */
import type { Numbers } from './ops.js';
import { allowed } from './prediction.js';

/** Four words of counter and two of key to four random words. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter.map((word) => BigInt(word >>> 0)) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  let [k0, k1] = key.map((word) => BigInt(word >>> 0)) as [bigint, bigint];
  const low = (product: bigint) => product & 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const first = 0xd2511f53n * c0;
    const second = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [
      (second >> 32n) ^ c1 ^ k0,
      low(second),
      (first >> 32n) ^ c3 ^ k1,
      low(first),
    ];
    k0 = low(k0 + 0x9e3779b9n);
    k1 = low(k1 + 0xbb67ae85n);
  }
  return [Number(c0), Number(c1), Number(c2), Number(c3)];
}

export interface Candidate {
  id: number;
  /** Among all allowed ids, with temperature. */
  probability: number;
  /** Sum of the probabilities up to and including this one, best first. */
  cumulative: number;
}

/** All allowed ids, most probable first (ties to the lower id), with temperature. */
export function ranked(logits: Numbers, maskTokenId: number, temperature: number): Candidate[] {
  const ids = Array.from({ length: maskTokenId }, (_, id) => id).filter((id) =>
    allowed(id, maskTokenId),
  );
  ids.sort((a, b) => logits[b]! - logits[a]! || a - b);
  const weights = ids.map((id) => Math.exp((logits[id]! - logits[ids[0]!]!) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let cumulative = 0;
  return ids.map((id, i) => {
    const probability = weights[i]! / total;
    cumulative += probability;
    return { id, probability, cumulative };
  });
}

/** The smallest set of the most probable ids that holds at least `nucleus`. */
export function nucleusOf(candidates: readonly Candidate[], nucleus: number): Candidate[] {
  const last = candidates.findIndex(({ cumulative }) => cumulative >= nucleus);
  return candidates.slice(0, last < 0 ? candidates.length : last + 1);
}

/**
 * A number in [0, 1): the leading 53 of the 64 bits in the first two words that Philox makes of the counter (sequence,
 * position, iteration, 0) and the seed, low word first.
 */
export function uniformDraw(
  seed: bigint,
  sequence: number,
  position: number,
  iteration: number,
): number {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)] as const;
  const [high, low] = philox([sequence, position, iteration, 0], key);
  return (high * 2 ** 21 + Math.floor(low / 2 ** 11)) * 2 ** -53;
}

/**
 * The id that `uniform` picks: the kept ids in rising order, each as wide as its probability, fill [0, 1); also how
 * far `uniform` is from the nearer border between two of them.
 */
export function pick(kept: readonly Candidate[], uniform: number): { id: number; margin: number } {
  const total = kept.reduce((sum, { probability }) => sum + probability, 0);
  const rising = [...kept].sort((a, b) => a.id - b.id);
  let below = 0;
  for (const { id, probability } of rising) {
    const above = below + probability / total;
    const last = id === rising.at(-1)!.id;
    if (uniform < above || last) {
      const margin = Math.min(below === 0 ? 1 : uniform - below, last ? 1 : above - uniform);
      return { id, margin };
    }
    below = above;
  }
  throw new Error('nothing to pick from');
}
