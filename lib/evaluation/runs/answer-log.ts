/**
 * The answers of a run as JSON lines: what is asked is asked once, whatever ends the run in between. A last line that was
 * cut off by a crash is dropped.
 */
import { open, readFile, truncate, type FileHandle } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { invalidArgument, MaskPredictError } from '../../errors.js';

/** One answer to one example under one prompt. */
export interface AnswerRecord {
  /** The prompt's name. */
  prompt: string;
  /** How it was asked: `predicted`, `gold`, `1 token`, `3 candidates`, `3 candidates, weight 1`, `chosen`, `given`. */
  way: string;
  group: string;
  /** The example's place, `FILE:LINE`. */
  id: string;
  source: string;
  answer: string;
  /** The right answers. */
  gold: readonly string[];
  /** Tokens of the answer and of the first right one; there unless answers were given. */
  length?: number;
  goldLength?: number;
  /** Mean log-probability, or that of the chosen label. */
  score?: number;
  /** Over the answer. */
  passes?: number;
  /** True if the instruction was cut because the model reads no longer ones. */
  truncated?: boolean;
  /** Milliseconds since the answer before it came: their sum is the time of the run. */
  ms?: number;
}

/** @internal */
export function keyOf({ prompt, way, id }: Pick<AnswerRecord, 'prompt' | 'way' | 'id'>): string {
  return JSON.stringify([prompt, way, id]);
}

/** @internal */
export class AnswerLog {
  readonly records = new Map<string, AnswerRecord>();
  readonly #file: FileHandle | undefined;
  #pending: string[] = [];
  /** The write that is under way, which takes what comes meanwhile as well. */
  #writing: Promise<void> | undefined;
  #failure: { cause: unknown } | undefined;

  private constructor(file: FileHandle | undefined) {
    this.#file = file;
  }

  /** Goes on with the answers of `path`; without one they are in memory alone. */
  static async open(path: string | undefined): Promise<AnswerLog> {
    if (path === undefined) return new AnswerLog(undefined);
    const before = existsSync(path) ? await readRecords(path, true) : [];
    try {
      const log = new AnswerLog(await open(path, 'a'));
      for (const record of before) log.records.set(keyOf(record), record);
      return log;
    } catch (cause) {
      throw cannotBeWritten(path, cause);
    }
  }

  add(record: AnswerRecord): void {
    this.records.set(keyOf(record), record);
    if (!this.#file) return;
    this.#pending.push(`${JSON.stringify(record)}\n`);
    this.#writing ??= this.#write();
  }

  /** Resolves when everything is written, or rejects with what went wrong. */
  async close(): Promise<void> {
    if (!this.#file) return;
    await this.#writing;
    await this.#file.close();
    if (this.#failure) throw cannotBeWritten('the answers', this.#failure.cause);
  }

  /** Whoever closes learns what went wrong. */
  async #write(): Promise<void> {
    try {
      while (this.#pending.length > 0) {
        const text = this.#pending.join('');
        this.#pending = [];
        await this.#file!.appendFile(text);
      }
    } catch (cause) {
      this.#failure ??= { cause };
    }
    this.#writing = undefined;
  }
}

/** The answers in a file; with `mend` a last line without an end is cut off there. @internal */
export async function readRecords(path: string, mend = false): Promise<AnswerRecord[]> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${path} cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  });
  const end = bytes.lastIndexOf(0x0a) + 1;
  if (mend && end < bytes.length) await truncate(path, end);
  const lines = bytes.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
  return lines.map((line, i) => {
    try {
      return JSON.parse(line) as AnswerRecord;
    } catch {
      throw invalidArgument(`${path}:${i + 1}: this is no answer of an evaluation`);
    }
  });
}

function cannotBeWritten(path: string, cause: unknown): MaskPredictError {
  const { message } = cause as Error;
  return new MaskPredictError('ERR_INVALID_ARGUMENT', `${path} cannot be written: ${message}`, {
    cause,
  });
}
