/** The calls with sequences that have not begun, in the order they are due. */
import { MaskPredictError } from '../errors.js';
import type { ScheduledCall } from './call.js';

export class CallQueue {
  /** Ascending by `due`, which does not change while a call is here. */
  readonly #calls: ScheduledCall[] = [];
  readonly #limit: number;
  #waiting = 0;

  /** `limit`: how many may wait for their first pass; Infinity: any number. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#calls.length;
  }

  /** Calls that wait for their first pass; the others have more sequences to begin. */
  get waiting(): number {
    return this.#waiting;
  }

  at(place: number): ScheduledCall | undefined {
    return this.#calls[place];
  }

  /** `ERR_OVERLOADED` if no further call may wait. */
  checkLimit(): void {
    if (this.#waiting < this.#limit) return;
    throw queueIsFull(this.#limit);
  }

  /** Adds a call after all that are due at the same time or earlier; nothing if it is here. */
  add(call: ScheduledCall): void {
    if (call.queued) return;
    let place = this.#calls.length;
    while (place > 0 && this.#calls[place - 1]!.due > call.due) place--;
    this.#calls.splice(place, 0, call);
    call.queued = true;
    if (!call.begun) this.#waiting++;
  }

  /** Takes a call out; nothing if it is not here. To be told before the call has begun. */
  remove(call: ScheduledCall): void {
    if (!call.queued) return;
    this.#calls.splice(this.#calls.indexOf(call, this.#firstDue(call.due)), 1);
    call.queued = false;
    if (!call.begun) this.#waiting--;
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

  /** The place of the first call that is due at `due` or later. A queue has no limit, so it is not searched through. */
  #firstDue(due: number): number {
    let least = 0;
    let most = this.#calls.length;
    while (least < most) {
      const middle = (least + most) >> 1;
      if (this.#calls[middle]!.due < due) least = middle + 1;
      else most = middle;
    }
    return least;
  }
}

/** The error of a call that may not wait. */
export function queueIsFull(limit: number): MaskPredictError {
  return new MaskPredictError(
    'ERR_OVERLOADED',
    `the queue is full: ${limit} calls are waiting (scheduling.queueLimit); try again later, or send ` +
      `fewer calls at once`,
  );
}
