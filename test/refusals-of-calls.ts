/** Asks of calls that each is refused with the code given, and that the message names the culprit. */
import type { Test } from 'tap';
import { MaskPredictError, type ErrorCode } from '../lib/index.js';

/** A description of the call, the call, and what the message must say. */
export type RefusedCalls = Record<string, [call: () => unknown, ...messages: RegExp[]]>;

export async function refused(t: Test, code: ErrorCode, calls: RefusedCalls): Promise<void> {
  for (const [what, [call, ...messages]] of Object.entries(calls)) {
    let outcome: unknown;
    try {
      outcome = await call();
    } catch (error) {
      outcome = error;
    }
    t.ok(outcome instanceof MaskPredictError, `${what}: an error of this package`);
    for (const message of messages) t.match(outcome, { code, message }, what);
  }
}

/** A value of the wrong type, as JavaScript code may pass it. */
export function wrong(value: unknown): never {
  return value as never;
}
