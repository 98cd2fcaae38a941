/** The calls with sequences that have not begun, in the order they are due. */
import { MaskPredictError } from '../errors.js';
import type { ScheduledCall } from './call.js';

export class CallQueue {
  readonly #calls: ScheduledCall[] = [];
  readonly #limit: number;

  /** `limit`: how many may wait for their first pass. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** Calls that wait for their first pass; the others have more sequences to begin. */
  get waiting(): number {
    return this.#calls.reduce((count, { begun }) => count + (begun ? 0 : 1), 0);
  }

  at(place: number): ScheduledCall | undefined {
    return this.#calls[place];
  }

  /** `ERR_OVERLOADED` if no further call may wait. */
  checkRoom(): void {
    if (this.waiting < this.#limit) return;
    throw new MaskPredictError(
      'ERR_OVERLOADED',
      `the queue is full: ${this.#limit} calls are waiting (scheduling.queueLimit); try again later, or send ` +
        `fewer calls at once`,
    );
  }

  /** Adds a call, or one that has further sequences to begin again. */
  add(call: ScheduledCall): void {
    if (this.#calls.includes(call)) return;
    let place = this.#calls.length;
    while (place > 0 && this.#calls[place - 1]!.due > call.due) place--;
    this.#calls.splice(place, 0, call);
  }

  remove(call: ScheduledCall): void {
    const place = this.#calls.indexOf(call);
    if (place >= 0) this.#calls.splice(place, 1);
  }

  /** Calls `expired` with the error if the call has not begun within so many milliseconds; to be cleared. */
  expire(
    call: ScheduledCall,
    deadline: number,
    expired: (error: MaskPredictError) => void,
  ): NodeJS.Timeout {
    const passed = () => {
      if (call.begun) return;
      const message =
        `the call could not begin within its deadline of ${deadline} ms: ${this.waiting} calls are waiting; try ` +
        `again later, or give it more time`;
      expired(new MaskPredictError('ERR_OVERLOADED', message));
    };
    return setTimeout(passed, deadline).unref();
  }
}
