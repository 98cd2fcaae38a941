/**
 * The log of a training, as JSON lines: `{ "step": …, "loss": …, … }` of every step, and `{ "validation": { … },
 * "step": … }`. A training that goes on first takes out what came after its checkpoint.
 */
import { createReadStream } from 'node:fs';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { MaskPredictError } from '../errors.js';
import type { TrainingStep } from './train.js';
import type { Validation } from './validate.js';

export type LogEntry =
  (TrainingStep & { validation?: never }) | { step: number; validation: Validation };

export class TrainingLog {
  readonly file: string;
  readonly #handle: FileHandle;

  private constructor(file: string, handle: FileHandle) {
    this.file = file;
    this.#handle = handle;
  }

  /** Opens `file` to go on after `step`; later entries are taken out. */
  static async open(file: string, step: number): Promise<TrainingLog> {
    return writing(file, async () => {
      if (step > 0) await takeOutAfter(file, step);
      return new TrainingLog(file, await open(file, step > 0 ? 'a' : 'w'));
    });
  }

  add(entry: LogEntry): Promise<void> {
    return writing(this.file, () => this.#handle.appendFile(`${JSON.stringify(entry)}\n`));
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** The entries of a log; a last line that was not written to its end is left out. */
export async function* readLog(file: string): AsyncGenerator<LogEntry, void, void> {
  for await (const line of createInterface({
    input: createReadStream(file),
    crlfDelay: Infinity,
  })) {
    try {
      yield JSON.parse(line) as LogEntry;
    } catch {
      // Cut off when the process was killed.
    }
  }
}

async function takeOutAfter(file: string, step: number): Promise<void> {
  const part = `${file}.part`;
  const handle = await open(part, 'w');
  try {
    for await (const entry of readLog(file)) {
      if (entry.step <= step) await handle.appendFile(`${JSON.stringify(entry)}\n`);
    }
  } catch (error) {
    // A log that was deleted begins anew.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  } finally {
    await handle.close();
  }
  await rename(part, file);
}

async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `the log ${file} cannot be written: ${(cause as Error).message}`,
      { cause },
    );
  }
}
