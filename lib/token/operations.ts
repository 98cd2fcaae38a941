/**
 * The engine's operations one by one, on typed arrays: for microbenchmarks and tests.
 *
 * Everything is packed rows `[rows, width]` in row-major order; sequences of different lengths lie one
 * behind the other and an offsets array (`count + 1` entries, first 0, last the number of rows) says
 * where each begins. There is no padding and no mask. Calls are synchronous.
 */
import { native, ofThisRealm } from './native.js';

export interface OperationOptions {
  /** Default: what the environment variable MASK_PREDICT_DEVICE names, else `'cpu'`. */
  device?: 'cpu' | 'cuda' | `cuda:${string}`;
  /**
   * On a GPU, how activations are kept and what weights must be: `'fp32'` (default), for verification, or
   * `'bf16'`, which `'int8'` and `'fp8'` mean too. For {@link packWeight} the last two narrow the weights. On the
   * CPU activations are float32 and weights bring their own type; with `'bf16'`, which needs the instruction set
   * `'avx512bf16'`, products of weights in bfloat16 round their input to bfloat16, and {@link mixedAttention} all it
   * multiplies. {@link packWeight} takes `'int8'` there.
   */
  precision?: 'fp32' | 'bf16' | 'int8' | 'fp8';
  /** On the CPU. Default: the best one this machine has. A set it does not have is `ERR_DEVICE`. */
  instructionSet?: 'avx512bf16' | 'avx512vnni' | 'avx512' | 'avxvnni' | 'avx2' | 'portable';
  /** Threads to use on the CPU, 1 … 256. Default 1. Results do not depend on it. */
  threads?: number;
}

/** A weight matrix `[rows, columns]` in the layout the kernels read. Made by {@link packWeight}. */
export interface PackedWeight {
  readonly rows: number;
  readonly columns: number;
  readonly type: 'fp32' | 'fp16' | 'bf16' | 'int8' | 'fp8';
  /** Bytes it occupies. */
  readonly bytes: number;
}

/**
 * Packs a weight matrix `[rows, columns]` (`[out, in]` for {@link linear}) into panels of 16 rows.
 * `values` is a `Float32Array` for `'fp32'` and a `Uint16Array` of bit patterns for the 16-bit types;
 * the stored precision is kept, unless `options.precision` is `'int8'`: then each row becomes bytes from -127 to 127
 * times its largest magnitude / 127, and on the CPU so does each row of activations that is multiplied by it; or on a
 * GPU `'fp8'`: bytes of e4m3, times its largest magnitude / 448. For a GPU the order is another one: `options` names
 * the device.
 */
export function packWeight(
  values: Float32Array | Uint16Array,
  type: Exclude<PackedWeight['type'], 'int8' | 'fp8'>,
  rows: number,
  columns: number,
  options: OperationOptions = {},
): PackedWeight {
  return native.operations.packWeight(values, type, rows, columns, options) as PackedWeight;
}

export interface LinearArguments {
  /** `[rows, weight.columns]` */
  input: Float32Array;
  weight: PackedWeight;
  /** `[weight.rows]` */
  bias?: Float32Array;
  /** `'gelu'` is the exact erf form, after the bias. */
  activation?: 'gelu';
  /** `[rows, weight.rows]`, added last. */
  residual?: Float32Array;
  /** Where the result goes, `[rows, weight.rows]`; not `input`, may be `residual`; a new array if left out. */
  output?: Float32Array;
}

/** `activation(input · weightᵀ + bias) + residual`, `[rows, weight.rows]`. */
export function linear(args: LinearArguments, options: OperationOptions = {}): Float32Array {
  return ofThisRealm(native.operations.linear(args, options));
}

/**
 * Which row of the stacked matrices `[u; g]`, `rows` together, is each row of a gated weight: 24 of u, then 24 of g, and
 * so on, the last ones fewer.
 */
export function gatedRows(rows: number): number[] {
  const half = rows / 2;
  const order: number[] = [];
  for (let first = 0; first < half; first += 24) {
    const count = Math.min(24, half - first);
    const group = Array.from({ length: count }, (_, i) => first + i);
    order.push(...group, ...group.map((row) => half + row));
  }
  return order;
}

/**
 * A gated feed-forward, on the CPU: `gelu(input · uᵀ) · (input · gᵀ)`, `[rows, weight.rows / 2]`. The weight has the rows
 * of u and g in the order of {@link gatedRows}.
 */
export function gatedLinear(
  args: { input: Float32Array; weight: PackedWeight },
  options: OperationOptions = {},
): Float32Array {
  return ofThisRealm(native.operations.linear({ ...args, activation: 'gate' }, options));
}

export interface LinearPairArguments {
  /** `[rows, firstWeight.columns]` */
  input: Float32Array;
  firstWeight: PackedWeight;
  /** `[firstWeight.rows]` */
  firstBias?: Float32Array;
  /** As many columns as `firstWeight` has, of the same type. */
  secondWeight: PackedWeight;
  /** `[secondWeight.rows]` */
  secondBias?: Float32Array;
}

/**
 * Two products of the same rows, as {@link linear} gives them, bit by bit: `input · weightᵀ + bias` of either weight,
 * `[rows, weight.rows]`. A layer's keys and values are made so beside its queries; on a GPU it is one launch.
 */
export function linearPair(
  args: LinearPairArguments,
  options: OperationOptions = {},
): { first: Float32Array; second: Float32Array } {
  return ofThisRealm(native.operations.linearPair(args, options));
}

export interface LinearNormArguments {
  /** `[rows, weight.columns]` */
  input: Float32Array;
  weight: PackedWeight;
  /** `[weight.rows]`. On the CPU it may be left out. */
  bias?: Float32Array;
  /** `[rows, weight.rows]`: the residual stream. It is not changed. */
  states: Float32Array;
  /** Where the model has its LayerNorm: before a block (XL, XXL) or after it (base, large). */
  placement: 'pre' | 'post';
  /** `[weight.rows]` */
  gain: Float32Array;
  /** `[weight.rows]`. On the CPU it may be left out. */
  shift?: Float32Array;
  epsilon: number;
}

/**
 * The end of a block: with sum = states + input · weightᵀ + bias, `'pre'` gives `states` = sum, and `normed` = the
 * LayerNorm of it, which the next block reads; `'post'` gives the LayerNorm of sum as both. Both are `[rows, weight.rows]`.
 */
export function linearNorm(
  args: LinearNormArguments,
  options: OperationOptions = {},
): { states: Float32Array; normed: Float32Array } {
  return ofThisRealm(native.operations.linearNorm(args, options));
}

export interface MixedAttentionArguments {
  heads: number;
  /** `[query rows, width]`, width = heads × head size. */
  query: Float32Array;
  /** `[own rows, width]`: keys and values of the sequences themselves. */
  key: Float32Array;
  value: Float32Array;
  /** `[source rows, width]`: keys and values of the cached sources; needed where a `sourceIndex` is not -1. */
  sourceKey?: Float32Array;
  sourceValue?: Float32Array;
  /** Rows of each sequence in `query`, `[sequences + 1]`. */
  queryOffsets: Int32Array;
  /** Rows of each sequence in `key` and `value`, `[sequences + 1]`. */
  ownOffsets: Int32Array;
  /** Rows of each source in `sourceKey` and `sourceValue`, `[sources + 1]`. */
  sourceOffsets?: Int32Array;
  /** The source each sequence sees besides itself, -1 for none; default: none. */
  sourceIndex?: Int32Array;
  /** On the CPU: a query sees only keys at most that far from it. Default: all. */
  window?: number;
  /**
   * With a window, the key at which each query row stands, counted over the keys of its source and then its own; rising
   * in each sequence.
   */
  queryKeys?: Int32Array;
}

/**
 * Dynamic mixed attention, eq. (7): every query row attends to all rows of its source and all rows of its own sequence,
 * in one softmax over both, scores scaled by `1/sqrt(head size)`. `[query rows, width]`.
 */
export function mixedAttention(
  args: MixedAttentionArguments,
  options: OperationOptions = {},
): Float32Array {
  return ofThisRealm(native.operations.mixedAttention(args, options));
}

export interface EmbedArguments {
  /** `[rows]`, each below `words.rows`. */
  ids: Int32Array;
  /** `[rows]`, rows of `positionTable`. */
  positions: Int32Array;
  /** `[vocabulary, width]` */
  words: PackedWeight;
  /** `[positions, width]` */
  positionTable: Float32Array;
}

/** `words[id] + positionTable[position]`, `[rows, width]`. (Token type 0 is part of `positionTable`.) */
export function embed(args: EmbedArguments, options: OperationOptions = {}): Float32Array {
  return ofThisRealm(native.operations.embed(args, options));
}

export interface LayerNormArguments {
  /** `[rows, width]`, width = gain.length. */
  input: Float32Array;
  gain: Float32Array;
  /** On the CPU it may be left out. */
  shift?: Float32Array;
  epsilon: number;
}

/** `(x - mean) / sqrt(variance + epsilon) · gain + shift` per row, population variance. */
export function layerNorm(args: LayerNormArguments, options: OperationOptions = {}): Float32Array {
  return ofThisRealm(native.operations.layerNorm(args, options));
}

export interface RotateArguments {
  /** `[rows, heads × headSize]` */
  input: Float32Array;
  heads: number;
  /** Even. */
  headSize: number;
  /** `[rows]`, 0 or more. */
  positions: Int32Array;
  theta: number;
}

/**
 * Rotary positions, on the CPU: the elements j and j + headSize / 2 of each head are a pair, turned by the angle
 * position · theta^(-2j / headSize). `[rows, heads × headSize]`.
 */
export function rotate(args: RotateArguments, options: OperationOptions = {}): Float32Array {
  return ofThisRealm(native.operations.rotate(args, options));
}

/** The mean of each sequence's rows: `[sequences, width]`. */
export function meanRows(
  args: { input: Float32Array; offsets: Int32Array; width: number },
  options: OperationOptions = {},
): Float32Array {
  return ofThisRealm(native.operations.meanRows(args, options));
}

/** The rows of `input` that `index` names, in its order: `[index.length, width]`. */
export function gatherRows(
  args: { input: Float32Array; index: Int32Array; width: number },
  options: OperationOptions = {},
): Float32Array {
  return ofThisRealm(native.operations.gatherRows(args, options));
}

export interface LmHeadArguments {
  /** `[rows, width]`: states after the head's dense layer, GELU and LayerNorm. */
  states: Float32Array;
  /** `[vocabulary, width]` */
  weight: PackedWeight;
  /** `[vocabulary]` */
  bias: Float32Array;
  /** Real ids are 0 … maskTokenId; later rows of `weight` take no part in anything. */
  maskTokenId: number;
}

/**
 * The best allowed id of every row, its log-probability, and the log-sum-exp over all real ids. `<s>`,
 * `<pad>`, `</s>` and `<mask>` are never the answer but stay in the sum; a tie goes to the lower id.
 * Logits are never stored. A row in which no allowed logit is a number gets id -1.
 */
export function lmHeadArgmax(
  args: LmHeadArguments,
  options: OperationOptions = {},
): { ids: Int32Array; logProbs: Float32Array; logSumExp: Float32Array } {
  return ofThisRealm(native.operations.lmHeadArgmax(args, options));
}

/** The logit of `ids[i]` in row `rows[i]` of `states`: `[ids.length]`. */
export function logitsAt(
  args: {
    states: Float32Array;
    weight: PackedWeight;
    bias: Float32Array;
    rows: Int32Array;
    ids: Int32Array;
  },
  options: OperationOptions = {},
): Float32Array {
  return ofThisRealm(native.operations.logitsAt(args, options));
}

export interface FillMasksArguments {
  /** `[rows]`, not changed. */
  tokens: Int32Array;
  scores: Float32Array;
  /** The rows that are masked, each once, in any order. */
  maskedRows: Int32Array;
  /** The prediction for each of `maskedRows`; -1, where no logit was a number, becomes `<unk>`, id 3. */
  ids: Int32Array;
  /** Its log-probability. */
  logProbs: Float32Array;
}

/**
 * The prediction step of Mask-Predict (section 3.3): writes `ids` and `logProbs` into the masked rows. Returns copies;
 * all other rows stay.
 */
export function fillMasks(
  args: FillMasksArguments,
  options: OperationOptions = {},
): { tokens: Int32Array; scores: Float32Array } {
  return ofThisRealm(native.operations.fillMasks(args, options));
}

export interface RemaskArguments {
  /** `[rows]`, not changed. */
  tokens: Int32Array;
  scores: Float32Array;
  /** `[rows]`, 1 where a position may be masked again. */
  maskable: Uint8Array;
  /** Rows of each sequence, `[sequences + 1]`. */
  offsets: Int32Array;
  /** How many positions of each sequence to mask, at most its maskable ones: `[sequences]`. */
  counts: Int32Array;
  maskTokenId: number;
}

/**
 * The end of an iteration of Mask-Predict (section 3.3): masks again the `counts[i]` maskable positions of sequence `i`
 * with the lowest scores; a tie goes to the lower position. Their scores become 0. Returns copies, and which positions
 * were chosen.
 */
export function remask(
  args: RemaskArguments,
  options: OperationOptions = {},
): { tokens: Int32Array; scores: Float32Array; masked: Uint8Array } {
  return ofThisRealm(native.operations.remask(args, options));
}

export interface SampleArguments {
  /** `[rows, vocabulary]` raw logits. */
  logits: Float32Array;
  vocabulary: number;
  maskTokenId: number;
  /** Above 0; logits are divided by it. */
  temperature: number;
  /** The smallest set of allowed ids with at least this probability is kept, 0 < nucleus ≤ 1. */
  nucleus: number;
  seed: bigint;
  /** Counters of the generator: which sequence and position each row is, and the iteration. */
  sequences: Int32Array;
  positions: Int32Array;
  iteration: number;
}

/**
 * Draws one allowed id per row: temperature, then nucleus (ties to the lower id), then a uniform number
 * u, the id being the first in rising order at which the kept probability passes u. u is the top 53 bits of
 * words 0 and 1 of Philox4x32-10 with the seed's low 64 bits as key (low word first) and the counter
 * (sequence, position, iteration, 0). `logProbs` are without temperature, over all real ids. A row that
 * holds a NaN gets id -1.
 */
export function sample(
  args: SampleArguments,
  options: OperationOptions = {},
): { ids: Int32Array; logProbs: Float32Array } {
  return ofThisRealm(native.operations.sample(args, options));
}
