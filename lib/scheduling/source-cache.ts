/**
 * The encoded sources of a model, each with the number of its users: one that nobody uses any more is kept for who
 * asks the same again, as far as the limit goes (least recently used go first), else freed at once. One without states
 * serves only calls that need none; one with states serves all.
 */
import type { PassResult, SourcePlan } from './passes.js';

/** @internal */
export type EncodedSource = Exclude<PassResult['sources'][number], Error>;

/** A source in use: not encoded yet, on its way, or encoded. @internal */
export class SourceEntry implements SourcePlan {
  readonly ids: Int32Array;
  readonly states: boolean;
  readonly reading: SourcePlan['reading'];
  users = 0;
  /** True while a pass encodes the source. */
  encoding = false;
  source: EncodedSource | undefined;

  /** `key` is undefined where nothing is shared. */
  constructor(
    { ids, states, reading }: SourcePlan,
    readonly key: string | undefined,
  ) {
    this.ids = ids;
    this.states = states;
    this.reading = reading;
  }
}

/** @internal */
export class SourceCache {
  readonly #limit: number;
  /** All that may be shared, the least recently used first. */
  readonly #shared = new Map<string, SourceEntry>();
  #bytes = 0;
  #idleBytes = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  /** `limit`: bytes of sources that nobody uses; 0 shares nothing. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes of all encoded sources, in use or kept. */
  get bytes(): number {
    return this.#bytes;
  }

  get statistics(): { hits: number; misses: number; evictions: number; kept: number } {
    return {
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
      kept: this.#idleBytes,
    };
  }

  /** The entry for a source, with one more user. */
  lease(plan: SourcePlan): SourceEntry {
    if (this.#limit === 0 || plan.reading) {
      const entry = new SourceEntry(plan, undefined);
      entry.users = 1;
      return entry;
    }
    const stated = keyOf(plan.ids, true);
    const key = plan.states || this.#shared.has(stated) ? stated : keyOf(plan.ids, false);
    let entry = this.#shared.get(key);
    if (entry) this.#hits++;
    else this.#misses++;
    entry ??= new SourceEntry(plan, key);
    this.#shared.delete(key);
    this.#shared.set(key, entry);
    if (entry.users++ === 0 && entry.source) this.#idleBytes -= entry.source.bytes;
    return entry;
  }

  /** One user less. */
  release(entry: SourceEntry): void {
    entry.users--;
    this.#settle(entry);
  }

  /** The pass that encoded it has ended: with a source, or without one. */
  encoded(entry: SourceEntry, source: EncodedSource | undefined): void {
    entry.encoding = false;
    entry.source = source;
    if (source) this.#bytes += source.bytes;
    this.#settle(entry);
  }

  /** Frees what nobody uses; false if there was nothing. */
  evictIdle(): boolean {
    const before = this.#idleBytes;
    this.#evict(0);
    return before > 0;
  }

  #settle(entry: SourceEntry): void {
    if (entry.users > 0 || entry.encoding) return;
    if (entry.source && entry.key !== undefined) {
      this.#idleBytes += entry.source.bytes;
      this.#evict(this.#limit);
    } else {
      this.#free(entry);
    }
  }

  #evict(limit: number): void {
    for (const entry of this.#shared.values()) {
      if (this.#idleBytes <= limit) return;
      if (entry.users > 0 || !entry.source) continue;
      this.#idleBytes -= entry.source.bytes;
      this.#evictions++;
      this.#free(entry);
    }
  }

  #free(entry: SourceEntry): void {
    if (entry.key !== undefined && this.#shared.get(entry.key) === entry) {
      this.#shared.delete(entry.key);
    }
    if (!entry.source) return;
    this.#bytes -= entry.source.bytes;
    entry.source.dispose();
    entry.source = undefined;
  }
}

function keyOf(ids: Int32Array, states: boolean): string {
  const bytes = Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength).toString('latin1');
  return (states ? 's' : '-') + bytes;
}
