/** The options of a trainer, and what the addon takes of them. */
import type { NativeTrainerOptions, TrainingArchitecture } from '../../native/binding.cjs';
import { invalidArgument, shown } from '../errors.js';
import {
  attentionOption,
  checkFunction,
  checkOptions,
  checkSignal,
  integerOption,
  seedOption,
} from '../options.js';
import type { TargetAttention } from '../token/engine-options.js';

export interface TrainerOptions {
  /** Learning rate at its highest, where a step names none. Default 2e-5 for `load` (section 4.1), 5e-4 for `create`. */
  learningRate?: number;
  /** 0 … 0.9. Default 0.1: on the embeddings and on each block's output, not on attention weights. */
  dropout?: number;
  /** ε of the loss, 0 … 1. Default 0.1. */
  labelSmoothing?: number;
  /** The weight of the length predictor's loss in the total. Default 0.1. */
  lengthWeight?: number;
  /** β₁ and β₂ of AdamW, at least 0 and below 1. Default [0.9, 0.98]. */
  betas?: readonly [number, number];
  /** ε of AdamW, above 0. Default 1e-6. */
  epsilon?: number;
  /** Decoupled. Default 0.01. */
  weightDecay?: number;
  /** Tensors that decay: matrices and embeddings (default), or with `'all'` also biases and norms. */
  decay?: 'matrices' | 'all';
  /** Gradients are scaled down to this norm over all tensors; 0: never. Default 1. */
  clipNorm?: number;
  /**
   * Decay of an exponential moving average of the weights, which `validate` and `save` then take instead of them; at
   * least 0 and below 1. After t updates it is at most (1 + t) / (10 + t), so that the beginning is forgotten. Default
   * 0: no average is kept.
   */
  average?: number;
  /**
   * The states of its source that a target attends to: `'dynamic'`, eq. (7), or `'mixed'`, eq. (6); see {@link
   * TargetAttention}. With `'mixed'` sources go through all layers before the targets do, in one graph: the gradient of
   * the keys and values that targets attend to flows into the sources' final states and through their layers. Default:
   * as the model's config.json says, `'dynamic'` for a new one.
   */
  attention?: TargetAttention;
  /**
   * Tensors that are not trained: `'embeddings'` names every tensor of `roberta.embeddings`. They need no gradients or
   * moments then.
   */
  freeze?: readonly 'embeddings'[];
  /**
   * The backward pass computes these values again instead of keeping them: nothing (default), the output of GELU, or
   * everything of a layer except its input. This changes memory and time, and no bit of the result.
   */
  recompute?: 'none' | 'gelu' | 'layer';
  /**
   * The precision of the products; `'auto'` (default) is `'fp32'`. `'bf16'` rounds what a product multiplies to bfloat16,
   * forward and backward; weights, sums and the optimiser are float32 always. It needs a processor with AVX512-BF16, and
   * is `ERR_DEVICE` elsewhere.
   */
  precision?: 'auto' | 'fp32' | 'bf16';
  /** 1 … 256. Default: as many processors as the process may use. Results do not depend on it. */
  threads?: number;
  /**
   * Bytes for weights, gradients, moments and the memory of a step together; what does not fit is `ERR_OUT_OF_MEMORY`
   * before it is tried. Default: what the machine has available.
   */
  memoryLimit?: number;
  /** The seed of drawn weights, of dropout, and of the data's order and masks. Default 0. */
  seed?: number | bigint;
  /** Called with 0 … 1 while the model loads. */
  onProgress?: (fraction: number) => void;
  /** Aborts loading. */
  signal?: AbortSignal;
}

export interface TrainerLoadOptions extends TrainerOptions {
  /** The id of `<mask>`, for a config.json without `mask_token_id` and a directory without a tokenizer. */
  maskTokenId?: number;
  /**
   * Classes of the length predictor that is added to a model that has none. Default: one for each length that the
   * positions allow, `maxPositions - 1`.
   */
  lengths?: number;
  /**
   * `'new'` gives an encoder without a language-model head (tensors `lm_head.*`), as embedding checkpoints are, one whose
   * dense layer is drawn from the seed, whose norm is 1 and 0, and whose matrix is the word embeddings. Without it such a
   * directory is `ERR_MODEL_FORMAT`; one that has a head is `ERR_INVALID_ARGUMENT` with it.
   */
  head?: 'new';
}

/** The sizes of a new model. */
export interface TrainerShape {
  layers: number;
  hidden: number;
  /** Divides `hidden`. Default `hidden / 64`, at least 1. */
  heads?: number;
  /** Default `4 · hidden`. */
  feedForward?: number;
  /** LayerNorm before or after each block. Default `'pre'`. */
  norm?: 'pre' | 'post';
  /** Rows of the position table, 2 more than the most ids of a text. Default 514. */
  maxPositions?: number;
  /** Classes of the length predictor: a target has fewer ids. Default 512. */
  lengths?: number;
  /** Rows of the embedding, the last one `<mask>`. Default: as the tokenizer has. */
  vocabulary?: number;
}

/** Options that may differ from the first run when a training goes on, maybe on another machine. */
export type ResumeOptions = Pick<
  TrainerOptions,
  'threads' | 'memoryLimit' | 'onProgress' | 'signal'
>;

/** @internal */
export const machineOptions = ['threads', 'memoryLimit', 'onProgress', 'signal'];
/** @internal */
export const trainerOptions = [
  ...machineOptions,
  'learningRate',
  'dropout',
  'labelSmoothing',
  'lengthWeight',
  'betas',
  'epsilon',
  'weightDecay',
  'decay',
  'clipNorm',
  'average',
  'attention',
  'freeze',
  'recompute',
  'precision',
  'seed',
];

/**
 * The options that a training keeps, with their defaults filled in: JSON but for the seed.
 * @internal
 */
export interface Settings {
  learningRate: number;
  dropout: number;
  labelSmoothing: number;
  lengthWeight: number;
  betas: readonly [number, number];
  epsilon: number;
  weightDecay: number;
  decay: 'matrices' | 'all';
  clipNorm: number;
  average: number;
  /** null: as the model was trained. Checkpoints of earlier versions do not have it. */
  attention?: TargetAttention | null;
  freeze: readonly 'embeddings'[];
  recompute: 'none' | 'gelu' | 'layer';
  /** Checkpoints of earlier versions do not have it: `'fp32'`. */
  precision?: 'fp32' | 'bf16';
  seed: bigint;
}

function numberOption(
  name: string,
  value: unknown,
  otherwise: number,
  allowed: (value: number) => boolean,
  range: string,
): number {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number' || !Number.isFinite(value) || !allowed(value)) {
    throw invalidArgument(`${name} must be a number ${range}, not ${shown(value)}`);
  }
  return value;
}

const notNegative = (value: number) => value >= 0;

function choiceOption<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  if (value === undefined) return choices[0]!;
  if (!choices.includes(value as T)) {
    const list = choices.map((choice) => `'${choice}'`).join(' or ');
    throw invalidArgument(`${name} must be ${list}, not ${shown(value)}`);
  }
  return value as T;
}

function betasOption(value: unknown): readonly [number, number] {
  if (value === undefined) return [0.9, 0.98];
  const isBeta = (beta: unknown) => typeof beta === 'number' && beta >= 0 && beta < 1;
  if (!Array.isArray(value) || value.length !== 2 || !value.every(isBeta)) {
    throw invalidArgument('betas must be two numbers, each at least 0 and below 1');
  }
  return [value[0] as number, value[1] as number];
}

function freezeOption(value: unknown): readonly 'embeddings'[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((part) => part === 'embeddings')) {
    throw invalidArgument(`freeze must be a list of what is frozen: 'embeddings' or nothing`);
  }
  return value.length > 0 ? ['embeddings'] : [];
}

/** Checks the options of `call` and fills in what is left out. @internal */
export function readSettings(options: TrainerOptions, learningRate: number): Settings {
  checkSignal(options.signal);
  checkFunction('onProgress', options.onProgress);
  const upTo = (name: keyof TrainerOptions, otherwise: number, most: number) =>
    numberOption(name, options[name], otherwise, (x) => x >= 0 && x <= most, `from 0 to ${most}`);
  const atLeast0 = (name: keyof TrainerOptions, otherwise: number) =>
    numberOption(name, options[name], otherwise, notNegative, 'of at least 0');
  return {
    learningRate: atLeast0('learningRate', learningRate),
    dropout: upTo('dropout', 0.1, 0.9),
    labelSmoothing: upTo('labelSmoothing', 0.1, 1),
    lengthWeight: atLeast0('lengthWeight', 0.1),
    betas: betasOption(options.betas),
    epsilon: numberOption(
      'epsilon',
      options.epsilon,
      1e-6,
      (x) => x > 0 && x <= 1,
      'above 0 and up to 1',
    ),
    weightDecay: atLeast0('weightDecay', 0.01),
    decay: choiceOption('decay', options.decay, ['matrices', 'all']),
    clipNorm: atLeast0('clipNorm', 1),
    average: numberOption(
      'average',
      options.average,
      0,
      (x) => x >= 0 && x < 1,
      'of at least 0 and below 1',
    ),
    attention: attentionOption(options.attention),
    freeze: freezeOption(options.freeze),
    recompute: choiceOption('recompute', options.recompute, ['none', 'gelu', 'layer']),
    precision:
      choiceOption('precision', options.precision, ['auto', 'fp32', 'bf16']) === 'bf16'
        ? 'bf16'
        : 'fp32',
    seed: seedOption('seed', options.seed ?? 0),
  };
}

/** True if `head` asks for a new one. @internal */
export function newHeadOption(head: unknown): boolean {
  if (head === undefined) return false;
  if (head === 'new') return true;
  throw invalidArgument(`head must be 'new' or left out, not ${shown(head)}`);
}

/** Settings and what the machine gives, as the addon takes them; `added` is for a directory that lacks it. @internal */
export function nativeOptions(
  settings: Settings,
  machine: ResumeOptions,
  maskTokenId: number,
  added: { lengths: number; head: boolean } = { lengths: 0, head: false },
): NativeTrainerOptions {
  return {
    threads: integerOption('threads', machine.threads, 0, 1, 256),
    memoryLimit: integerOption('memoryLimit', machine.memoryLimit, 0, 1, Number.MAX_SAFE_INTEGER),
    maskTokenId,
    lengths: added.lengths,
    newHead: added.head,
    seed: settings.seed,
    dropout: settings.dropout,
    labelSmoothing: settings.labelSmoothing,
    lengthWeight: settings.lengthWeight,
    beta1: settings.betas[0],
    beta2: settings.betas[1],
    epsilon: settings.epsilon,
    weightDecay: settings.weightDecay,
    clipNorm: settings.clipNorm,
    average: settings.average,
    attention: settings.attention ?? null,
    decayAll: settings.decay === 'all',
    freezeEmbeddings: settings.freeze.length > 0,
    recompute: settings.recompute,
    roundedProducts: settings.precision === 'bf16',
  };
}

/** The sizes of a new model whose tokenizer has `vocabulary` ids, 0 without one. @internal */
export function newArchitecture(shape: TrainerShape, vocabulary: number): TrainingArchitecture {
  const sizes = ['heads', 'feedForward', 'norm', 'maxPositions', 'lengths', 'vocabulary'];
  checkOptions('Trainer.create()', shape, ['layers', 'hidden', ...sizes]);
  const { heads, feedForward, maxPositions, lengths } = shape;
  const required = (name: 'layers' | 'hidden', most: number) => {
    if (shape[name] === undefined) throw invalidArgument(`a new model needs ${name}`);
    return integerOption(name, shape[name], 0, 1, most);
  };
  const hidden = required('hidden', 65536);
  if (shape.vocabulary === undefined && vocabulary === 0) {
    throw invalidArgument(`a new model needs a tokenizer's file, or the size of its vocabulary`);
  }
  const rows = integerOption('vocabulary', shape.vocabulary, vocabulary, 6, 2 ** 24);
  if (vocabulary > 0 && rows !== vocabulary) {
    throw invalidArgument(`vocabulary is ${rows}, but the tokenizer has ${vocabulary} ids`);
  }
  return {
    layers: required('layers', 1000),
    hidden,
    heads: integerOption('heads', heads, Math.max(1, Math.floor(hidden / 64)), 1, 1024),
    feedForward: integerOption('feedForward', feedForward, 4 * hidden, 1, 2 ** 20),
    norm: choiceOption('norm', shape.norm, ['pre', 'post']),
    maxPositions: integerOption('maxPositions', maxPositions, 514, 5, 2 ** 20),
    lengths: integerOption('lengths', lengths, 512, 4, 2 ** 20),
    vocabulary: rows,
    maskTokenId: rows - 1,
    tieWordEmbeddings: true,
    tokenTypes: 1,
    layerNormEpsilon: 1e-5,
    seed: 0n,
    draw: true,
  };
}
