/**
 * The token level: an {@link Engine} runs a model on one device, a {@link Source} is an instruction encoded
 * once, a {@link Target} a text being written over it. One Mask-Predict iteration (section 3.3 of the
 * paper) is `predict`, then `remask`, on any set of targets at once.
 *
 * Every length and id array here includes `<s>` (0) and `</s>` (2). Results are the same bits whatever
 * else is in a call and however many threads there are, unless `deterministic: false` is asked for. Work runs on the engine's own threads, calls one
 * after the other in the order they were made.
 */
import type {
  Call,
  LoadOptions,
  NativeAnswer,
  NativeEngine,
  NativeReading,
  RandomArchitecture,
  SamplingParameters,
} from '../../native/binding.cjs';
import { join } from 'node:path';
import { onAbort } from '../abort.js';
import { readAddedTokens } from './added-tokens.js';
import { randomArchitecture, type Architecture, type ArchitectureName } from './architectures.js';
import type { EngineConfig } from './engine-config.js';
import type {
  CallOptions,
  DecodeOptions,
  EngineLoadOptions,
  EngineOptions,
  EngineRandomOptions,
  Logger,
  PredictOptions,
  RemaskOptions,
  SamplingOptions,
  SaveOptions,
  SourceOptions,
} from './engine-options.js';
import { invalidArgument, withCaller } from '../errors.js';
import { directoryPath } from './directory-path.js';
import { native, ofThisRealm } from './native.js';
import {
  booleanOption,
  checkFunction,
  checkOptions,
  attentionOption,
  checkSignal,
  integerOption,
  seedOption,
  remaskOption,
  stopOption,
} from '../options.js';
import {
  countOption,
  embedding,
  filledMasks,
  normalizeOption,
  poolingOption,
  type EmbedOptions,
  type FilledMask,
  type FillMaskOptions,
} from './readings.js';
import { checkFree, writeConfig } from './saved-model.js';
import { nativeTargets, Source, Target } from './sequences.js';
import { allowedIds } from './vocabulary.js';

const engineOptions = [
  'device',
  'precision',
  'headPrecision',
  'threads',
  'memoryLimit',
  'vocabulary',
  'deterministic',
  'onProgress',
  'logger',
  'signal',
];
/** @internal Of {@link Engine.load}. */
export const loadOptions = [...engineOptions, 'maskTokenId', 'map', 'attention'];

/** @internal The precision of an engine's matrices, in words: `'fp32'`, or `'fp32, the head int8'`. */
export function keptAs({
  precision,
  headPrecision,
}: Pick<NativeEngine, 'precision' | 'headPrecision'>): string {
  return headPrecision === precision ? precision : `${precision}, the head ${headPrecision}`;
}

let warnedOfFallback = false;

/** Every engine of a process falls back for the same reason: without a logger, one warning is enough. */
function warnOfFallback({ device, fallback }: NativeEngine, logger: Logger | undefined): void {
  const message =
    device === 'cpu'
      ? `no GPU is used: ${fallback}; device: 'cpu' says so on purpose`
      : `${device} is used instead of a better GPU: ${fallback}`;
  if (logger) {
    logger('warn', message);
  } else if (!warnedOfFallback) {
    warnedOfFallback = true;
    process.emitWarning(message, { type: 'MaskPredictWarning', code: 'MASK_PREDICT_FALLBACK' });
  }
}

/** A model on a device. Close it when done: that frees its memory at once. */
export class Engine {
  readonly #native: NativeEngine;

  private constructor(engine: NativeEngine) {
    this.#native = engine;
  }

  /** @internal The addon's engine behind it, for the scheduler of the text level. */
  static native(engine: Engine): NativeEngine {
    return engine.#native;
  }

  /**
   * Loads `config.json` and the weights of a directory (a path or a `file:` URL), the first that is there of
   * `model.safetensors`, `model.safetensors.index.json` with its shards, `pytorch_model.bin` and
   * `pytorch_model.bin.index.json`: a masked-LM checkpoint of XLM-RoBERTa or XLM-RoBERTa-XL as Hugging Face writes it, F32, F16
   * or BF16, with or without `embed_length.weight`. Ids of added tokens (`added_tokens.json`, `tokenizer_config.json`,
   * `tokenizer.json`) may stand in sources, and are never answered. `ERR_MODEL_FORMAT` names the file, tensor or field.
   */
  static async load(directory: string | URL, options: EngineLoadOptions = {}): Promise<Engine> {
    checkOptions('Engine.load()', options, loadOptions);
    const path = directoryPath(directory);
    const maskTokenId = integerOption('maskTokenId', options.maskTokenId, -1, 4, 2 ** 24);
    const map = booleanOption('map', options.map, true);
    const attention = attentionOption(options.attention);
    const addedIds = Int32Array.from(readAddedTokens(path), ({ id }) => id);
    return Engine.#start(path, options, { maskTokenId, map, attention, addedIds });
  }

  /** An engine with weights drawn from a seed, for benchmarks: the speed of a model without its files. */
  static async random(
    architecture: ArchitectureName | Architecture,
    options: EngineRandomOptions = {},
  ): Promise<Engine> {
    checkOptions('Engine.random()', options, [...engineOptions, 'seed']);
    const full = randomArchitecture(architecture, seedOption('seed', options.seed ?? 0));
    const none = { maskTokenId: -1, map: true, attention: null, addedIds: new Int32Array() };
    return Engine.#start(full, options, none);
  }

  static async #start(
    model: string | RandomArchitecture,
    options: EngineOptions,
    files: Pick<LoadOptions, 'maskTokenId' | 'map' | 'attention' | 'addedIds'>,
  ): Promise<Engine> {
    const { onProgress, logger, signal } = options;
    checkSignal(signal);
    checkFunction('onProgress', onProgress);
    checkFunction('logger', logger);
    const deterministic = booleanOption('deterministic', options.deterministic, true);
    signal?.throwIfAborted();
    const load: LoadOptions = {
      device: options.device ?? 'auto',
      precision: options.precision ?? 'auto',
      headPrecision: options.headPrecision ?? 'auto',
      threads: integerOption('threads', options.threads, 0, 1, 256),
      memoryLimit: integerOption('memoryLimit', options.memoryLimit, 0, 1, Number.MAX_SAFE_INTEGER),
      ...files,
      allowedIds: options.vocabulary === undefined ? null : allowedIds(options.vocabulary),
      deterministic,
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
      throw failure ? failure.error : withCaller(error);
    } finally {
      forget();
    }
    if (engine.fallback) warnOfFallback(engine, logger);
    const name = typeof model === 'string' ? model : `a random ${engine.config.modelType}`;
    const megabytes = Math.round(engine.memory().weights / 2 ** 20);
    logger?.(
      'info',
      `loaded ${name} in ${Math.round(performance.now() - begun)} ms: ${megabytes} MiB of ${keptAs(engine)} ` +
        `on ${engine.device}` +
        (engine.instructionSet && ` (${engine.instructionSet}, ${engine.threads} threads)`),
    );
    if (engine.note) logger?.('info', engine.note);
    return new Engine(engine);
  }

  /** Sizes of the model. */
  get config(): EngineConfig {
    return ofThisRealm(this.#native.config);
  }

  /** The device in use, e.g. `'cpu'`. */
  get device(): string {
    return this.#native.device;
  }

  /** How the weight matrices are kept: `'fp32'`, `'fp16'`, `'bf16'`, `'int8'` or `'fp8'`. */
  get precision(): string {
    return this.#native.precision;
  }

  /** Likewise that of the LM head. */
  get headPrecision(): string {
    return this.#native.headPrecision;
  }

  /** `'avx512bf16'`, `'avx512vnni'`, `'avx512'`, `'avxvnni'`, `'avx2'` or `'portable'`; empty on a GPU. */
  get instructionSet(): string {
    return this.#native.instructionSet;
  }

  get threads(): number {
    return this.#native.threads;
  }

  get maskTokenId(): number {
    return this.#native.config.maskTokenId;
  }

  /**
   * Bytes in use by the weights, by caches and working memory, allowed in all, and what an id of a source takes, with
   * and without its final states. On a GPU up to 1 GiB of the caches of disposed sources counts as working memory: it is
   * kept for the next ones, until it is needed.
   */
  memory(): {
    weights: number;
    working: number;
    limit: number;
    perSourceId: number;
    perSourceIdWithoutStates: number;
  } {
    return ofThisRealm(this.#native.memory());
  }

  /**
   * Encodes sources, each from its ids (2 … `maxPositions - 2`). With `states: false` for targets alone, which saves most
   * of the last layer.
   */
  async encode(sources: Int32Array[], options: SourceOptions = {}): Promise<Source[]> {
    const encoded = await this.#run(
      'encode()',
      options,
      ['states'],
      () => this.#native.encode(sources, booleanOption('states', options.states, true)),
      (unwanted) => unwanted.forEach((source) => source.dispose()),
    );
    return encoded.map((source) => Source.of(source));
  }

  /**
   * The most probable ids at every `<mask>` of sequences that see only themselves, as every XLM-R was trained: for each
   * source one entry for each `<mask>`. Answers come from the engine's `vocabulary`, never `<s>`, `<pad>`, `</s>` or
   * `<mask>`. Nothing is kept of the sources. `ERR_INVALID_ARGUMENT` for a model without a language-model head.
   */
  async fillMask(sources: Int32Array[], options: FillMaskOptions = {}): Promise<FilledMask[][]> {
    const { count, ...call } = checked('fillMask()', options, ['count']);
    const reading: NativeReading = { kind: 'best', count: countOption(count) };
    return (await this.#read('fillMask()', sources, reading, call)).map(filledMasks);
  }

  /** One embedding `[hidden]` of each source, made of its final states. Nothing else is kept of the sources. */
  async embed(sources: Int32Array[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const { pooling, normalize, ...call } = checked('embed()', options, ['pooling', 'normalize']);
    const reading: NativeReading = { kind: poolingOption(pooling, 'mean') };
    const scaled = normalizeOption(normalize, false);
    const answers = await this.#read('embed()', sources, reading, call);
    return answers.map((answer) => embedding(answer, scaled));
  }

  /**
   * Raw logits `[classes]` of each source: a sequence classifier's (`XLMRobertaForSequenceClassification`).
   * `ERR_INVALID_ARGUMENT` for a model without one.
   */
  async classify(sources: Int32Array[], options: CallOptions = {}): Promise<Float32Array[]> {
    const answers = await this.#read('classify()', sources, { kind: 'classes' }, options);
    return answers.map(({ values }) => values);
  }

  /**
   * Raw logits `[length, classes]` of the ids of each source: a token classifier's
   * (`XLMRobertaForTokenClassification`). `ERR_INVALID_ARGUMENT` for a model without one.
   */
  async classifyTokens(sources: Int32Array[], options: CallOptions = {}): Promise<Float32Array[]> {
    const answers = await this.#read('classifyTokens()', sources, { kind: 'tokens' }, options);
    return answers.map(({ values }) => values);
  }

  /** Fills every masked position with its best allowed token and that token's log-probability. */
  async predict(targets: Target[], options: PredictOptions = {}): Promise<void> {
    const sampling = this.#sampling(options.sampling);
    await this.#run('predict()', options, ['sampling'], () =>
      this.#native.predict(nativeTargets(targets), sampling),
    );
  }

  /**
   * Masks again the `counts[i]` positions of target `i` with the lowest scores, among those that were
   * masked at the start; a tie goes to the lower position. No position may be masked before. With `below`, only those of
   * them whose probability is not above it.
   */
  async remask(targets: Target[], counts: number[], options: RemaskOptions = {}): Promise<void> {
    const { below } = options;
    const bound = remaskOption(below === undefined ? undefined : { below });
    await this.#run('remask()', options, ['below'], () =>
      this.#native.remask(nativeTargets(targets), counts, bound),
    );
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
    const stop = stopOption(options.stop);
    const below = remaskOption(options.remask);
    const passes = await this.#run('decode()', options, ['sampling', 'stop', 'remask'], () =>
      this.#native.decode(nativeTargets(targets), iterations, sampling, stop, below),
    );
    return [...passes];
  }

  /**
   * Raw logits `[length, vocabulary]` of each target, or of the ids of sources that see only themselves; before bans,
   * padded columns included; of all ids, whatever the engine's `vocabulary` option.
   */
  async logits(
    sequences: Target[] | Int32Array[],
    options: CallOptions = {},
  ): Promise<Float32Array[]> {
    if (Array.isArray(sequences) && sequences[0] instanceof Int32Array) {
      const sources = sequences as Int32Array[];
      const answers = await this.#read('logits()', sources, { kind: 'logits' }, options);
      return answers.map(({ values }) => values);
    }
    const targets = sequences as Target[];
    return this.#run('logits()', options, [], () => this.#native.logits(nativeTargets(targets)));
  }

  /** Final states `[length, hidden]` of each target. */
  states(targets: Target[], options: CallOptions = {}): Promise<Float32Array[]> {
    return this.#run('states()', options, [], () => this.#native.states(nativeTargets(targets)));
  }

  /**
   * For each target and each of its candidates (ids `[length]`): the log-probability of the candidate's id
   * at every masked position, 0 at the others. One pass, however many candidates. -Infinity for ids outside the
   * engine's `vocabulary`.
   */
  logProbs(
    targets: Target[],
    candidates: Int32Array[][],
    options: CallOptions = {},
  ): Promise<Float32Array[][]> {
    return this.#run('logProbs()', options, [], () =>
      this.#native.logProbs(nativeTargets(targets), candidates),
    );
  }

  /**
   * Writes int8 weights (of the CPU) as a model directory: `config.json`, and `model.safetensors` in the form they
   * have in memory. {@link Engine.load} maps it instead of reading it, in a moment, and gives the same bits. For
   * `MaskPredict.load` it needs the tokenizer beside it.
   */
  async save(directory: string, options: SaveOptions = {}): Promise<void> {
    checkOptions('engine.save()', options, ['overwrite', 'signal']);
    const { config, precision } = this;
    await checkFree(directory, options.overwrite);
    await this.#run('save()', options, ['overwrite'], () =>
      this.#native.save(join(directory, 'model.safetensors')),
    );
    await writeConfig(directory, config, precision);
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

  #read(
    name: string,
    sources: Int32Array[],
    reading: NativeReading,
    options: CallOptions,
  ): Promise<NativeAnswer[]> {
    if (!Array.isArray(sources)) throw invalidArgument('sources must be an array of Int32Array');
    return this.#run(name, options, [], () =>
      this.#native.read(
        sources,
        sources.map(() => reading),
      ),
    );
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
      const result = ofThisRealm(await call.promise);
      if (signal?.aborted) discard?.(result);
      signal?.throwIfAborted();
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      throw withCaller(error);
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

/** The options of a call, if it has no others than these. */
function checked<O extends CallOptions>(call: string, options: O, more: string[]): O {
  checkOptions(`engine.${call}`, options, ['signal', ...more]);
  return options;
}
