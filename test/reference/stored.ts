/**
 * Numbers as files and packed weights store them: fp16 and bf16 bit patterns, and weight matrices of the three
 * types together with the exact double-precision values they stand for.
 */
import type { Random } from './random.js';

export type WeightType = 'fp32' | 'fp16' | 'bf16';
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

export interface StoredWeight {
  type: WeightType;
  rows: number;
  columns: number;
  /** What packWeight takes. */
  stored: Float32Array | Uint16Array;
  /** What it stands for. */
  exact: Float64Array;
}

/** The weight with the given values, cut to the type's precision. */
export function storeWeight(
  values: ArrayLike<number>,
  type: WeightType,
  rows: number,
  columns: number,
): StoredWeight {
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
