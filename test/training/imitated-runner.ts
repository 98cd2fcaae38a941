/**
 * A step runner without a model: its only weight moves with every id, position, rate and step it sees, so that two
 * trainings that differ anywhere differ in the weight. A saved one is the embedded model.
 */
import { cp, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { embeddedModel } from '../../lib/bundled-models.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import type { StepOptions, StepPart, StepResult, StepRunner } from '../../lib/training/step.js';
import {
  runTraining,
  type TrainingContext,
  type TrainingState,
  type TrainOptions,
} from '../../lib/training/train.js';
import type { DatasetSource } from '../../lib/training/dataset.js';
import type { Trainee } from '../../lib/training/training-run.js';
import { runValidation, type ValidateOptions } from '../../lib/training/validate.js';

export const tokenizerFile = join(embeddedModel, 'sentencepiece.bpe.model');
export const tokenizer = await Tokenizer.load(tokenizerFile);
export const tokenizerBytes = await readFile(tokenizerFile);

export class ImitatedRunner implements StepRunner, Trainee {
  readonly maskTokenId = 401;
  readonly lengths = 64;
  readonly maxIds = 128;
  readonly steps: { parts: StepPart[]; options: StepOptions }[] = [];
  weight = 0;
  /** Called before a step is done. */
  onStep: (step: number) => void | Promise<void> = () => {};
  /** Loss of a validation. */
  validationLoss = () => 1;
  readonly context: TrainingContext & { lengthWeight: number; state: TrainingState | undefined } & {
    tokenizer: Tokenizer | undefined;
  };

  constructor(seed = 0n, state?: TrainingState) {
    this.context = {
      learningRate: 1e-3,
      seed,
      tokenizer,
      tokenizerBytes,
      state,
      lengthWeight: 0.1,
    };
  }

  async runStep(parts: StepPart[], options: StepOptions): Promise<StepResult> {
    await this.onStep(options.step);
    options.signal?.throwIfAborted();
    this.steps.push({ parts, options });
    this.weight = (this.weight * 31 + digest(parts) * options.learningRate) % 1e9;
    return { ...counts(parts), loss: 3 / options.step, nll: 1, lengthLoss: 1, gradientNorm: 1 };
  }

  async evaluate(parts: StepPart[]): Promise<StepResult> {
    const loss = this.validationLoss();
    return { ...counts(parts), loss, nll: digest(parts), lengthLoss: 1, gradientNorm: 0 };
  }

  async save(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    await cp(embeddedModel, directory, { recursive: true });
    await writeFile(join(directory, 'weight'), String(this.weight));
  }

  async checkpoint(directory: string): Promise<void> {
    await mkdir(`${directory}.part`);
    const state = { weight: this.weight, state: this.context.state };
    await writeFile(join(`${directory}.part`, 'state.json'), JSON.stringify(state));
    await rename(`${directory}.part`, directory);
  }

  static async resume(directory: string): Promise<ImitatedRunner> {
    const { weight, state } = JSON.parse(await readFile(join(directory, 'state.json'), 'utf8'));
    const runner = new ImitatedRunner(BigInt(state.seed), state);
    runner.weight = weight;
    return runner;
  }

  train(dataset: DatasetSource, options: TrainOptions) {
    return runTraining(this, dataset, options, this.context);
  }

  validate(dataset: DatasetSource, options: ValidateOptions) {
    return runValidation(this, dataset, options, this.context);
  }
}

function counts(parts: StepPart[]) {
  let maskedTokens = 0;
  for (const { targets } of parts) {
    for (const target of targets) maskedTokens += target.filter((id) => id === 401).length;
  }
  return { maskedTokens, examples: parts.reduce((sum, { golds }) => sum + golds.length, 0) };
}

/** Depends on every id and its place. */
export function digest(parts: StepPart[]): number {
  let hash = 7;
  for (const { sources, targets, golds } of parts) {
    for (const list of [sources, targets, golds]) {
      for (const ids of list) for (const id of ids) hash = (Math.imul(hash, 31) + id + 1) >>> 0;
    }
  }
  return hash / 2 ** 32;
}

/** Instructions about numbers, `count` of them. */
export function instructions(count: number): { instruction: string; output: string }[] {
  return Array.from({ length: count }, (_, number) => ({
    instruction: `Write the number ${number} in English words.`,
    output: `${'one '.repeat(1 + (number % 5))}two`,
  }));
}

export function jsonLines(examples: object[]): string {
  return examples.map((example) => `${JSON.stringify(example)}\n`).join('');
}
