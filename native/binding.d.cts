/// <reference types="node" />
// The surface of the native addon: what native/addon/*.cpp exports. lib/ is its only caller.

/** A started native call: its result, and the number that `cancel` takes. */
interface Call<T> {
  promise: Promise<T>;
  id: number;
}

interface SamplingParameters {
  /** Seed of the counter-based generator, any 64-bit value. */
  seed: bigint;
  /** Iterations in all and the one this pass is (1 … iterations): they set the temperature. */
  iterations: number;
  iteration: number;
}

interface NativeConfig {
  modelType: string;
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  vocabulary: number;
  maxPositions: number;
  maxIds: number;
  lengths: number;
  /** True if the model has a language-model head. */
  head: boolean;
  /** Classes of the sequence classifier and of the token classifier; 0 without one. */
  classes: number;
  tokenClasses: number;
  maskTokenId: number;
  beginTokenId: number;
  endTokenId: number;
  padTokenId: number;
  norm: 'pre' | 'post';
  attention: 'dynamic' | 'mixed';
  layerNormEpsilon: number;
  /** True if the head shares the matrix of the word embeddings. */
  tieWordEmbeddings: boolean;
  /** Weights, a tied one counted once. */
  parameters: number;
  /** Weights of the layers' matrices: multiplications for each row that goes through them. */
  bodyWeights: number;
  modernBert?: {
    localLayers: boolean[];
    window: number;
    globalTheta: number;
    localTheta: number;
    otherSpecialIds: number[];
    classifierPooling: 'mean' | 'cls';
    tokenClassifier: boolean;
  };
}

interface NativeMemory {
  weights: number;
  /** Caches of sources and working memory. */
  working: number;
  limit: number;
  /** Bytes that an encoded source takes for each of its ids, with and without its final states. */
  perSourceId: number;
  perSourceIdWithoutStates: number;
}

interface NativeTarget {
  readonly length: number;
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly scores: Float32Array<ArrayBuffer>;
  /** 1 at positions that are `<mask>` now. */
  readonly masked: Uint8Array<ArrayBuffer>;
  /** Number of positions that were masked at the start. */
  readonly maskable: number;
  dispose(): void;
}

interface NativeSource {
  readonly length: number;
  /** Bytes of memory; 0 after dispose(). */
  readonly bytes: number;
  readonly lengthLogits: Float32Array<ArrayBuffer> | null;
  states(): Float32Array<ArrayBuffer>;
  /** The `count` best lengths in ids, best first. */
  predictLengths(count: number): { length: number; logProb: number }[];
  target(specification: number | Int32Array, sequence: number): NativeTarget;
  /** The answer of a source that was read and not kept. */
  answer(): NativeAnswer;
  dispose(): void;
}

/**
 * The question about a sequence that is read for its own sake (native/engine/reading.h). `score` asks for the
 * log-probabilities of candidates at every <mask>; `scoreAt` masks one position and asks for the log-probability of the
 * id that was there.
 */
type NativeReading =
  | { kind: 'mean' | 'first' | 'classes' | 'tokens' | 'logits' }
  | { kind: 'best'; count: number }
  | { kind: 'score'; candidates: Int32Array[] }
  | { kind: 'scoreAt'; position: number };

interface NativeAnswer {
  /** The positions the answer is about, rising. */
  positions: Int32Array<ArrayBuffer>;
  /** States, logits or log-probabilities. */
  values: Float32Array<ArrayBuffer>;
  /** The ids that `best` found. */
  ids: Int32Array<ArrayBuffer>;
}

/** null: never; `'unchanged'`; or the log-probability that all predicted tokens must reach. */
type NativeStopRule = 'unchanged' | number | null;

interface AdvanceResult {
  /** Passes that were run. */
  passes: number;
  /** One for each source, or the error if it did not fit into memory. */
  sources: (NativeSource | Error)[];
  /** For each target, passes done in all, and whether no further one is needed. */
  passed: number[];
  done: boolean[];
  /** Where asked for: tokens and scores as the last pass left them, before some were masked again. */
  views?: { tokens: Int32Array<ArrayBuffer>; scores: Float32Array<ArrayBuffer> }[];
  /** Log-probabilities of the candidates, for targets that have some. */
  logProbs?: Float32Array<ArrayBuffer>[][];
  /** Errors of targets whose logits were not numbers; such a target is unchanged. */
  failures?: Error[];
}

interface LoadOptions {
  device: string;
  precision: string;
  headPrecision: string;
  /** 0: as many as the process may use. */
  threads: number;
  /** Bytes; 0: what the machine has free. */
  memoryLimit: number;
  /** -1: from config.json. */
  maskTokenId: number;
  /** The ids that may be answered, rising; null: all. */
  allowedIds: Int32Array | null;
  /** Ids of added tokens, rising; those behind `<mask>` may stand in sources. */
  addedIds: Int32Array;
  deterministic: boolean;
  map: boolean;
  /** null: from config.json. */
  attention: 'dynamic' | 'mixed' | null;
}

interface RandomArchitecture {
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  vocabulary: number;
  maxPositions: number;
  lengths: number;
  maskTokenId: number;
  norm: 'pre' | 'post';
  seed: bigint;
}

declare class NativeEngine {
  /** Starts loading on the engine's own thread; `ready` settles when it is done. */
  constructor(
    model: string | RandomArchitecture,
    options: LoadOptions,
    onProgress: ((fraction: number) => void) | null,
  );
  readonly ready: Promise<void>;
  readonly config: NativeConfig;
  readonly device: string;
  readonly precision: string;
  readonly headPrecision: string;
  readonly instructionSet: string;
  readonly threads: number;
  /** Why another device than the best GPU was taken (native/engine/device.h); empty otherwise. */
  readonly fallback: string;
  /** What `deterministic: false` led to (for example which cuBLASLt was found); empty if it was not set. */
  readonly note: string;
  memory(): NativeMemory;
  /** `states`: whether final states and lengths will be asked for. */
  encode(ids: Int32Array[], states: boolean): Call<NativeSource[]>;
  /** Reads sequences, each for what its reading asks. */
  read(ids: Int32Array[], readings: NativeReading[]): Call<NativeAnswer[]>;
  predict(targets: NativeTarget[], sampling: SamplingParameters | null): Call<void>;
  /** `below`: a log-probability; positions above it are not masked. */
  remask(targets: NativeTarget[], counts: number[], below: number | null): Call<void>;
  /** Resolves to the number of passes each target took. */
  decode(
    targets: NativeTarget[],
    iterations: number,
    sampling: SamplingParameters | null,
    stop: NativeStopRule,
    below: number | null,
  ): Call<Int32Array>;
  logits(targets: NativeTarget[]): Call<Float32Array<ArrayBuffer>[]>;
  states(targets: NativeTarget[]): Call<Float32Array<ArrayBuffer>[]>;
  logProbs(
    targets: NativeTarget[],
    candidates: Int32Array[][],
  ): Call<Float32Array<ArrayBuffer>[][]>;
  /**
   * Sources and targets that go through one pass together; targets alone go on until the first has to leave. `states`
   * says of each source whether final states and lengths will be asked for, or what is to be read of it. `plans` has four
   * numbers for each target: T, passes done, the pass to stop after at the latest, and 1 if it is to be viewed. `seeds`
   * are of targets that are sampled, `bounds` the log-probabilities above which nothing is masked again, `candidates` of
   * targets that are scored, not written: one pass, and the log-probabilities of these. Entries that do not apply to a
   * target are null; if none applies, pass null instead of the list.
   */
  advance(
    sources: Int32Array[],
    states: (boolean | NativeReading)[],
    targets: NativeTarget[],
    plans: Int32Array,
    seeds: (bigint | null)[] | null,
    stops: NativeStopRule[] | null,
    bounds: (number | null)[] | null,
    candidates: (Int32Array[] | null)[] | null,
  ): Call<AdvanceResult>;
  /** The last advance() ends well after the pass it is in. */
  interrupt(): void;
  /** Writes a model.safetensors of weights that are int8 on the CPU. */
  save(path: string): Call<void>;
  cancel(id: number): void;
  close(): Promise<void>;
}

/** A new model that is trained. */
interface TrainingArchitecture extends RandomArchitecture {
  tieWordEmbeddings: boolean;
  /** Rows of the token types, 0 for none. */
  tokenTypes: number;
  layerNormEpsilon: number;
  /** Default: dynamic. */
  attention?: 'dynamic' | 'mixed';
  /** True: the weights are drawn from the options' seed. False: they are zeros, because `loadState` will fill them. */
  draw: boolean;
}

interface NativeTrainerOptions {
  /** 0: as many as the process may use. */
  threads: number;
  /** Bytes; 0: what the machine has free. */
  memoryLimit: number;
  /** -1: from config.json. */
  maskTokenId: number;
  /** Classes of a length predictor that is added; 0: as many as there are lengths. */
  lengths: number;
  /** True: a directory without a language-model head gets one. */
  newHead: boolean;
  seed: bigint;
  dropout: number;
  labelSmoothing: number;
  lengthWeight: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** 0: no clipping. */
  clipNorm: number;
  /** Decay of the weights' average; 0: none is kept. */
  average: number;
  /** null: what the model was trained with. */
  attention: 'dynamic' | 'mixed' | null;
  /** True: biases and norms decay too. */
  decayAll: boolean;
  freezeEmbeddings: boolean;
  recompute: string;
  roundedProducts: boolean;
}

interface NativeStepPart {
  sources: Int32Array[];
  targets: Int32Array[];
  golds: Int32Array[];
  sourceOf?: Int32Array;
}

interface NativeStepResult {
  loss: number;
  nll: number;
  lengthLoss: number;
  gradientNorm: number;
  maskedTokens: number;
  examples: number;
}

declare class NativeTrainer {
  /** Starts loading on the trainer's own thread; `ready` settles when it is done. */
  constructor(
    model: string | TrainingArchitecture,
    options: NativeTrainerOptions,
    onProgress: ((fraction: number) => void) | null,
  );
  readonly ready: Promise<void>;
  readonly config: NativeConfig;
  readonly facts: {
    threads: number;
    instructionSet: string;
    /** Rows of the token types, 0 for none. */
    tokenTypes: number;
    addedLengthHead: boolean;
  };
  /** Bytes, and the number of updates. */
  memory(): Call<{
    weights: number;
    average: number;
    gradients: number;
    moments: number;
    working: number;
    limit: number;
    updates: number;
  }>;
  /** Bytes in all that parts of so many rows take. */
  bytesFor(rows: number): Call<number>;
  reserve(rows: number): Call<void>;
  step(
    parts: NativeStepPart[],
    options: { update: boolean; learningRate: number; seed: bigint; step: number },
  ): Call<NativeStepResult>;
  evaluate(parts: NativeStepPart[]): Call<NativeStepResult>;
  gradients(): Call<[name: string, values: Float32Array<ArrayBuffer>][]>;
  /** Writes a model.safetensors: 'fp32', 'fp16' or 'bf16'. */
  save(path: string, precision: string): Call<void>;
  /** Weights, moments and the number of updates, with a note in the file's metadata; and back. */
  saveState(path: string, note: string): Call<void>;
  loadState(path: string): Call<void>;
  cancel(id: number): void;
  close(): Promise<void>;
}

/** Facts about a model that the tensors of its checkpoint give. */
interface ConversionFacts {
  /** The model type of fairseq's files; empty if a config.json names it. */
  modelType: string;
  layers: number;
  hidden: number;
  /** 0: nothing says it. */
  heads: number;
  feedForward: number;
  vocabulary: number;
  maxPositions: number;
  lengths: number;
  tieWordEmbeddings: boolean;
  /** The last row of the word embeddings that is not all zeros. */
  lastRowInUse: number;
  /** Bytes of all files that were read. */
  fileBytes: number;
  /** Names of tensors that are not written. */
  leftOut: string[];
}

declare class NativeConversion {
  constructor(onProgress: ((fraction: number) => void) | null);
  /** `fairseq`: one file or the parts of one model, in order; `huggingface`: a directory or one file. */
  read(kind: 'fairseq' | 'huggingface', paths: string[]): Call<ConversionFacts>;
  /**
   * Leaves of the embeddings, a separate head and its bias only the rows of these ids, which rise. After `read` and before
   * `write`.
   */
  keepRows(ids: Int32Array): Call<void>;
  /** Writes a model.safetensors of what was read. */
  write(path: string, asBf16: boolean): Call<void>;
  cancel(id: number): void;
  close(): Promise<void>;
}

declare namespace binding {
  export {
    NativeTrainer,
    NativeTrainerOptions,
    NativeStepPart,
    NativeStepResult,
    TrainingArchitecture,
    ConversionFacts,
    NativeConversion,
    Call,
    SamplingParameters,
    AdvanceResult,
    NativeStopRule,
    NativeReading,
    NativeAnswer,
    NativeConfig,
    NativeMemory,
    NativeTarget,
    NativeSource,
    NativeEngine,
    LoadOptions,
    RandomArchitecture,
  };
  /** Gives the addon the class its errors are made of; called once per environment. */
  export function initialize(errorClass: new (code: never, message: string) => Error): void;
  /** Instruction sets this machine can run, best first. */
  export function instructionSets(): string[];
  /** Path of the addon. */
  export const loadedFrom: string;
  /** Why the prebuilt addon with CUDA kernels did not load, if it was tried. */
  export const refused: string | undefined;
  /**
   * The operations of training, forward and backward, for tests: by name, with arguments and results that
   * native/addon/training_operations.cpp names.
   */
  export const trainingOperations: Record<
    | 'linearForward'
    | 'linearBackward'
    | 'layerNorm'
    | 'geluBackward'
    | 'mixedAttention'
    | 'scatterRows'
    | 'headLoss'
    | 'lengthLoss'
    | 'dropout'
    | 'adamw',
    (
      args: object,
      context: object,
    ) => Record<string, Float32Array<ArrayBuffer>> & Record<string, number>
  >;
  /**
   * Takes the exclusive advisory lock of an open file, without waiting; closing it or the end of the process gives it
   * back. `'busy'`: another one has it; `'unsupported'`: the file system has no such locks.
   */
  export function lockFile(descriptor: number): 'locked' | 'busy' | 'unsupported';
  /** The single operations of native/ops, synchronous; arguments are checked by lib/token/operations.ts and again natively. */
  export const operations: {
    packWeight(
      values: Float32Array | Uint16Array,
      type: string,
      rows: number,
      columns: number,
      context: object,
    ): object;
    linear(args: object, context: object): Float32Array<ArrayBuffer>;
    linearPair(
      args: object,
      context: object,
    ): { first: Float32Array<ArrayBuffer>; second: Float32Array<ArrayBuffer> };
    linearNorm(
      args: object,
      context: object,
    ): { states: Float32Array<ArrayBuffer>; normed: Float32Array<ArrayBuffer> };
    mixedAttention(args: object, context: object): Float32Array<ArrayBuffer>;
    embed(args: object, context: object): Float32Array<ArrayBuffer>;
    layerNorm(args: object, context: object): Float32Array<ArrayBuffer>;
    rotate(args: object, context: object): Float32Array<ArrayBuffer>;
    meanRows(args: object, context: object): Float32Array<ArrayBuffer>;
    gatherRows(args: object, context: object): Float32Array<ArrayBuffer>;
    lmHeadArgmax(
      args: object,
      context: object,
    ): {
      ids: Int32Array<ArrayBuffer>;
      logProbs: Float32Array<ArrayBuffer>;
      logSumExp: Float32Array<ArrayBuffer>;
    };
    logitsAt(args: object, context: object): Float32Array<ArrayBuffer>;
    fillMasks(
      args: object,
      context: object,
    ): { tokens: Int32Array<ArrayBuffer>; scores: Float32Array<ArrayBuffer> };
    remask(
      args: object,
      context: object,
    ): {
      tokens: Int32Array<ArrayBuffer>;
      scores: Float32Array<ArrayBuffer>;
      masked: Uint8Array<ArrayBuffer>;
    };
    sample(
      args: object,
      context: object,
    ): { ids: Int32Array<ArrayBuffer>; logProbs: Float32Array<ArrayBuffer> };
  };
}

export = binding;
