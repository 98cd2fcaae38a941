/** The sequences of an engine: sources, encoded once, and targets, the texts that are written over them. */
import type { NativeAnswer, NativeSource, NativeTarget } from '../../native/binding.cjs';
import { invalidArgument } from '../errors.js';
import { checkOptions } from '../options.js';
import { ofThisRealm } from './native.js';

/** An encoded source: made by {@link Engine.encode}, read by any number of targets. */
export class Source {
  readonly #native: NativeSource;

  private constructor(source: NativeSource) {
    this.#native = source;
  }

  /** @internal */
  static of(source: NativeSource): Source {
    return new Source(source);
  }

  /** @internal What was read of a source that was not kept. */
  static answer(source: Source): NativeAnswer {
    return ofThisRealm(source.#native.answer());
  }

  /** Ids, `<s>` and `</s>` included. */
  get length(): number {
    return this.#native.length;
  }

  /** Bytes of memory it takes; 0 when it was disposed of. */
  get bytes(): number {
    return this.#native.bytes;
  }

  /**
   * Raw logits of the length classes, or null for a model without a length predictor. `ERR_INVALID_ARGUMENT` if it was
   * encoded without states.
   */
  get lengthLogits(): Float32Array | null {
    return ofThisRealm(this.#native.lengthLogits);
  }

  /** Final states after the last norm, `[length, hidden]`. `ERR_INVALID_ARGUMENT` if it was encoded without them. */
  states(): Float32Array {
    return ofThisRealm(this.#native.states());
  }

  /**
   * The `count` most probable target lengths in ids, best first; log-probabilities over all classes.
   * `ERR_INVALID_ARGUMENT` for a model without a length predictor, or if it was encoded without states.
   */
  predictLengths(count = 1): { length: number; logProb: number }[] {
    return ofThisRealm(this.#native.predictLengths(count));
  }

  /**
   * A new target: with a length (3 ids or more), all inner positions masked; with ids, those that are
   * `<mask>` are to be predicted and the others stay (infilling). `sequence` is its number for sampling,
   * default 0: two targets of the same source and number draw the same text.
   */
  target(specification: number | Int32Array, options: { sequence?: number } = {}): Target {
    checkOptions('source.target()', options, ['sequence']);
    return Target.of(this.#native.target(specification, options.sequence ?? 0));
  }

  /** Frees the cache. Its targets cannot be used any more. */
  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A text over a source, some of its positions `<mask>`: made by {@link Source.target}. */
export class Target {
  readonly #native: NativeTarget;

  private constructor(target: NativeTarget) {
    this.#native = target;
  }

  /** @internal */
  static of(target: NativeTarget): Target {
    return new Target(target);
  }

  /** @internal The addon's target behind it. */
  static native(target: Target): NativeTarget {
    return target.#native;
  }

  /** Ids, `<s>` and `</s>` included. */
  get length(): number {
    return this.#native.length;
  }

  /** The ids as they are now (a copy). */
  get tokens(): Int32Array {
    return ofThisRealm(this.#native.tokens);
  }

  /** Log-probability of each token when it was predicted; 0 at the ends, given and masked positions. */
  get scores(): Float32Array {
    return ofThisRealm(this.#native.scores);
  }

  /** 1 at the positions that are masked now. */
  get masked(): Uint8Array {
    return ofThisRealm(this.#native.masked);
  }

  /** N: how many positions were masked at the start, and may be again. */
  get maskable(): number {
    return this.#native.maskable;
  }

  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @internal The addon's targets behind an array of them. */
export function nativeTargets(targets: Target[]): NativeTarget[] {
  if (!Array.isArray(targets)) throw invalidArgument('targets must be an array');
  return targets.map((target, index) => {
    if (!(target instanceof Target)) throw invalidArgument(`target ${index} is not a target`);
    return Target.native(target);
  });
}
