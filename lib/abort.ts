/**
 * Listening to an AbortSignal that many calls may share: one listener per signal, however many calls, so that
 * Node.js does not take a busy service for a leak.
 */
const callbacks = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `stop` when `signal` is aborted, unless the function returned was called before. */
export function onAbort(signal: AbortSignal | undefined, stop: () => void): () => void {
  if (!signal) return () => {};
  let set = callbacks.get(signal);
  if (!set) {
    const created = new Set<() => void>();
    callbacks.set(signal, (set = created));
    signal.addEventListener('abort', () => created.forEach((callback) => callback()), {
      once: true,
    });
  }
  const registered = set;
  registered.add(stop);
  return () => registered.delete(stop);
}
