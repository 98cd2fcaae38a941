/**
 * The seam between the training loop and what computes a step: ids in, losses out. The loop knows nothing of weights,
 * and a step nothing of files, epochs or schedules.
 */

/** One part of an optimiser step, at the token level; every array holds ids with `<s>` and `</s>`. */
export interface StepPart {
  /** Corrupted sources. */
  sources: Int32Array[];
  /**
   * Corrupted targets and the targets they came from; a position is predicted where target and gold differ or target
   * is `<mask>`.
   */
  targets: Int32Array[];
  golds: Int32Array[];
  /** Index into sources of each target; absent: target i belongs to source i. */
  sourceOf?: Int32Array;
}

export interface StepOptions {
  /** false: gradients only, no update. */
  update: boolean;
  learningRate: number;
  /** Key of dropout's draws: (seed, number of the optimiser step); dropout of 0 needs none. */
  seed: bigint;
  step: number;
  signal?: AbortSignal;
}

export interface StepResult {
  loss: number;
  nll: number;
  lengthLoss: number;
  gradientNorm: number;
  maskedTokens: number;
  examples: number;
}

export interface StepRunner {
  readonly maskTokenId: number;
  /** Classes of the length head. */
  readonly lengths: number;
  /** The most ids of a source or target. */
  readonly maxIds: number;
  /** Takes the memory of parts of so many rows now, or says why there is too little. */
  reserve?(rows: number): Promise<void>;
  /** One optimiser step of one or more parts (gradient accumulation): means are over all parts. */
  runStep(parts: StepPart[], options: StepOptions): Promise<StepResult>;
  /** Loss without dropout, no gradients. */
  evaluate(parts: StepPart[]): Promise<StepResult>;
  /**
   * Model directory: config.json, model.safetensors, the tokenizer copied. Written beside and renamed.
   */
  save(directory: string, options?: { precision?: 'fp32' | 'fp16' | 'bf16' }): Promise<void>;
  /**
   * float32 weights, moments, step; `state` is the loop's own JSON (position in the data, seed …). Written beside and
   * renamed.
   */
  checkpoint(directory: string, state: unknown): Promise<void>;
}
