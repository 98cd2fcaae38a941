/**
 * Messages about calls and passes, through `node:diagnostics_channel`. They are built only if someone subscribes.
 *
 * `mask-predict:request` is a tracing channel: `start`, `asyncEnd` and `error` of every call of the text level.
 * `mask-predict:batch` has a message for every batch that the engine ran, after it: one native call, of one or more passes.
 */
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { endedIfDropped, type Held } from './abandoned.js';

/** The message of a request's events: one object from its start to its end. */
export interface RequestEvent {
  call:
    | 'generate'
    | 'refine'
    | 'choose'
    | 'score'
    | 'ask'
    | 'predictLength'
    | 'fillMask'
    | 'pseudoLogLikelihood'
    | 'embed'
    | 'classify';
  /** How many prompts. */
  prompts: number;
  priority: number | undefined;
  deadline: number | undefined;
  /** From `asyncEnd` on, what the call gave. */
  result?: unknown;
  /** From `error` on, what it failed with. */
  error?: unknown;
}

export interface BatchEvent {
  /** Sources that were encoded and targets that were moved, and the rows of both. */
  sources: number;
  targets: number;
  rows: number;
  /** Passes: more than one where nobody else wanted to join. */
  passes: number;
  /** Milliseconds of all of them. */
  duration: number;
  /** Calls that wait for their first pass now. */
  waiting: number;
}

const requests = tracingChannel<unknown, RequestEvent>('mask-predict:request');
const batches = channel('mask-predict:batch');

/** @internal Runs a call within its events. */
export function traced<T>(event: () => RequestEvent, call: () => Promise<T>): Promise<T> {
  return requests.hasSubscribers ? requests.tracePromise(call, event()) : call();
}

/** @internal The same for a call whose answer is read step by step; one that is left early ends without a result. */
export function tracedReading<T, R>(
  event: () => RequestEvent,
  steps: AsyncGenerator<T, R, void>,
): AsyncGenerator<T, R, void> {
  if (!requests.hasSubscribers) return steps;
  return endedIfDropped((held) => readingWithin(event(), steps, held));
}

async function* readingWithin<T, R>(
  event: RequestEvent,
  steps: AsyncGenerator<T, R, void>,
  held: Held,
): AsyncGenerator<T, R, void> {
  let end!: (ended: R | undefined) => void;
  let fail!: (error: unknown) => void;
  const ended = new Promise<R | undefined>((resolve, reject) => {
    end = resolve;
    fail = reject;
    held.end = () => resolve(undefined);
  });
  requests.tracePromise(() => ended, event).catch(() => {}); // the reader is told
  try {
    const result = yield* steps;
    end(result);
    return result;
  } catch (error) {
    fail(error);
    throw error;
  } finally {
    end(undefined);
  }
}

/** @internal */
export function publishBatch(event: () => BatchEvent): void {
  if (batches.hasSubscribers) batches.publish(event());
}
