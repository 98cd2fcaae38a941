/**
 * From logits to tokens: log-probabilities over the real ids, which ids may be predicted, the best of them, and
 * which positions are masked again.
 */
import type { Numbers } from './ops.js';

/** `<s>`, `<pad>`, `</s>`, `<mask>` and ids beyond it are never predicted. */
export function allowed(id: number, maskTokenId: number): boolean {
  return id > 2 && id < maskTokenId;
}

/** log Σ exp over the real ids 0 … maskTokenId. */
export function logSumExp(logits: Numbers, maskTokenId: number): number {
  let largest = -Infinity;
  for (let id = 0; id <= maskTokenId; id++) largest = Math.max(largest, logits[id]!);
  let sum = 0;
  for (let id = 0; id <= maskTokenId; id++) sum += Math.exp(logits[id]! - largest);
  return largest + Math.log(sum);
}

export interface Prediction {
  id: number;
  logProb: number;
  logSumExp: number;
  /** By how much the best allowed logit exceeds the next allowed one. */
  margin: number;
}

/** The best allowed id of one row of logits `[vocabulary]`; a tie goes to the lower id. */
export function predictRow(logits: Numbers, maskTokenId: number): Prediction {
  let id = -1;
  let second = -Infinity;
  for (let i = 0; i <= maskTokenId; i++) {
    if (!allowed(i, maskTokenId)) continue;
    if (id < 0 || logits[i]! > logits[id]!) {
      if (id >= 0) second = logits[id]!;
      id = i;
    } else {
      second = Math.max(second, logits[i]!);
    }
  }
  const sum = logSumExp(logits, maskTokenId);
  return { id, logProb: logits[id]! - sum, logSumExp: sum, margin: logits[id]! - second };
}

/** How many of `count` positions are masked after iteration `t` of `iterations`. */
export function remaskCount(count: number, t: number, iterations: number): number {
  return Math.floor((count * (iterations - t)) / iterations);
}

/** The `count` maskable positions with the lowest scores, ties to the lower position: 1 where chosen. */
export function lowestScores(
  scores: Numbers,
  maskable: ArrayLike<number>,
  count: number,
): Uint8Array {
  const positions = Array.from(scores, (_, i) => i).filter((i) => maskable[i] === 1);
  positions.sort((a, b) => scores[a]! - scores[b]! || a - b);
  const chosen = new Uint8Array(scores.length);
  for (const position of positions.slice(0, count)) chosen[position] = 1;
  return chosen;
}
