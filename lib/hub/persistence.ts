/** Trying again what a network or a busy hub interrupted. */
import { setTimeout as wait } from 'node:timers/promises';

/** Another try may help. `pause` is how long the hub asks to wait, in milliseconds. */
export class Interruption extends Error {
  readonly pause: number | undefined;

  constructor(message: string, options?: ErrorOptions & { pause?: number | undefined }) {
    super(message, options);
    this.pause = options?.pause;
  }
}

/** The longest wait that a hub may ask for, in milliseconds. */
const longestPause = 60_000;

export interface Persistence {
  /** Failures in a row, none of which brought anything, that are not the last word. */
  retries: number;
  /** Before the first repetition, in milliseconds; twice as long before each further one. */
  pause: number;
  signal: AbortSignal | undefined;
  /** How far the work is. More than before means that the last try was not in vain. */
  reached?: () => number;
}

/**
 * Tries `work` until it succeeds and returns its result. An error that is no {@link Interruption} ends the tries at
 * once.
 */
export async function persist<T>(
  { retries, pause, signal, reached = () => 0 }: Persistence,
  work: () => Promise<T>,
): Promise<T> {
  let failures = 0;
  let before = reached();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Interruption)) throw error;
      if (reached() > before) failures = 0;
      before = reached();
      if (failures >= retries || (error.pause ?? 0) > longestPause) throw error;
      await wait(error.pause ?? pause * 2 ** failures, undefined, signal && { signal }).catch(() =>
        signal?.throwIfAborted(),
      );
      failures += 1;
    }
  }
}
