/**
 * A model that is trained natively: one-step training with dynamic mixed attention (sections 3.2, 3.3 and 4.1). Steps
 * take ids; where they come from is the loop's business (train.ts).
 */
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  Call,
  NativeTrainer,
  NativeTrainerOptions,
  TrainingArchitecture,
} from '../../native/binding.cjs';
import { onAbort } from '../abort.js';
import type { EngineConfig } from '../token/engine-config.js';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { booleanOption, checkOptions, checkSignal, integerOption, seedOption } from '../options.js';
import { addedTokensDecoder } from '../token/added-tokens.js';
import { native, ofThisRealm } from '../token/native.js';
import { attentionField } from '../token/saved-model.js';
import { tokenizerFile } from '../text/loading.js';
import { addedTokensFile } from '../text/model-files.js';
import { Tokenizer } from '../text/tokenizer.js';
import type { DatasetSource } from './dataset.js';
import type { StepOptions, StepPart, StepResult, StepRunner } from './step.js';
import { readSafetensorsHeader } from './safetensors-header.js';
import { runTraining, type TrainOptions, type TrainingStep } from './train.js';
import {
  machineOptions,
  nativeOptions,
  newArchitecture,
  newHeadOption,
  readSettings,
  trainerOptions,
  type ResumeOptions,
  type Settings,
  type TrainerLoadOptions,
  type TrainerOptions,
  type TrainerShape,
} from './trainer-options.js';
import { runValidation, type ValidateOptions, type Validation } from './validate.js';
import { replaceDirectory, restoreDirectory, writeWhole } from './whole-directory.js';

const stateFile = 'training.safetensors';
const noteKey = 'mask_predict_training';

export interface TrainerStepOptions {
  /** `false`: gradients only, the weights stay. Default `true`. */
  update?: boolean;
  /** Default: the trainer's. */
  learningRate?: number;
  /** Key of dropout's draws, with `step`. Default: the trainer's seed, and the number of the next update. */
  seed?: number | bigint;
  step?: number;
  /** Stops between two operations, with nothing changed. */
  signal?: AbortSignal;
}

/** Bytes. */
export interface TrainerMemory {
  weights: number;
  /** Bytes of the weights' average; 0 if none is kept. */
  average: number;
  gradients: number;
  /** The optimiser's. */
  moments: number;
  /** Bytes of the largest step so far, or of what was reserved. */
  working: number;
  limit: number;
}

/** The data of a checkpoint beside its tensors. */
interface Note {
  format: 2;
  architecture: Omit<TrainingArchitecture, 'seed' | 'draw'>;
  settings: Omit<Settings, 'seed' | 'average'> & { seed: string; average?: number };
  state: unknown;
}

interface Parts {
  trainer: NativeTrainer;
  settings: Settings;
  /** The tokenizer and the bytes of its file, which may be gone when they are saved. */
  tokenizer: { read: Tokenizer; bytes: Uint8Array } | undefined;
  updates: number;
  state: unknown;
}

/** A model in training. Close it when done: that frees its memory at once. */
export class Trainer implements StepRunner {
  readonly #native: NativeTrainer;
  readonly #settings: Settings;
  readonly #tokenizer: Parts['tokenizer'];
  #updates: number;

  /** A training loop's own JSON, kept between its steps and in checkpoints. {@link Trainer.resume} restores it. */
  state: unknown;

  private constructor(parts: Parts) {
    this.#native = parts.trainer;
    this.#settings = parts.settings;
    this.#tokenizer = parts.tokenizer;
    this.#updates = parts.updates;
    this.state = parts.state;
  }

  /**
   * Fine-tunes the model of a directory, as `Engine.load` reads it; F16 and BF16 become float32. A length predictor is
   * added where there is none, a language-model head only where `head: 'new'` asks for it. int8 weights are `ERR_INVALID_ARGUMENT`. A tokenizer need not be there: only what reads
   * texts needs it.
   */
  static async load(directory: string, options: TrainerLoadOptions = {}): Promise<Trainer> {
    checkOptions('Trainer.load()', options, [...trainerOptions, 'maskTokenId', 'lengths', 'head']);
    if (typeof directory !== 'string')
      throw invalidArgument('the model directory must be a string');
    const settings = readSettings(options, 2e-5);
    const lengths = integerOption('lengths', options.lengths, 0, 4, 2 ** 20);
    let maskTokenId = integerOption('maskTokenId', options.maskTokenId, -1, 4, 2 ** 24);
    const file = join(directory, tokenizerFile);
    const tokenizer = existsSync(file) ? await readTokenizer(file, options.maskTokenId) : undefined;
    if (tokenizer) maskTokenId = tokenizer.maskTokenId;
    const made = nativeOptions(settings, options, maskTokenId, {
      lengths,
      head: newHeadOption(options.head),
    });
    const trainer = await start(directory, made, options);
    return new Trainer({ trainer, settings, tokenizer, updates: 0, state: undefined });
  }

  /**
   * A new model, its weights drawn from the seed as Hugging Face draws them: matrices and embeddings normal with a
   * deviation of 0.02, norms 1 and 0, biases 0, the row of `<pad>` 0. The embeddings are the head's matrix too.
   * `tokenizer` is the file of a SentencePiece model; without one, `shape` needs a `vocabulary`, and only ids can be
   * trained on.
   */
  static async create(
    shape: TrainerShape,
    tokenizer: string | undefined,
    options: TrainerOptions = {},
  ): Promise<Trainer> {
    checkOptions('Trainer.create()', options, trainerOptions);
    const settings = readSettings(options, 5e-4);
    const read = tokenizer === undefined ? undefined : await readTokenizer(tokenizer, undefined);
    const architecture = newArchitecture(shape, read ? read.maskTokenId + 1 : 0);
    const made = nativeOptions(settings, options, -1);
    const trainer = await start(architecture, made, options);
    return new Trainer({ trainer, settings, tokenizer: read, updates: 0, state: undefined });
  }

  /**
   * A training as a {@link Trainer.checkpoint} left it: its next steps have the bits they would have had, on any number
   * of threads. `ERR_MODEL_FORMAT` where the directory is none.
   */
  static async resume(directory: string, options: ResumeOptions = {}): Promise<Trainer> {
    checkOptions('Trainer.resume()', options, machineOptions);
    if (typeof directory !== 'string')
      throw invalidArgument('the directory of the checkpoint must be a string');
    checkSignal(options.signal);
    await restoreDirectory(directory);
    const path = join(directory, stateFile);
    const { note, updates } = await readNote(path);
    // A checkpoint written before averages were kept has none.
    const { seed, average = 0 } = note.settings;
    const settings: Settings = { ...note.settings, average, seed: BigInt(seed) };
    const file = join(directory, tokenizerFile);
    const { maskTokenId } = note.architecture;
    const tokenizer = existsSync(file) ? await readTokenizer(file, maskTokenId) : undefined;
    const made = nativeOptions(settings, options, -1);
    const architecture = { ...note.architecture, seed: 0n, draw: false };
    const trainer = await start(architecture, made, options);
    try {
      await settled(trainer, options.signal, () => trainer.loadState(path));
    } catch (error) {
      await trainer.close();
      throw error;
    }
    return new Trainer({ trainer, settings, tokenizer, updates, state: note.state });
  }

  /** Sizes of the model. */
  get config(): EngineConfig {
    return ofThisRealm(this.#native.config);
  }
  get maskTokenId(): number {
    return this.#native.config.maskTokenId;
  }
  /** Classes of the length predictor; a target has fewer ids. */
  get lengths(): number {
    return this.#native.config.lengths;
  }
  /** The most ids of a source or target. */
  get maxIds(): number {
    return this.#native.config.maxPositions - 2;
  }
  get threads(): number {
    return this.#native.facts.threads;
  }
  /** `'avx512bf16'`, `'avx512'`, `'avx2'` or `'portable'`; the first where `precision` is `'bf16'`. */
  get instructionSet(): string {
    return this.#native.facts.instructionSet;
  }
  /** True if the model had no length predictor, so that one was added. */
  get addedLengthPredictor(): boolean {
    return this.#native.facts.addedLengthHead;
  }
  get learningRate(): number {
    return this.#settings.learningRate;
  }
  get seed(): bigint {
    return this.#settings.seed;
  }
  get lengthWeight(): number {
    return this.#settings.lengthWeight;
  }
  /** Where there is one. */
  get tokenizer(): Tokenizer | undefined {
    return this.#tokenizer?.read;
  }
  /** Its file. */
  get tokenizerBytes(): Uint8Array | undefined {
    return this.#tokenizer?.bytes;
  }
  /** Updates of the weights so far, over all runs of this training. */
  get updates(): number {
    return this.#updates;
  }

  /**
   * Trains on `dataset`: a file of examples (JSON lines or `.tsv`, gzip too), a list of `{ file, weight }`, or an
   * iterable of `{ instruction, output }`. Yields every step; breaking off is allowed at any of them, and the next call
   * goes on there, as it does after {@link Trainer.resume}. Errors of the data are `ERR_INVALID_ARGUMENT`s that name
   * file and line. An aborted training throws the signal's reason, with the state of its last whole step.
   */
  train(
    dataset: DatasetSource,
    options: TrainOptions,
  ): AsyncGenerator<TrainingStep, void, undefined> {
    return runTraining(this, dataset, options, this);
  }

  /**
   * Loss at masks that are the same every time, over all of `dataset`; and for its first examples exact match and BLEU
   * of what the saved model answers at T = 1, 4 and 10.
   */
  validate(dataset: DatasetSource, options: ValidateOptions = {}): Promise<Validation> {
    return runValidation(this, dataset, options, this);
  }

  async memory(): Promise<TrainerMemory> {
    return ofThisRealm(await this.#native.memory().promise);
  }

  /** Bytes that steps take whose parts have up to so many rows (ids of sources and targets), weights and all included. */
  async bytesFor(rows: number): Promise<number> {
    return await this.#native.bytesFor(rows).promise;
  }

  /**
   * Takes the memory of such steps now, so that a training that will not fit says so before it begins:
   * `ERR_OUT_OF_MEMORY`, with what would help.
   */
  async reserve(rows: number): Promise<void> {
    await this.#native.reserve(rows).promise;
  }

  /**
   * One optimiser step over ids: corrupted sources, corrupted targets, and the targets they came from. A position is
   * predicted where target and gold differ or the target is `<mask>`. With several parts, means are over all of them
   * and the gradient is that of one part with everything in it. A step that fails or is aborted changes nothing.
   */
  async step(part: StepPart | StepPart[], options: TrainerStepOptions = {}): Promise<StepResult> {
    checkOptions('trainer.step()', options, ['update', 'learningRate', 'seed', 'step', 'signal']);
    const { learningRate = this.#settings.learningRate, signal } = options;
    return this.runStep(Array.isArray(part) ? part : [part], {
      update: booleanOption('update', options.update, true),
      learningRate,
      seed: seedOption('seed', options.seed ?? this.#settings.seed),
      step: integerOption('step', options.step, this.#updates + 1, 0, 2 ** 32 - 1),
      ...(signal && { signal }),
    });
  }

  async runStep(parts: StepPart[], options: StepOptions): Promise<StepResult> {
    const { signal, ...step } = options;
    const result = await settled(this.#native, signal, () => this.#native.step(parts, step));
    if (step.update) this.#updates++;
    return result;
  }

  /** The loss without dropout; nothing changes, and the gradients of the last step stay. */
  evaluate(parts: StepPart[], options: { signal?: AbortSignal } = {}): Promise<StepResult> {
    return settled(this.#native, options.signal, () => this.#native.evaluate(parts));
  }

  /** Gradients of the last step, before clipping, by Hugging Face's names; frozen tensors have none. */
  async gradients(): Promise<Map<string, Float32Array>> {
    return new Map(ofThisRealm(await this.#native.gradients().promise));
  }

  /**
   * Writes a model directory that `MaskPredict.load` and Hugging Face read: config.json, model.safetensors, and the
   * tokenizer where there is one. `precision` (default `'fp32'`) is what the weights are rounded to. Written beside and
   * renamed; a directory that is there is replaced if it has nothing but a model's files.
   */
  async save(
    directory: string,
    options: { precision?: 'fp32' | 'fp16' | 'bf16' } = {},
  ): Promise<void> {
    checkOptions('trainer.save()', options, ['precision']);
    const { precision = 'fp32' } = options;
    if (precision !== 'fp32' && precision !== 'fp16' && precision !== 'bf16') {
      throw invalidArgument(`precision must be 'fp32', 'fp16' or 'bf16', not ${shown(precision)}`);
    }
    const files = ['config.json', 'model.safetensors', tokenizerFile, addedTokensFile];
    await replaceDirectory(directory, files, async (to) => {
      await this.#native.save(join(to, 'model.safetensors'), precision).promise;
      const config = configFile(this.config, this.#native.facts.tokenTypes);
      await writeWhole(join(to, 'config.json'), `${JSON.stringify(config, undefined, 2)}\n`);
      await this.#writeTokenizer(to);
    });
  }

  /**
   * Writes everything that the training needs to go on with the same bits: weights, moments, the number of updates, the
   * options, the tokenizer and `state` (default: {@link Trainer.state}), which is JSON. Written beside and renamed.
   */
  async checkpoint(directory: string, state: unknown = this.state): Promise<void> {
    const { seed, ...settings } = this.#settings;
    const note: Note = {
      format: 2,
      architecture: architectureOf(this.config, this.#native.facts.tokenTypes),
      settings: { ...settings, seed: String(seed) },
      state,
    };
    await replaceDirectory(directory, [stateFile, tokenizerFile, addedTokensFile], async (to) => {
      await this.#writeTokenizer(to);
      await this.#native.saveState(join(to, stateFile), JSON.stringify(note)).promise;
    });
  }

  async #writeTokenizer(directory: string): Promise<void> {
    if (!this.#tokenizer) return;
    const { read, bytes } = this.#tokenizer;
    await writeWhole(join(directory, tokenizerFile), bytes);
    const { vocabulary } = this.config;
    const added = (Tokenizer.pieces(read).added ?? []).filter(({ id }) => id < vocabulary);
    if (added.length === 0) return;
    const content = `${JSON.stringify(addedTokensDecoder(added), undefined, 2)}\n`;
    await writeWhole(join(directory, addedTokensFile), content);
  }

  /** Frees everything at once. Calls in flight reject with `ERR_DISPOSED`, as does every use afterwards. */
  close(): Promise<void> {
    return this.#native.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function start(
  model: string | TrainingArchitecture,
  made: NativeTrainerOptions,
  { onProgress, signal }: ResumeOptions,
): Promise<NativeTrainer> {
  signal?.throwIfAborted();
  let failure: { error: unknown } | undefined;
  const report = (fraction: number) => {
    try {
      onProgress?.(fraction);
    } catch (error) {
      failure ??= { error };
      void trainer.close();
    }
  };
  const trainer = new native.NativeTrainer(model, made, onProgress ? report : null);
  const forget = onAbort(signal, () => void trainer.close());
  try {
    await trainer.ready;
    signal?.throwIfAborted();
    if (failure) throw failure.error;
    return trainer;
  } catch (error) {
    await trainer.close();
    signal?.throwIfAborted();
    throw failure ? failure.error : error;
  } finally {
    forget();
  }
}

/** The result of a call, or the signal's reason as an error. */
async function settled<T>(
  trainer: NativeTrainer,
  signal: AbortSignal | undefined,
  begin: () => Call<T>,
): Promise<T> {
  checkSignal(signal);
  signal?.throwIfAborted();
  const call = begin();
  const forget = onAbort(signal, () => trainer.cancel(call.id));
  try {
    return ofThisRealm(await call.promise);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    forget();
  }
}

async function readTokenizer(file: string, maskTokenId: number | undefined) {
  const tokenizer = await Tokenizer.load(file, maskTokenId === undefined ? {} : { maskTokenId });
  return { read: tokenizer, bytes: await readFile(file), maskTokenId: tokenizer.maskTokenId };
}

function architectureOf(c: EngineConfig, tokenTypes: number): Note['architecture'] {
  return {
    layers: c.layers,
    hidden: c.hidden,
    heads: c.heads,
    feedForward: c.feedForward,
    vocabulary: c.vocabulary,
    maxPositions: c.maxPositions,
    lengths: c.lengths,
    maskTokenId: c.maskTokenId,
    norm: c.norm,
    attention: c.attention,
    tieWordEmbeddings: c.tieWordEmbeddings,
    tokenTypes,
    layerNormEpsilon: c.layerNormEpsilon,
  };
}

/** As Hugging Face writes it, with the fields of this package. */
function configFile(c: EngineConfig, tokenTypes: number): object {
  return {
    architectures: [c.norm === 'pre' ? 'XLMRobertaXLForMaskedLM' : 'XLMRobertaForMaskedLM'],
    model_type: c.modelType,
    vocab_size: c.vocabulary,
    hidden_size: c.hidden,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    intermediate_size: c.feedForward,
    hidden_act: 'gelu',
    max_position_embeddings: c.maxPositions,
    type_vocab_size: Math.max(1, tokenTypes),
    layer_norm_eps: c.layerNormEpsilon,
    bos_token_id: 0,
    pad_token_id: 1,
    eos_token_id: 2,
    ...(!c.tieWordEmbeddings && { tie_word_embeddings: false }),
    mask_token_id: c.maskTokenId,
    length_vocab_size: c.lengths,
    ...attentionField(c),
  };
}

/** The metadata of a checkpoint's file. */
async function readNote(path: string): Promise<{ note: Note; updates: number }> {
  const fail = (reason: string, cause?: unknown): never => {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${path}: ${reason}`, { cause });
  };
  const file = await open(path, 'r').catch((cause: Error) =>
    fail(`there is no checkpoint of a training here (${cause.message})`, cause),
  );
  try {
    const { entries } = await readSafetensorsHeader(file);
    const header = entries as { __metadata__?: Record<string, string> };
    const note = JSON.parse(header.__metadata__?.[noteKey] ?? 'null') as Note | null;
    if (note === null || note.format !== 2)
      fail(note ? `is of the unknown format ${String(note.format)}` : 'is no training');
    return { note: note!, updates: Number(header.__metadata__!.mask_predict_updates) };
  } catch (cause) {
    if (cause instanceof MaskPredictError) throw cause;
    return fail((cause as Error).message, cause);
  } finally {
    await file.close();
  }
}
