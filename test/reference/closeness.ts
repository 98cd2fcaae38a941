/**
 * How far computed values are from the reference, in units of what they may be off: 1 is the limit.
 */

export interface Closeness {
  /** The largest |actual - expected| / bound; Infinity where a value is not a number or a length differs. */
  worst: number;
  /** Where it is, in words. */
  where: string;
}

/** `bound` is one number for all values or one per value. */
export function closeness(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: number | ArrayLike<number>,
): Closeness {
  if (actual.length !== expected.length)
    return { worst: Infinity, where: `length ${actual.length}, expected ${expected.length}` };
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    const limit = typeof bound === 'number' ? bound : bound[i]!;
    const ratio = error === 0 ? 0 : error / limit;
    if (!(ratio <= worst)) {
      worst = Number.isNaN(ratio) ? Infinity : ratio;
      at = i;
    }
  }
  return { worst, where: at < 0 ? 'equal' : `at ${at}: ${actual[at]}, expected ${expected[at]}` };
}

/** True if two arrays hold the same bits. */
export function sameBits(a: Float32Array | Int32Array, b: Float32Array | Int32Array): boolean {
  const bytes = (x: Float32Array | Int32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  return bytes(a).equals(bytes(b));
}

export const rootMeanSquare = (x: Float64Array) =>
  Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);
