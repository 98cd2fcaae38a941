/** A text that is read for its own sake: it shares passes with all other calls, and nothing of it is kept. */
import type { NativeAnswer, NativeReading } from '../../native/binding.cjs';
import { invalidArgument } from '../errors.js';
import type { Sequence } from '../scheduling/call.js';
import type { EngineConfig } from '../token/engine-config.js';
import { Source } from '../token/sequences.js';

/** @internal */
export class Reading<R> implements Sequence<R> {
  readonly states = false;
  readonly #read: (answer: NativeAnswer) => R;
  #result: R | undefined;

  /** `read` makes the result of what the engine answers. */
  constructor(
    readonly ids: Int32Array,
    readonly reading: NativeReading,
    read: (answer: NativeAnswer) => R,
  ) {
    this.#read = read;
  }

  targets(source: Source): [] {
    this.#result = this.#read(Source.answer(source));
    return [];
  }

  result(): R {
    return this.#result as R;
  }
}

/** Throws for the checkpoint of an encoder alone, which predicts no tokens. @internal */
export function checkHead(call: string, { head, modelType }: EngineConfig): void {
  if (head) return;
  const tensors = modelType === 'modernbert' ? 'head.* and decoder.bias' : 'lm_head.*';
  throw invalidArgument(
    `${call} needs a language-model head (tensors ${tensors}), which this model does not have; it can embed texts`,
  );
}

/**
 * A call's texts: one text is a list of one. Array.from, not map: a hole is no text either.
 * @internal
 */
export function listOf<T>(given: T | readonly T[]): T[] {
  return Array.isArray(given) ? Array.from(given as readonly T[]) : [given as T];
}
