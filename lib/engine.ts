/**
 * The token level: an {@link Engine} runs a model on one device, a {@link Source} is an instruction encoded
 * once, a {@link Target} a text being written over it. One Mask-Predict iteration (section 3.3 of the
 * paper) is `predict`, then `remask`, on any set of targets at once.
 *
 * Every length and id array here includes `<s>` (0) and `</s>` (2). Results are the same bits whatever
 * else is in a call and however many threads there are. Work runs on the engine's own threads, calls one
 * after the other in the order they were made.
 */
import type {
  Call,
  LoadOptions,
  NativeConfig,
  NativeEngine,
  NativeSource,
  NativeTarget,
  RandomArchitecture,
  SamplingParameters,
} from '../native/binding.cjs';
import { onAbort } from './abort.js';
import { invalidArgument } from './errors.js';
import { native } from './native.js';
import { checkFunction, checkOptions, checkSignal, integerOption, seedOption } from './options.js';

export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;
export type Precision = 'auto' | 'fp32' | 'bf16' | 'fp16' | 'int8';
export type Logger = (level: 'info' | 'warn', message: string) => void;

export interface EngineOptions {
  /**
   * Default `'auto'`: what the environment variable MASK_PREDICT_DEVICE names, else the best there is. A
   * device that is named and not there is `ERR_DEVICE`.
   */
  device?: Device;
  /**
   * How weight matrices are kept; arithmetic is float32 on the CPU. `'auto'` (default) and `'fp32'` keep
   * what the checkpoint has, `'bf16'` and `'fp16'` narrow it. One the device does not have is `ERR_DEVICE`.
   */
  precision?: Precision;
  /** 1 … 256. Default: as many processors as the process may use. */
  threads?: number;
  /**
   * Bytes for weights, caches and working memory together; what does not fit is `ERR_OUT_OF_MEMORY` before
   * it is tried. Default: what the machine has available at load.
   */
  memoryLimit?: number;
  /** Called with 0 … 1 while the model loads. */
  onProgress?: (fraction: number) => void;
  /** Default: silent, but for one process warning where `'auto'` could not take a GPU. */
  logger?: Logger;
  /** Aborts loading. */
  signal?: AbortSignal;
}

export interface EngineLoadOptions extends EngineOptions {
  /** The id of `<mask>`, for a config.json that does not have `mask_token_id`. */
  maskTokenId?: number;
}

export type ArchitectureName = 'xlm-r-base' | 'xlm-r-large' | 'xlm-r-xl' | 'xlm-r-xxl';

export interface Architecture {
  layers: number;
  hidden: number;
  /** Divides `hidden`. */
  heads: number;
  ffn: number;
  /** Rows of the embedding; the last one is `<mask>`. */
  vocab: number;
  /** LayerNorm before or after each block. Default `'post'`. */
  norm?: 'pre' | 'post';
  /** Rows of the position table; 2 more than ids per sequence. Default 514. */
  maxPositions?: number;
  /** Classes of the length predictor, 0 for none. Default 512. */
  lengths?: number;
}

export interface EngineRandomOptions extends EngineOptions {
  /** Seed of the weights. Default 0. */
  seed?: number | bigint;
}

export interface CallOptions {
  /** Rejects the call with the signal's reason; a running one stops between two layers. */
  signal?: AbortSignal;
}

export interface SamplingOptions {
  /** The same seed gives the same text, in any batch. */
  seed: number | bigint;
}

export interface PredictOptions extends CallOptions {
  /** Draws tokens instead of taking the best; `iteration` (1 … `iterations`) sets the temperature. */
  sampling?: SamplingOptions & { iterations: number; iteration: number };
}

export interface DecodeOptions extends CallOptions {
  /** Draws tokens instead of taking the best. */
  sampling?: SamplingOptions;
}

export type EngineConfig = NativeConfig;

const engineOptions = [
  'device',
  'precision',
  'threads',
  'memoryLimit',
  'onProgress',
  'logger',
  'signal',
];

const large = { vocab: 250002, norm: 'post', maxPositions: 514, lengths: 512 } as const;
const extraLarge = { vocab: 250880, norm: 'pre', maxPositions: 514, lengths: 512 } as const;
const architectures: Record<ArchitectureName, Required<Architecture>> = {
  'xlm-r-base': { layers: 12, hidden: 768, heads: 12, ffn: 3072, ...large },
  'xlm-r-large': { layers: 24, hidden: 1024, heads: 16, ffn: 4096, ...large },
  'xlm-r-xl': { layers: 36, hidden: 2560, heads: 32, ffn: 10240, ...extraLarge },
  'xlm-r-xxl': { layers: 48, hidden: 4096, heads: 32, ffn: 16384, ...extraLarge },
};
const architectureKeys = [
  'layers',
  'hidden',
  'heads',
  'ffn',
  'vocab',
  'norm',
  'maxPositions',
  'lengths',
];

let warnedOfFallback = false;

/** Every engine of a process falls back for the same reason: without a logger, one warning is enough. */
function warnOfFallback(cause: string, logger: Logger | undefined): void {
  const message = `no GPU is used: ${cause}; device: 'cpu' says so on purpose`;
  if (logger) {
    logger('warn', message);
  } else if (!warnedOfFallback) {
    warnedOfFallback = true;
    process.emitWarning(message, { type: 'MaskPredictWarning', code: 'MASK_PREDICT_FALLBACK' });
  }
}

/** An encoded source: made by {@link Engine.encode}, read by any number of targets. */
export class Source {
  readonly #source: NativeSource;

  /** @internal */
  constructor(source: NativeSource) {
    this.#source = source;
  }

  /** Ids, `<s>` and `</s>` included. */
  get length(): number {
    return this.#source.length;
  }

  /** Raw logits of the length classes, or null for a model without a length predictor. */
  get lengthLogits(): Float32Array<ArrayBuffer> | null {
    return this.#source.lengthLogits;
  }

  /** Final states after the last norm, `[length, hidden]`. */
  states(): Float32Array<ArrayBuffer> {
    return this.#source.states();
  }

  /**
   * The `count` most probable target lengths in ids, best first; log-probabilities over all classes.
   * `ERR_INVALID_ARGUMENT` for a model without a length predictor.
   */
  predictLengths(count = 1): { length: number; logProb: number }[] {
    return this.#source.predictLengths(count);
  }

  /**
   * A new target: with a length (3 ids or more), all inner positions masked; with ids, those that are
   * `<mask>` are to be predicted and the others stay (infilling). `sequence` is its number for sampling,
   * default 0: two targets of the same source and number draw the same text.
   */
  target(specification: number | Int32Array, options: { sequence?: number } = {}): Target {
    checkOptions('source.target()', options, ['sequence']);
    return new Target(this.#source.target(specification, options.sequence ?? 0));
  }

  /** Frees the cache. Its targets cannot be used any more. */
  dispose(): void {
    this.#source.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A text over a source, some of its positions `<mask>`: made by {@link Source.target}. */
export class Target {
  /** @internal */
  readonly native: NativeTarget;

  /** @internal */
  constructor(target: NativeTarget) {
    this.native = target;
  }

  /** Ids, `<s>` and `</s>` included. */
  get length(): number {
    return this.native.length;
  }

  /** The ids as they are now (a copy). */
  get tokens(): Int32Array<ArrayBuffer> {
    return this.native.tokens;
  }

  /** Log-probability of each token when it was predicted; 0 at the ends, given and masked positions. */
  get scores(): Float32Array<ArrayBuffer> {
    return this.native.scores;
  }

  /** 1 at the positions that are masked now. */
  get masked(): Uint8Array<ArrayBuffer> {
    return this.native.masked;
  }

  /** N: how many positions were masked at the start, and may be again. */
  get maskable(): number {
    return this.native.maskable;
  }

  dispose(): void {
    this.native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A model on a device. Close it when done: that frees its memory at once. */
export class Engine {
  readonly #native: NativeEngine;

  private constructor(engine: NativeEngine) {
    this.#native = engine;
  }

  /**
   * Loads `config.json` and `model.safetensors` (or the shards of `model.safetensors.index.json`) of a
   * directory: a masked-LM checkpoint of XLM-RoBERTa or XLM-RoBERTa-XL as Hugging Face writes it, F32, F16
   * or BF16, with or without `embed_length.weight`. `ERR_MODEL_FORMAT` names the file, tensor or field.
   */
  static async load(directory: string, options: EngineLoadOptions = {}): Promise<Engine> {
    checkOptions('Engine.load()', options, [...engineOptions, 'maskTokenId']);
    if (typeof directory !== 'string')
      throw invalidArgument('the model directory must be a string');
    const maskTokenId = integerOption('maskTokenId', options.maskTokenId, -1, 4, 2 ** 24);
    return Engine.#start(directory, options, maskTokenId);
  }

  /** An engine with weights drawn from a seed, for benchmarks: the speed of a model without its files. */
  static async random(
    architecture: ArchitectureName | Architecture,
    options: EngineRandomOptions = {},
  ): Promise<Engine> {
    checkOptions('Engine.random()', options, [...engineOptions, 'seed']);
    let shape: Architecture | undefined;
    if (typeof architecture === 'string') {
      shape = Object.hasOwn(architectures, architecture) ? architectures[architecture] : undefined;
      if (!shape) {
        const names = Object.keys(architectures).join(', ');
        throw invalidArgument(`there is no architecture '${architecture}'; there are ${names}`);
      }
    } else {
      checkOptions('the architecture of Engine.random()', architecture, architectureKeys);
      shape = architecture;
    }
    const full: RandomArchitecture = {
      layers: shape.layers,
      hidden: shape.hidden,
      heads: shape.heads,
      ffn: shape.ffn,
      vocab: shape.vocab,
      norm: shape.norm ?? 'post',
      maxPositions: shape.maxPositions ?? 514,
      lengths: shape.lengths ?? 512,
      // The padded vocabulary of XL and XXL has rows that stand for no piece.
      maskTokenId: shape.vocab === extraLarge.vocab ? large.vocab - 1 : shape.vocab - 1,
      seed: seedOption('seed', options.seed ?? 0),
    };
    return Engine.#start(full, options, -1);
  }

  static async #start(
    model: string | RandomArchitecture,
    options: EngineOptions,
    maskTokenId: number,
  ): Promise<Engine> {
    const { onProgress, logger, signal } = options;
    checkSignal(signal);
    checkFunction('onProgress', onProgress);
    checkFunction('logger', logger);
    signal?.throwIfAborted();
    const load: LoadOptions = {
      device: options.device ?? 'auto',
      precision: options.precision ?? 'auto',
      threads: integerOption('threads', options.threads, 0, 1, 256),
      memoryLimit: integerOption('memoryLimit', options.memoryLimit, 0, 1, Number.MAX_SAFE_INTEGER),
      maskTokenId,
    };
    const begun = performance.now();
    let failure: { error: unknown } | undefined;
    const report = (fraction: number) => {
      try {
        onProgress?.(fraction);
      } catch (error) {
        failure ??= { error };
        void engine.close();
      }
    };
    const engine = new native.NativeEngine(model, load, onProgress ? report : null);
    const forget = onAbort(signal, () => void engine.close());
    try {
      await engine.ready;
      signal?.throwIfAborted();
      if (failure) throw failure.error;
    } catch (error) {
      await engine.close();
      signal?.throwIfAborted();
      throw failure ? failure.error : error;
    } finally {
      forget();
    }
    if (engine.fallback) warnOfFallback(engine.fallback, logger);
    const name = typeof model === 'string' ? model : `a random ${engine.config.modelType}`;
    const megabytes = Math.round(engine.memory().weights / 2 ** 20);
    logger?.(
      'info',
      `loaded ${name} in ${Math.round(performance.now() - begun)} ms: ${megabytes} MiB of ${engine.precision} ` +
        `on ${engine.device}` +
        (engine.instructionSet && ` (${engine.instructionSet}, ${engine.threads} threads)`),
    );
    return new Engine(engine);
  }

  /** Sizes of the model. */
  get config(): EngineConfig {
    return this.#native.config;
  }

  /** The device in use, e.g. `'cpu'`. */
  get device(): string {
    return this.#native.device;
  }

  /** How the weight matrices are kept: `'fp32'`, `'fp16'` or `'bf16'`. */
  get precision(): string {
    return this.#native.precision;
  }

  /** `'avx512'`, `'avx2'` or `'portable'`; empty on a GPU. */
  get instructionSet(): string {
    return this.#native.instructionSet;
  }

  get threads(): number {
    return this.#native.threads;
  }

  get maskTokenId(): number {
    return this.#native.config.maskTokenId;
  }

  /** Bytes in use by the weights, by caches and working memory, and allowed in all. */
  memory(): { weights: number; working: number; limit: number } {
    return this.#native.memory();
  }

  /** Encodes sources, each from its ids (2 … `maxPositions - 2`). */
  async encode(sources: Int32Array[], options: CallOptions = {}): Promise<Source[]> {
    const encoded = await this.#run(
      'encode()',
      options,
      [],
      () => this.#native.encode(sources),
      (unwanted) => unwanted.forEach((source) => source.dispose()),
    );
    return encoded.map((source) => new Source(source));
  }

  /** Fills every masked position with its best allowed token and that token's log-probability. */
  async predict(targets: Target[], options: PredictOptions = {}): Promise<void> {
    const sampling = this.#sampling(options.sampling);
    await this.#run('predict()', options, ['sampling'], () =>
      this.#native.predict(natives(targets), sampling),
    );
  }

  /**
   * Masks again the `counts[i]` positions of target `i` with the lowest scores, among those that were
   * masked at the start; a tie goes to the lower position. No position may be masked before.
   */
  async remask(targets: Target[], counts: number[], options: CallOptions = {}): Promise<void> {
    await this.#run('remask()', options, [], () => this.#native.remask(natives(targets), counts));
  }

  /**
   * All iterations in one call: `predict`, then `remask` with n = floor(N·(T-t)/T), T times; the same bits
   * as that loop. A target of which nothing is left to mask stops. Returns the passes each target took.
   */
  async decode(
    targets: Target[],
    iterations: number,
    options: DecodeOptions = {},
  ): Promise<number[]> {
    const sampling = this.#sampling(
      options.sampling && { ...options.sampling, iterations, iteration: 1 },
    );
    const passes = await this.#run('decode()', options, ['sampling'], () =>
      this.#native.decode(natives(targets), iterations, sampling),
    );
    return [...passes];
  }

  /** Raw logits `[length, vocabulary]` of each target, before bans, padded columns included. */
  logits(targets: Target[], options: CallOptions = {}): Promise<Float32Array<ArrayBuffer>[]> {
    return this.#run('logits()', options, [], () => this.#native.logits(natives(targets)));
  }

  /** Final states `[length, hidden]` of each target. */
  states(targets: Target[], options: CallOptions = {}): Promise<Float32Array<ArrayBuffer>[]> {
    return this.#run('states()', options, [], () => this.#native.states(natives(targets)));
  }

  /**
   * For each target and each of its candidates (ids `[length]`): the log-probability of the candidate's id
   * at every masked position, 0 at the others. One pass, however many candidates.
   */
  logProbs(
    targets: Target[],
    candidates: Int32Array[][],
    options: CallOptions = {},
  ): Promise<Float32Array<ArrayBuffer>[][]> {
    return this.#run('logProbs()', options, [], () =>
      this.#native.logProbs(natives(targets), candidates),
    );
  }

  /**
   * Frees everything at once. Calls in flight reject with `ERR_DISPOSED`, as does every use afterwards.
   * May be called again.
   */
  close(): Promise<void> {
    return this.#native.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run<T>(
    name: string,
    options: CallOptions,
    more: string[],
    start: () => Call<T>,
    discard?: (result: T) => void,
  ): Promise<T> {
    checkOptions(`engine.${name}`, options, ['signal', ...more]);
    const { signal } = options;
    checkSignal(signal);
    signal?.throwIfAborted();
    const call = start();
    const forget = onAbort(signal, () => this.#native.cancel(call.id));
    try {
      const result = await call.promise;
      if (signal?.aborted) discard?.(result);
      signal?.throwIfAborted();
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      forget();
    }
  }

  #sampling(
    sampling: (SamplingOptions & { iterations: number; iteration: number }) | undefined,
  ): SamplingParameters | null {
    if (sampling === undefined) return null;
    checkOptions('sampling', sampling, ['seed', 'iterations', 'iteration']);
    return { ...sampling, seed: seedOption('sampling.seed', sampling.seed) };
  }
}

function natives(targets: Target[]): NativeTarget[] {
  if (!Array.isArray(targets)) throw invalidArgument('targets must be an array');
  return targets.map((target, index) => {
    if (!(target instanceof Target)) throw invalidArgument(`target ${index} is not a target`);
    return target.native;
  });
}
