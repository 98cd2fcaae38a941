/**
 * A whole training on disk: what `mask-predict train` does, over anything that trains. In the directory are
 *
 * - `best/` and `last/`: models that load (best of all validations; last of all steps);
 * - `kept/step-N/`, where asked for: the models of the best validations, for `averageModels`;
 * - `checkpoints/step-N/`: the newest state to go on from, in a directory that has its name only when it is whole;
 * - `log.jsonl`, `loss.svg`, and `run.json`: the settings and the best value so far.
 *
 * An abort ends it at the last whole step, and then everything is written as at the end, but for a last validation.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invalidArgument, MaskPredictError } from '../errors.js';
import type { DatasetSource } from './dataset.js';
import { LossCurve } from './loss-curve.js';
import { readLog, TrainingLog } from './training-log.js';
import { restoreDirectory } from './whole-directory.js';
import type { TrainOptions, TrainingStep } from './train.js';
import type { ValidateOptions, Validation } from './validate.js';

/** The trainer, as a run uses it. */
export interface Trainee {
  train(
    dataset: DatasetSource,
    options: TrainOptions,
  ): AsyncGenerator<TrainingStep, unknown, unknown>;
  validate(dataset: DatasetSource, options: ValidateOptions): Promise<Validation>;
  save(directory: string, options?: { precision?: SavePrecision }): Promise<void>;
  checkpoint(directory: string): Promise<void>;
}

export type SavePrecision = 'fp32' | 'fp16' | 'bf16';
/** By what a validation is better: a lower loss, or more exact answers or BLEU at T = 10. */
export type BestBy = 'loss' | 'exact' | 'bleu';

export interface RunOptions {
  directory: string;
  train: DatasetSource;
  trainOptions: TrainOptions;
  valid?: DatasetSource;
  validOptions: ValidateOptions;
  best: BestBy;
  /** How many of the models that were validated stay in `kept/`, the best ones. */
  keepBest: number;
  /** Steps between validations and between checkpoints. */
  validEvery: number;
  checkpointEvery: number;
  savePrecision: SavePrecision;
  /** JSON; `run.json` keeps it for whoever goes on. */
  settings: unknown;
  signal: AbortSignal;
  onStep: (step: TrainingStep) => void;
  onValidation: (validation: Validation, step: number, isBest: boolean) => void;
}

/** `run.json`. */
export interface RunFile {
  settings: unknown;
  bestBy: BestBy;
  best: { step: number; value: number } | null;
  /** The models in `kept/`, the best first. */
  kept?: { step: number; value: number }[];
}

/** Files of a training's directory. */
export const runFiles = {
  run: 'run.json',
  log: 'log.jsonl',
  curve: 'loss.svg',
  best: 'best',
  last: 'last',
  kept: 'kept',
  checkpoints: 'checkpoints',
} as const;

/** The newest whole checkpoint of a training's directory; undefined if there is none. */
export async function newestCheckpoint(directory: string): Promise<string | undefined> {
  const [newest] = await checkpointNames(directory);
  return newest && join(directory, runFiles.checkpoints, newest);
}

/** `run.json` of a training's directory; undefined if there is none. */
export async function readRunFile(directory: string): Promise<RunFile | undefined> {
  const file = join(directory, runFiles.run);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${file} cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
  try {
    return JSON.parse(text) as RunFile;
  } catch {
    throw invalidArgument(`${file} is no JSON; it is damaged`);
  }
}

/**
 * Trains `trainee` and yields nothing: callbacks tell. `step`: steps it has done before. Rejects with the signal's
 * reason when it was aborted, after everything is on disk.
 */
export async function runOnDisk(trainee: Trainee, options: RunOptions, step = 0): Promise<void> {
  const run = await Run.open(trainee, options, step);
  try {
    await run.work();
  } finally {
    await run.close();
  }
}

class Run {
  readonly #trainee: Trainee;
  readonly #options: RunOptions;
  readonly #log: TrainingLog;
  readonly #curve = new LossCurve();
  #file: RunFile;
  #step: number;
  #validated = -1;
  #saved = -1;

  private constructor(
    trainee: Trainee,
    options: RunOptions,
    log: TrainingLog,
    file: RunFile,
    step: number,
  ) {
    this.#trainee = trainee;
    this.#options = options;
    this.#log = log;
    this.#file = file;
    this.#step = step;
  }

  static async open(trainee: Trainee, options: RunOptions, step: number): Promise<Run> {
    const { directory, settings, best } = options;
    await writing(directory, () => mkdir(directory, { recursive: true }));
    for (const name of [runFiles.best, runFiles.last])
      await restoreDirectory(join(directory, name));
    const earlier = step > 0 ? await readRunFile(directory) : undefined;
    const comparable = earlier?.bestBy === best ? earlier : undefined;
    const log = await TrainingLog.open(join(directory, runFiles.log), step);
    const file: RunFile = {
      settings,
      bestBy: best,
      best: comparable?.best ?? null,
      // A validation after the checkpoint is done again.
      ...(comparable?.kept && { kept: comparable.kept.filter((one) => one.step <= step) }),
    };
    const run = new Run(trainee, options, log, file, step);
    if (step > 0) {
      for await (const entry of readLog(log.file)) {
        run.#curve.add(entry);
        if (entry.validation) run.#validated = entry.step;
      }
    }
    await run.#writeFile(runFiles.run, `${JSON.stringify(run.#file, undefined, 2)}\n`);
    return run;
  }

  async work(): Promise<void> {
    const { train, trainOptions, signal } = this.#options;
    try {
      for await (const step of this.#trainee.train(train, trainOptions)) await this.#after(step);
      if (this.#validated !== this.#step) await this.#validate();
    } catch (error) {
      if (signal.aborted && this.#step > 0) await this.#keep();
      throw error;
    }
    await this.#keep();
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  async #after(step: TrainingStep): Promise<void> {
    this.#step = step.step;
    this.#curve.add(step);
    await this.#log.add(step);
    this.#options.onStep(step);
    if (step.step % this.#options.validEvery === 0) await this.#validate();
    if (step.step % this.#options.checkpointEvery === 0) await this.#checkpoint();
  }

  async #validate(): Promise<void> {
    const { valid, validOptions, best, onValidation } = this.#options;
    if (valid === undefined) return;
    const validation = await this.#trainee.validate(valid, validOptions);
    const step = this.#step;
    this.#validated = step;
    this.#curve.add({ step, validation });
    await this.#log.add({ step, validation });
    const value = valueOf(validation, best);
    const isBest = this.#file.best === null || value > this.#file.best.value;
    onValidation(validation, step, isBest);
    if (isBest) await this.#keepBest(value);
    await this.#keepAmongBest(value);
    await this.#writeFile(runFiles.curve, this.#curve.svg());
  }

  async #keepBest(value: number): Promise<void> {
    await this.#save(runFiles.best);
    this.#file = { ...this.#file, best: { step: this.#step, value } };
    await this.#writeFile(runFiles.run, `${JSON.stringify(this.#file, undefined, 2)}\n`);
  }

  /** Saves the model where it is one of the best so far, and deletes the one whose place it takes. */
  async #keepAmongBest(value: number): Promise<void> {
    const { directory, keepBest } = this.#options;
    if (keepBest === 0) return;
    const name = ({ step }: { step: number }) => join(runFiles.kept, checkpointName(step));
    const all = [...(this.#file.kept ?? []), { step: this.#step, value }];
    // If two are equal, the later goes first: it was trained for longer.
    all.sort((a, b) => b.value - a.value || b.step - a.step);
    const [kept, others] = [all.slice(0, keepBest), all.slice(keepBest)];
    if (kept.some(({ step }) => step === this.#step)) {
      await writing(directory, () => mkdir(join(directory, runFiles.kept), { recursive: true }));
      await this.#save(name({ step: this.#step }));
    }
    this.#file = { ...this.#file, kept };
    await this.#writeFile(runFiles.run, `${JSON.stringify(this.#file, undefined, 2)}\n`);
    for (const other of others)
      await rm(join(directory, name(other)), { recursive: true, force: true });
  }

  /** Everything that the end of a training leaves, best included where no validation has made one. */
  async #keep(): Promise<void> {
    await this.#save(runFiles.last);
    const { valid } = this.#options;
    if (valid !== undefined && this.#file.best === null) await this.#save(runFiles.best);
    await this.#checkpoint();
    await this.#writeFile(runFiles.curve, this.#curve.svg());
  }

  async #checkpoint(): Promise<void> {
    if (this.#saved === this.#step) return;
    const { directory } = this.#options;
    const name = checkpointName(this.#step);
    await writing(directory, async () => {
      await mkdir(join(directory, runFiles.checkpoints), { recursive: true });
      await rm(join(directory, runFiles.checkpoints, name), { recursive: true, force: true });
    });
    await this.#trainee.checkpoint(join(directory, runFiles.checkpoints, name));
    this.#saved = this.#step;
    for (const older of await readdir(join(directory, runFiles.checkpoints))) {
      if (older === name) continue;
      await rm(join(directory, runFiles.checkpoints, older), { recursive: true, force: true });
    }
  }

  #save(name: string): Promise<void> {
    const { directory, savePrecision } = this.#options;
    return this.#trainee.save(join(directory, name), { precision: savePrecision });
  }

  async #writeFile(name: string, text: string): Promise<void> {
    const file = join(this.#options.directory, name);
    await writing(file, async () => {
      await writeFile(`${file}.part`, text);
      await rename(`${file}.part`, file);
    });
  }
}

/** Higher is better. */
function valueOf({ loss, answers }: Validation, best: BestBy): number {
  return best === 'loss' ? -loss : answers![10][best];
}

function checkpointName(step: number): string {
  return `step-${String(step).padStart(9, '0')}`;
}

/** Whole checkpoints, the newest first. */
async function checkpointNames(directory: string): Promise<string[]> {
  const names = await readdir(join(directory, runFiles.checkpoints)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  return names
    .filter((name) => /^step-\d{9}$/.test(name))
    .sort()
    .reverse();
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${path} cannot be written: ${(cause as Error).message}`,
      { cause },
    );
  }
}
