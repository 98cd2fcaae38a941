/**
 * The operations of lib/token/operations.ts in double precision: plain loops, one after the other, no blocking.
 * Inputs are fp32 arrays or doubles; nothing is rounded below double precision.
 */
import { gelu } from './erf.js';

/** Any array of numbers the loops read. */
export type Numbers = Float64Array | Float32Array;

export interface LinearInput {
  input: Numbers;
  /** `[columns out, columns in]` */
  weight: Numbers;
  rows: number;
  inner: number;
  outer: number;
  bias?: Numbers | undefined;
  activation?: 'gelu' | undefined;
  residual?: Numbers | undefined;
}

/** `activation(input · weightᵀ + bias) + residual` */
export function linear(args: LinearInput): Float64Array {
  const { input, weight, rows, inner, outer, bias, activation, residual } = args;
  const output = new Float64Array(rows * outer);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outer; o++) {
      let sum = bias ? bias[o]! : 0;
      for (let k = 0; k < inner; k++) sum += input[r * inner + k]! * weight[o * inner + k]!;
      if (activation === 'gelu') sum = gelu(sum);
      output[r * outer + o] = sum + (residual ? residual[r * outer + o]! : 0);
    }
  }
  return output;
}

/** `(x - mean) / sqrt(variance + epsilon) · gain + shift` per row, population variance. */
export function layerNorm(
  input: Numbers,
  gain: Numbers,
  shift: Numbers,
  epsilon: number,
): Float64Array {
  const width = gain.length;
  const output = new Float64Array(input.length);
  for (let at = 0; at < input.length; at += width) {
    let mean = 0;
    for (let c = 0; c < width; c++) mean += input[at + c]! / width;
    let variance = 0;
    for (let c = 0; c < width; c++) variance += (input[at + c]! - mean) ** 2 / width;
    const inverse = 1 / Math.sqrt(variance + epsilon);
    for (let c = 0; c < width; c++)
      output[at + c] = (input[at + c]! - mean) * inverse * gain[c]! + shift[c]!;
  }
  return output;
}

export interface AttentionInput {
  heads: number;
  width: number;
  query: Numbers;
  key: Numbers;
  value: Numbers;
  sourceKey?: Numbers | undefined;
  sourceValue?: Numbers | undefined;
  queryOffsets: Int32Array;
  ownOffsets: Int32Array;
  sourceOffsets?: Int32Array | undefined;
  sourceIndex?: Int32Array | undefined;
}

/** One key row that a query sees: where it lies, and in which arrays. */
export interface VisibleKey {
  key: Numbers;
  value: Numbers;
  row: number;
}

/** The keys of sequence `s`: the rows of its source, then its own (eq. (7)). */
export function visibleKeys(args: AttentionInput, s: number): VisibleKey[] {
  const visible: VisibleKey[] = [];
  const source = args.sourceIndex ? args.sourceIndex[s]! : -1;
  if (source >= 0) {
    const { sourceKey: key, sourceValue: value, sourceOffsets: offsets } = args;
    for (let row = offsets![source]!; row < offsets![source + 1]!; row++)
      visible.push({ key: key!, value: value!, row });
  }
  const { key, value, ownOffsets } = args;
  for (let row = ownOffsets[s]!; row < ownOffsets[s + 1]!; row++) visible.push({ key, value, row });
  return visible;
}

/** Dynamic mixed attention: one softmax over the keys of the source and of the sequence itself. */
export function mixedAttention(args: AttentionInput): Float64Array {
  const { heads, width, query, queryOffsets } = args;
  const size = width / heads;
  const output = new Float64Array(query.length);
  for (let s = 0; s + 1 < queryOffsets.length; s++) {
    const visible = visibleKeys(args, s);
    for (let q = queryOffsets[s]!; q < queryOffsets[s + 1]!; q++) {
      for (let first = 0; first < width; first += size) {
        const scores = visible.map(({ key, row }) => {
          let dot = 0;
          for (let c = first; c < first + size; c++)
            dot += query[q * width + c]! * key[row * width + c]!;
          return dot / Math.sqrt(size);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        visible.forEach(({ value, row }, j) => {
          for (let c = first; c < first + size; c++)
            output[q * width + c]! += (weights[j]! / total) * value[row * width + c]!;
        });
      }
    }
  }
  return output;
}

/** `words[id] + positionTable[position]` */
export function embed(
  ids: Int32Array,
  positions: Int32Array,
  words: Numbers,
  positionTable: Numbers,
  width: number,
): Float64Array {
  const output = new Float64Array(ids.length * width);
  ids.forEach((id, r) => {
    for (let c = 0; c < width; c++)
      output[r * width + c] = words[id * width + c]! + positionTable[positions[r]! * width + c]!;
  });
  return output;
}

/** The mean of each sequence's rows. */
export function meanRows(input: Numbers, offsets: Int32Array, width: number): Float64Array {
  const output = new Float64Array((offsets.length - 1) * width);
  for (let s = 0; s + 1 < offsets.length; s++) {
    const count = offsets[s + 1]! - offsets[s]!;
    for (let row = offsets[s]!; row < offsets[s + 1]!; row++)
      for (let c = 0; c < width; c++) output[s * width + c]! += input[row * width + c]! / count;
  }
  return output;
}
