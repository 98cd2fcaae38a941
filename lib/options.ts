/** Checks of option objects: a misspelt name or a wrong type is an error that says what is allowed. */
import { invalidArgument, shown } from './errors.js';

/** Throws unless `options` is an object with no other keys than `allowed`. */
export function checkOptions(call: string, options: unknown, allowed: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidArgument(`the options of ${call} must be an object`);
  }
  for (const key of Object.keys(options)) {
    if (!allowed.includes(key)) {
      throw invalidArgument(`${call} has no option '${key}'; it has ${allowed.join(', ')}`);
    }
  }
}

/** `value` or, if it is undefined, `otherwise`; throws unless it is an integer from `least` to `most`. */
export function integerOption(
  name: string,
  value: unknown,
  otherwise: number,
  least: number,
  most: number,
): number {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalidArgument(
      `${name} must be an integer from ${least} to ${most}, not ${shown(value)}`,
    );
  }
  return value;
}

/** A seed as the 64-bit value the generator takes. */
export function seedOption(name: string, value: unknown): bigint {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value === 'number' && Number.isSafeInteger(value))
    return BigInt.asUintN(64, BigInt(value));
  throw invalidArgument(`${name} must be an integer or a BigInt, not ${shown(value)}`);
}

/** Throws unless `value` is undefined or an AbortSignal. */
export function checkSignal(value: unknown): asserts value is AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw invalidArgument('signal must be an AbortSignal');
  }
}

/** Throws unless `value` is undefined or a function. */
export function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') {
    throw invalidArgument(`${name} must be a function`);
  }
}
