/**
 * The learning rate of each step: a linear warm-up, then one of three courses.
 *
 * Step s (from 1) of a warm-up of W steps has s / W of the rate. After it, with s - 1 steps done of n:
 * `'polynomial'` has ((n - (s - 1)) / (n - W)) ^ power, which is 0 when all n steps are done; `'inverse-sqrt'`
 * sqrt(W / (s - 1)), W being at least 1; `'constant'` 1.
 */
import { invalidArgument, shown } from '../errors.js';

export type ScheduleName = 'polynomial' | 'inverse-sqrt' | 'constant';
/** @internal */
export const scheduleNames: readonly ScheduleName[] = ['polynomial', 'inverse-sqrt', 'constant'];

/** @internal */
export interface Schedule {
  name: ScheduleName;
  /** W, 0 or more. */
  warmup: number;
  /** The exponent of `'polynomial'`. */
  power: number;
}

/** Throws unless `value` names a schedule. @internal */
export function scheduleOption(value: unknown): ScheduleName {
  if (value === undefined) return 'polynomial';
  if (scheduleNames.includes(value as ScheduleName)) return value as ScheduleName;
  throw invalidArgument(`schedule must be ${scheduleNames.join(', ')}, not ${shown(value)}`);
}

/**
 * The factor of step `step` (from 1). `progress` is the share of the work that is done before it, 0 … 1, where
 * no number of `steps` bounds the run but a time does; the polynomial then falls with it.
 * @internal
 */
export function scheduleFactor(
  { name, warmup, power }: Schedule,
  step: number,
  steps: number | undefined,
  progress = 0,
): number {
  const warming = step <= warmup ? step / warmup : 1;
  if (name === 'polynomial' && steps === undefined) return warming * (1 - progress) ** power;
  if (step <= warmup) return warming;
  switch (name) {
    case 'constant':
      return 1;
    case 'inverse-sqrt':
      return Math.sqrt(Math.max(warmup, 1) / Math.max(step - 1, 1));
    case 'polynomial':
      return Math.max(0, (steps! - (step - 1)) / (steps! - warmup)) ** power;
  }
}
