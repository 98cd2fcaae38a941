/**
 * Iterators that are dropped half read. A reader that leaves by `break`, `return()` or an error runs the iterator's
 * `finally`; one that forgets it does not, and what the iterator holds would be held for ever. It is given back when the
 * iterator is collected.
 */

/** The resources of an iterator. They must not refer to the iterator, or it is never collected. */
export interface Held {
  /** Gives it back; nothing if it has been. */
  end: () => void;
}

const dropped = new FinalizationRegistry<Held>((held) => held.end());

/** An iterator over something it holds: `make` is given where to say how that is given back. */
export function endedIfDropped<T extends object>(make: (held: Held) => T): T {
  const held: Held = { end: () => {} };
  const iterator = make(held);
  dropped.register(iterator, held);
  return iterator;
}
