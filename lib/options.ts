/** Checks of option objects: a misspelt name or a wrong type is an error that says what is allowed. */
import type { NativeStopRule } from '../native/binding.cjs';
import { invalidArgument, shown } from './errors.js';
import type { TargetAttention } from './token/engine-options.js';

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

/** `'dynamic'` or `'mixed'`; null where nothing is asked for. */
export function attentionOption(value: unknown): TargetAttention | null {
  if (value === undefined || value === null) return null;
  if (value !== 'dynamic' && value !== 'mixed') {
    throw invalidArgument(`attention must be 'dynamic' or 'mixed', not ${shown(value)}`);
  }
  return value;
}

/** `value` or, if it is undefined, `otherwise`; throws unless it is a boolean. */
export function booleanOption(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value !== 'boolean')
    throw invalidArgument(`${name} must be true or false, not ${shown(value)}`);
  return value;
}

/** A seed as the 64-bit value the generator takes. */
export function seedOption(name: string, value: unknown): bigint {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value === 'number' && Number.isSafeInteger(value))
    return BigInt.asUintN(64, BigInt(value));
  throw invalidArgument(`${name} must be an integer or a BigInt, not ${shown(value)}`);
}

/** A {@link StopRule} as the addon takes it. */
export function stopOption(value: unknown): NativeStopRule {
  if (value === undefined) return null;
  if (value === 'unchanged') return value;
  if (typeof value === 'object' && value !== null) {
    checkOptions('stop', value, ['confidence']);
    const { confidence } = value as { confidence?: unknown };
    if (typeof confidence === 'number' && confidence > 0 && confidence <= 1) {
      return Math.log(confidence);
    }
    throw invalidArgument(
      `stop.confidence must be a probability above 0 and up to 1, not ${shown(confidence)}`,
    );
  }
  throw invalidArgument(
    `stop must be 'unchanged' or { confidence: probability }, not ${shown(value)}`,
  );
}

/** The log-probability of a {@link RemaskRule}; null where it masks all that Mask-Predict masks. */
export function remaskOption(value: unknown): number | null {
  if (value === undefined) return null;
  checkOptions('remask', value, ['below']);
  const { below } = value as { below?: unknown };
  if (typeof below === 'number' && below > 0 && below <= 1) {
    return below === 1 ? null : Math.log(below);
  }
  throw invalidArgument(
    `remask.below must be a probability above 0 and up to 1, not ${shown(below)}`,
  );
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
