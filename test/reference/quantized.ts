/**
 * int8 as it is meant: each row of activations and each output's weights become whole steps from -127 to 127 of
 * largest magnitude / 127. The same float32 roundings as the engine's lead to the steps, so that these are exact; what
 * is computed with them is in double precision.
 */
import type { LinearInput, Numbers } from './ops.js';
import { geluBound } from './bounds.js';

const u = 2 ** -24;
const largestFloat = (2 - 2 ** -23) * 2 ** 127;

/** To the nearest whole number, of two equally near ones the even. */
function nearest(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

export interface QuantizedRows {
  /** One per row. */
  scales: Float64Array;
  /** step · scale: what the rows stand for now. */
  exact: Float64Array;
}

/** Rows `[rows, width]` of fp32 numbers. */
export function quantizeRows(values: Numbers, width: number): QuantizedRows {
  const rows = values.length / width;
  const scales = new Float64Array(rows);
  const exact = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) {
    const row = Array.from(values.subarray(r * width, (r + 1) * width));
    const largest = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const scale = Math.fround(largest / 127);
    const inverse = Math.min(Math.fround(127 / largest), largestFloat);
    scales[r] = scale;
    row.forEach((x, i) => (exact[r * width + i] = nearest(Math.fround(x * inverse)) * scale));
  }
  return { scales, exact };
}

/** The arguments of a linear with both sides quantized. */
export function quantizedLinear<T extends LinearInput>(args: T): T {
  const input = quantizeRows(args.input, args.inner).exact;
  const weight = quantizeRows(args.weight, args.inner).exact;
  return { ...args, input, weight };
}

/**
 * The error that fp32 may add to a product of quantized arguments: the sum of steps is exact; it becomes a float (u),
 * is multiplied by the product of two scales (2u), and the bias is added (u of the result). Then GELU, then the
 * residual. The reference itself rounds each of its additions to double precision.
 */
export function quantizedLinearBound(args: LinearInput): Float64Array {
  const { input, weight, rows, inner, outer, bias, activation, residual } = args;
  const bound = new Float64Array(rows * outer);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outer; o++) {
      let sum = 0;
      let magnitude = 0;
      for (let k = 0; k < inner; k++) {
        const product = input[r * inner + k]! * weight[o * inner + k]!;
        sum += product;
        magnitude += Math.abs(product);
      }
      const result = sum + (bias ? bias[o]! : 0);
      let e = 4 * u * Math.abs(sum) + u * Math.abs(result) + inner * 2 ** -53 * magnitude + 1e-30;
      if (activation === 'gelu') e = geluBound(result, e);
      const at = r * outer + o;
      if (residual) e += u * (Math.abs(result) + Math.abs(residual[at]!) + e);
      bound[at] = e;
    }
  }
  return bound;
}

/**
 * The error that quantizing may add to a product, before bias and activation: |xw - x̂ŵ| ≤ |x||w - ŵ| + |ŵ||x - x̂|,
 * and a number is off by at most half a step, and by 127 roundings of the step and of the quotient.
 */
export function quantizationBound({
  input,
  weight,
  rows,
  inner,
  outer,
}: LinearInput): Float64Array {
  const half = 0.5 + 127 * 4 * u;
  const steps = { input: quantizeRows(input, inner), weight: quantizeRows(weight, inner) };
  const bound = new Float64Array(rows * outer);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outer; o++) {
      const [x, w] = [half * steps.input.scales[r]!, half * steps.weight.scales[o]!];
      for (let k = 0; k < inner; k++) {
        const other = Math.abs(steps.weight.exact[o * inner + k]!);
        bound[r * outer + o]! += Math.abs(input[r * inner + k]!) * w + other * x;
      }
    }
  }
  return bound;
}
