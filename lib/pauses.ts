/** Long loops on the thread of JavaScript that let others have it every three milliseconds. */
import { setImmediate } from 'node:timers/promises';

/** Between two steps of a loop: something to wait for where three milliseconds have passed. @internal */
export function pauses(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < 3) return undefined;
    return setImmediate().then(() => void (since = performance.now()));
  };
}

/**
 * What `make` gives for each value of a list, holes included as undefined: at once if all but the last take less than three
 * milliseconds, so that a short call, and always one of a single text, joins the queue before it returns; else a promise,
 * which rejects with the reason of a signal that aborts meanwhile.
 * @internal
 */
export function mapWithPauses<T, R>(
  list: readonly T[],
  make: (value: T, index: number) => R,
  signal?: AbortSignal,
): R[] | Promise<R[]> {
  const pause = pauses();
  const results: R[] = [];
  /** Undefined when all are made. */
  const go = (): Promise<R[]> | undefined => {
    while (results.length < list.length) {
      results.push(make(list[results.length]!, results.length));
      if (results.length === list.length) break;
      const wait = pause();
      if (wait) return wait.then(() => signal?.throwIfAborted()).then(() => go() ?? results);
    }
    return undefined;
  };
  // The caller goes on with all results at once, which is long where they are many: others have the thread before that.
  return go()?.then(() => setImmediate(results)) ?? results;
}
