/** Checks of option values that only the measures have. */
import { invalidArgument, shown } from '../errors.js';

/** `value` or, if it is undefined, `otherwise`; throws unless it is one of `choices`. */
export function choiceOption<T extends string>(
  name: string,
  value: unknown,
  otherwise: T,
  choices: readonly string[],
): T {
  if (value === undefined) return otherwise;
  if (typeof value === 'string' && choices.includes(value)) return value as T;
  const listed = choices.map((choice) => `'${choice}'`).join(', ');
  throw invalidArgument(`${name} must be one of ${listed}, not ${shown(value)}`);
}

/** `value` or, if it is undefined, `otherwise`; throws unless it is a number from `least` to `most`. */
export function numberOption(
  name: string,
  value: unknown,
  otherwise: number,
  least: number,
  most: number,
): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw invalidArgument(`${name} must be a number from ${least} to ${most}, not ${shown(value)}`);
}
