/** The options of an engine and of its calls. */
import type { Vocabulary } from './vocabulary.js';

export type Device =
  'auto' | 'cpu' | 'cuda' | `cuda:${number}` | `cuda:GPU-${string}` | `cuda:MIG-${string}`;
export type Precision = 'auto' | 'fp32' | 'bf16' | 'fp16' | 'int8' | 'fp8';
export type Logger = (level: 'info' | 'warn', message: string) => void;

export interface EngineOptions {
  /**
   * Default `'auto'`: what the environment variable MASK_PREDICT_DEVICE names, else a GPU, else the CPU. `'cuda'` is the
   * GPU with the most free memory of those this build can use, `'cuda:1'` that number, `'cuda:GPU-8f2a…'` the one whose
   * UUID begins so. A device that is named and not there is `ERR_DEVICE`.
   */
  device?: Device;
  /**
   * How weight matrices are kept. On the CPU `'auto'` (default) and `'fp32'` keep what the checkpoint has, `'bf16'`
   * and `'fp16'` narrow it; arithmetic is float32, but with `'bf16'` on a processor with AVX512-BF16 (the engine's
   * `instructionSet` is `'avx512bf16'`) each row of activations is rounded to bfloat16 before a product, whose sums stay
   * float32: 1.7 to 1.85 times as fast. `'int8'` rounds each output of a matrix to 255 steps, and in the
   * products each row of activations too; what is between the products stays float32, as does the length
   * predictor. A directory of {@link quantize} is int8 and takes `'auto'` or `'int8'` only. On a GPU `'auto'` is
   * `'bf16'`, for activations too, and `'fp32'` is for verification; `'int8'` and `'fp8'` (e4m3) narrow the matrices
   * to half of that, with a scale for each output, and leave activations bfloat16. One the device does not have is
   * `ERR_DEVICE`.
   */
  precision?: Precision;
  /**
   * The precision of the LM head's matrix alone, which in a small model is half of the work: `'int8'` beside a body in
   * float32 is most of int8's speed for less of its error. Default `'auto'`: as `precision` says. Where the head is tied
   * to the word embeddings, it is then in memory beside them. `'fp32'` and `'fp16'` are for the CPU, `'fp8'` for a GPU;
   * a directory of {@link quantize} takes `'auto'` or `'int8'`.
   */
  headPrecision?: Precision;
  /** 1 … 256. Default: as many processors as the process may use. */
  threads?: number;
  /**
   * Bytes for weights, caches and working memory together; what does not fit is `ERR_OUT_OF_MEMORY` before
   * it is tried. Default: what the machine has available at load.
   */
  memoryLimit?: number;
  /**
   * Answers only these ids, with a head of as many rows: faster, because the head is most of a small model's work.
   * Exact within the subset; what it changes in scores is said at {@link Vocabulary}. Default: all ids.
   */
  vocabulary?: Vocabulary;
  /**
   * Default `true`: a text comes out the same to the bit whatever else is in a call. `false` lets a GPU take
   * cuBLASLt for products of many rows, if the system has it and the precision is `'bf16'`: faster for large
   * batches, but the last bits then depend on the batch, and the layers' matrices take twice the memory. It makes
   * no difference on the CPU. The logger is told what came of it.
   */
  deterministic?: boolean;
  /** Called with 0 … 1 while the model loads. */
  onProgress?: (fraction: number) => void;
  /** Default: silent, but for one process warning where there is a GPU driver and `'auto'` could not take a GPU. */
  logger?: Logger;
  /** Aborts loading. */
  signal?: AbortSignal;
}

/**
 * The keys and values of its source that a target attends to, in every layer. `'dynamic'`: the source's keys and values
 * of that layer, dynamic mixed attention, eq. (7). `'mixed'`: keys and values that the layer's weights make of the
 * source's final states, plain mixed attention, eq. (6), which the paper compares with.
 */
export type TargetAttention = 'dynamic' | 'mixed';

export interface EngineLoadOptions extends EngineOptions {
  /**
   * Default: what the model was trained with, as its config.json says (`mask_predict_attention`, which {@link Trainer} writes);
   * without a word on it `'dynamic'`. The other one is for experiments: a model answers worse with what it was not trained
   * with. ModernBERT has `'dynamic'` only.
   */
  attention?: TargetAttention;
  /** The id of `<mask>`, for a config.json that does not have `mask_token_id`. */
  maskTokenId?: number;
  /**
   * Default `true`: files are mapped into memory; what {@link quantize} wrote is computed on where it is mapped, and
   * processes share its memory. Nobody may then change such a file in place: one that is made shorter ends the process
   * (SIGBUS). Replace it by renaming another one over it. `false` reads files into memory, for directories where that
   * cannot be ruled out; a file that was not quantized is then in memory beside what is made of it while it loads.
   */
  map?: boolean;
}

export interface EngineRandomOptions extends EngineOptions {
  /** Seed of the weights. Default 0. */
  seed?: number | bigint;
}

export interface SaveOptions extends CallOptions {
  /** Writes into a directory that has files already. Default false. */
  overwrite?: boolean;
}

export interface CallOptions {
  /** Rejects the call with the signal's reason; a running one stops between two layers. */
  signal?: AbortSignal;
}

export interface SourceOptions extends CallOptions {
  /**
   * True: the final states of the sources are computed and kept. Default `true`. Targets do not need them: `false`
   * saves most of the last layer's work and the memory of the states, and changes no bit of any target; but
   * `source.states()`, `source.lengthLogits` and `source.predictLengths()` are `ERR_INVALID_ARGUMENT` then. For targets
   * of a given length.
   */
  states?: boolean;
}

export interface SamplingOptions {
  /** The same seed gives the same text, in any batch. */
  seed: number | bigint;
}

export interface PredictOptions extends CallOptions {
  /** Draws tokens instead of taking the best; `iteration` (1 … `iterations`) sets the temperature. */
  sampling?: SamplingOptions & { iterations: number; iteration: number };
}

/**
 * When a text is good enough before its last pass: when a pass gives the tokens that the one before gave
 * (`'unchanged'`), or when all predicted tokens have at least a probability (above 0, up to 1).
 */
export type StopRule = 'unchanged' | { confidence: number };

/**
 * A bound on what is masked again after a pass: of the positions that Mask-Predict would mask, only those whose
 * probability is not above `below` (above 0, up to 1). Where there are none the text is finished, so it takes at most T
 * passes. With 1 it is Mask-Predict.
 */
export interface RemaskRule {
  below: number;
}

export interface RemaskOptions extends CallOptions {
  /**
   * A probability. Only positions whose score is not above it are masked again. Default 1: as many positions as
   * `counts` says.
   */
  below?: number;
}

export interface DecodeOptions extends CallOptions {
  /** Draws tokens instead of taking the best. */
  sampling?: SamplingOptions;
  /** Default: all passes that could change something. */
  stop?: StopRule;
  /** Default: all that Mask-Predict masks again. */
  remask?: RemaskRule;
}
