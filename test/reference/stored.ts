/**
 * Numbers as files and packed weights store them: fp16 and bf16 bit patterns, and weight matrices of the three
 * types together with the exact double-precision values they stand for.
 */
import type { Random } from './random.js';

export type WeightType = 'fp32' | 'fp16' | 'bf16' | 'int8' | 'fp8';
/** Those that are stored as they are; the others are bytes times a scale for each row. */
export const weightTypes: readonly WeightType[] = ['fp32', 'fp16', 'bf16'];

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

export function fromBf16(bits: number): number {
  singleBits[0] = bits << 16;
  return single[0]!;
}

/** The bf16 pattern next to `value` towards zero. */
export function toBf16(value: number): number {
  single[0] = value;
  return singleBits[0]! >>> 16;
}

/** The nearest bf16 values, ties to even. */
export function roundedToBf16(values: Float32Array): Float32Array {
  return values.map((value) => {
    single[0] = value;
    const bits = singleBits[0]!;
    return fromBf16((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  });
}

export function fromFp16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The fp16 pattern next to `value` towards zero, subnormal where need be; |value| < 65520. */
export function toFp16(value: number): number {
  const sign = value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const steps = Math.floor(magnitude * 2 ** (10 - exponent));
  return sign | (magnitude === 0 ? 0 : steps + ((exponent + 14) << 10));
}

/** The numbers of e4m3 that are not negative, rising: sign, 4 bits of exponent, 3 of fraction, no infinity. */
export const fp8Values: readonly number[] = Array.from({ length: 127 }, (_, bits) =>
  bits < 8 ? bits * 2 ** -9 : (8 + (bits & 7)) * 2 ** ((bits >> 3) - 10),
);

export interface StoredWeight {
  type: WeightType;
  rows: number;
  columns: number;
  /** The argument of packWeight; for int8 and fp8, float32 values that these types hold exactly. */
  stored: Float32Array | Uint16Array;
  /** The exact values of `stored`. */
  exact: Float64Array;
}

/**
 * Rows as multiples of a scale that bytes hold exactly, the largest of each row among them. Scales have 12 bits, so
 * that float32 holds all products.
 */
function quantized(values: ArrayLike<number>, type: 'int8' | 'fp8', columns: number): Float32Array {
  const most = type === 'int8' ? 127 : 448;
  const nearest = (x: number) =>
    type === 'int8'
      ? Math.round(x)
      : fp8Values.reduce((best, y) => (Math.abs(y - x) < Math.abs(best - x) ? y : best));
  const result = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += columns) {
    const row = Array.from({ length: columns }, (_, c) => values[at + c]!);
    const largest = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    if (largest === 0) continue;
    const step = 2 ** (Math.floor(Math.log2(largest / most)) - 11);
    const scale = Math.round(largest / most / step) * step;
    row.forEach((x, c) => {
      const magnitude =
        Math.abs(x) === largest ? most : nearest(Math.min(Math.abs(x) / scale, most));
      result[at + c] = Math.sign(x) * magnitude * scale;
    });
  }
  return result;
}

/** The weight with the given values, cut to the type's precision. */
export function storeWeight(
  values: ArrayLike<number>,
  type: WeightType,
  rows: number,
  columns: number,
): StoredWeight {
  if (type === 'int8' || type === 'fp8') {
    const stored = quantized(values, type, columns);
    return { type, rows, columns, stored, exact: Float64Array.from(stored) };
  }
  const stored =
    type === 'fp32'
      ? Float32Array.from(values)
      : Uint16Array.from(values, type === 'fp16' ? toFp16 : toBf16);
  const decode = { fp32: (x: number) => x, fp16: fromFp16, bf16: fromBf16 }[type];
  return { type, rows, columns, stored, exact: Float64Array.from(stored, decode) };
}

/** Normal weights of deviation 1/√columns, one in 64 of them tiny (subnormal in fp16) or zero. */
export function randomWeight(
  random: Random,
  type: WeightType,
  rows: number,
  columns: number,
): StoredWeight {
  const values = random.normals(rows * columns, 1 / Math.sqrt(columns));
  for (let i = random.integer(0, 63); i < values.length; i += 64)
    values[i]! *= random.choice([0, 1e-5]);
  return storeWeight(values, type, rows, columns);
}
