/**
 * Bounds for the difference of fp32 arithmetic from the double-precision reference: rigorous forward error bounds,
 * evaluated on the inputs of each case. None of the numbers below is fitted to results.
 *
 * u = 2⁻²⁴ is the unit roundoff of fp32 with rounding to nearest; γ(n) = n·u / (1 - n·u) bounds the product of n
 * factors (1 + δ), |δ| ≤ u (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1). A sum of n products
 * in any order, with or without fused multiply-add, is off by at most γ(n)·Σ|aₖbₖ| (ibid., 3.1), so the bounds hold
 * for every blocking and vector width.
 *
 * Assumed of the vector functions, as part of their contract:
 *   erf  absolute error ≤ 4e-7;
 *   exp  relative error ≤ 3e-7, or less than 1e-30 where the result is that small;
 *   log  error ≤ 3e-7 · max(1, |log x|);
 *   division and square root correctly rounded.
 *
 * A softmax computed in blocks rescales its sums when a larger score turns up. The exponents of these factors add up
 * to the final one, so a rescaling costs one more exp error and one more rounding, but no more. A row of n scores is
 * assumed to be rescaled at most n/8 + 8 times (blocks of 8, and 8 partial sums to merge).
 *
 * On the tensor cores, with bfloat16 activations, products are exact and sums float32 too, but an addition may round
 * towards zero, which is twice as far (Fasi et al., Numerical behavior of NVIDIA tensor cores, 2021): as many roundings
 * again. What is kept in bfloat16 is rounded once more, by u' = 2⁻⁸.
 */
import { geluSlope } from './erf.js';
import { visibleKeys, type AttentionInput, type LinearInput, type Numbers } from './ops.js';

type Activations = 'fp32' | 'bf16';

const u = 2 ** -24;
const narrow = 2 ** -8;
const erfError = 4e-7;
const expError = 3e-7;
const logError = 3e-7;
const tiny = 1e-30;

export function gamma(n: number): number {
  return (n * u) / (1 - n * u);
}

/** The bound of a sum of n products. */
const sumBound = (n: number, activations: Activations): number =>
  gamma(activations === 'bf16' ? 2 * n : n);

/** The bound of values within `bound` of the expected ones, once they are kept as activations. */
export function keptBound(
  activations: Activations,
  bound: Float64Array,
  expected: Float64Array,
): Float64Array {
  if (activations === 'fp32') return bound;
  return bound.map((e, i) => e + narrow * (Math.abs(expected[i]!) + e));
}

const rescalings = (n: number): number => n / 8 + 8;

/**
 * GELU of a value known to within e: x/2·(1 + erf(x/√2)).
 *
 *   slope of GELU ≤ 1.13 everywhere, ≤ |slope at x| + e·0.8 near x (its derivative is below 0.8): times e;
 *   erf: |x|/2 · erfError; its argument is off by 2u relatively (√½ and the product), and |z·erf'(z)| ≤ 0.49:
 *   |x|/2 · 2u·0.49; the sum 1 + erf ≤ 2, rounded: |x|/2 · 2u; two products: 2u·|result|.
 */
export function geluBound(x: number, e: number): number {
  const propagated = Math.min(1.13, Math.abs(geluSlope(x)) + 0.8 * e) * e;
  const reach = Math.abs(x) + e;
  return propagated + (reach / 2) * (erfError + 3 * u) + 2 * u * reach;
}

/**
 * Linear: the dot product with the bias as one more term, and where weights are bytes the scale as one more factor,
 * γ(K + 2)·(Σ|aₖbₖ| + |bias|); then GELU; then the residual, one rounding of the result.
 */
export function linearBound(args: LinearInput, activations: Activations = 'fp32'): Float64Array {
  const { input, weight, rows, inner, outer, bias, activation, residual } = args;
  const bound = new Float64Array(rows * outer);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outer; o++) {
      let sum = bias ? bias[o]! : 0;
      let magnitude = Math.abs(sum);
      for (let k = 0; k < inner; k++) {
        const product = input[r * inner + k]! * weight[o * inner + k]!;
        sum += product;
        magnitude += Math.abs(product);
      }
      let e = sumBound(inner + 2, activations) * magnitude + tiny;
      if (activation === 'gelu') e = geluBound(sum, e);
      const at = r * outer + o;
      if (residual) e += u * (Math.abs(sum) + Math.abs(residual[at]!) + e);
      bound[at] = e;
    }
  }
  return bound;
}

/**
 * Layer norm with the mean first and the variance from the differences to it. With D = width, d = x - mean:
 *
 *   mean      m = γ(D + 1)·Σ|x|/D
 *   variance  computed from x - (mean + m): Σ(d + m)²/D = v + m² because Σd = 0; each difference and square adds 3
 *             roundings and the sum D: s = m² + γ(D + 4)·(v + m²)
 *   inverse   1/√(v + ε) over all v within s, 4 roundings (ε itself, sum, root, quotient)
 *   output    (d + m + u|d|) · inverse · gain, 2 roundings, + shift, 1 rounding.
 */
export function layerNormBound(
  input: Numbers,
  gain: Numbers,
  shift: Numbers,
  epsilon: number,
): Float64Array {
  const width = gain.length;
  const bound = new Float64Array(input.length);
  for (let at = 0; at < input.length; at += width) {
    const row = Array.from(input.subarray(at, at + width));
    const mean = row.reduce((sum, x) => sum + x, 0) / width;
    const m = (gamma(width + 1) * row.reduce((sum, x) => sum + Math.abs(x), 0)) / width;
    const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / width;
    const s = m * m + gamma(width + 4) * (variance + m * m);
    const inverse = 1 / Math.sqrt(variance + epsilon);
    const highest = 1 / Math.sqrt(Math.max(variance - s, 0) + epsilon);
    const lowest = 1 / Math.sqrt(variance + s + epsilon);
    const off = Math.max(highest - inverse, inverse - lowest) + gamma(4) * highest;
    row.forEach((x, c) => {
      const d = Math.abs(x - mean);
      const e = Math.abs(gain[c]!) * ((m + u * (d + m)) * highest + d * off);
      const result = Math.abs((x - mean) * inverse * gain[c]! + shift[c]!);
      bound[at + c] =
        e * (1 + 3 * u) + 2 * u * Math.abs(d * inverse * gain[c]!) + u * result + tiny;
    });
  }
  return bound;
}

/**
 * Layer norm of sums that are off by at most `off`, E the most of a row: each difference to the mean is off by 2E, and the
 * deviation, a norm of the differences over √D, by E: |gain|·(2E + |d|·E/s)/(s - E), s = √(v + ε). To it comes the bound of
 * the layer norm itself, on the sums as they were computed: a hundredth more than on the exact ones.
 */
export function normOfSumsBound(
  sums: Float64Array,
  off: Float64Array,
  gain: Numbers,
  shift: Numbers,
  epsilon: number,
): Float64Array {
  const width = gain.length;
  const bound = layerNormBound(sums, gain, shift, epsilon).map((e) => 1.01 * e);
  for (let at = 0; at < sums.length; at += width) {
    const row = Array.from(sums.subarray(at, at + width));
    const most = Math.max(...off.subarray(at, at + width));
    const mean = row.reduce((sum, x) => sum + x, 0) / width;
    const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / width;
    const deviation = Math.sqrt(variance + epsilon);
    const least = Math.max(deviation - most, Math.sqrt(epsilon));
    row.forEach((x, c) => {
      const moved = (2 * most + (Math.abs(x - mean) * most) / deviation) / least;
      bound[at + c]! += Math.abs(gain[c]!) * moved;
    });
  }
  return bound;
}

/**
 * Attention. A score is a dot product of the head size, scaled: e = γ(d + 2)·Σ|qk|/√d. Subtracting a maximum and its
 * later corrections round at most u·(maximum - score + e) in all. So each weight exp(score - maximum) is off by a
 * factor within exp(±x), x = max e + u·spread, times (1 + expError + u)^(1 + rescalings): relatively at most ρ.
 * Numerator and denominator are sums of these weights (with another γ(n + rescalings + 2) each), and their quotient is
 * rounded: with a = (1 + ρ)(1 + γ) - 1 the output is off by (2a + u)/(1 - a) · Σ pⱼ|vⱼ|.
 *
 * With bfloat16 activations the weights are powers of two of scores times log2(e)/√d, a rounded constant, less the
 * rounded product of the maximum with it: 2u·spread + (2 + rescalings)·u·|maximum| more in x. In the numerator they are
 * rounded to bfloat16: u'. (The output is not rounded here: keptBound.)
 */
export function mixedAttentionBound(
  args: AttentionInput,
  activations: Activations = 'fp32',
): Float64Array {
  const { heads, width, query, queryOffsets } = args;
  const size = width / heads;
  const bound = new Float64Array(query.length);
  for (let s = 0; s + 1 < queryOffsets.length; s++) {
    const visible = visibleKeys(args, s);
    const n = visible.length;
    for (let q = queryOffsets[s]!; q < queryOffsets[s + 1]!; q++) {
      for (let first = 0; first < width; first += size) {
        const scores = new Float64Array(n);
        let e = 0;
        visible.forEach(({ key, row }, j) => {
          let magnitude = 0;
          for (let c = first; c < first + size; c++) {
            const product = query[q * width + c]! * key[row * width + c]!;
            scores[j]! += product / Math.sqrt(size);
            magnitude += Math.abs(product) / Math.sqrt(size);
          }
          e = Math.max(e, sumBound(size + 2, activations) * magnitude);
        });
        const largest = Math.max(...scores);
        const spread = Math.min(largest - Math.min(...scores), 104) + 2 * e;
        const factors = (1 + expError + u) ** (1 + rescalings(n));
        const base2 = 2 * spread + (2 + rescalings(n)) * (Math.abs(largest) + e);
        const x = e + u * (spread + (activations === 'bf16' ? base2 : 0));
        const sums = sumBound(n + rescalings(n) + 2, activations);
        const a = Math.exp(x) * factors * (1 + sums) - 1;
        const numerator = activations === 'bf16' ? (1 + a) * (1 + narrow) - 1 : a;
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let c = first; c < first + size; c++) {
          let magnitude = 0;
          visible.forEach(({ value, row }, j) => {
            magnitude += (weights[j]! / total) * Math.abs(value[row * width + c]!) + tiny;
          });
          bound[q * width + c] = ((numerator + a + u) / (1 - a)) * magnitude + tiny;
        }
      }
    }
  }
  return bound;
}

/** A mean of n rows: n - 1 additions, and the division: γ(n + 1) · Σ|x|/n. */
export function meanRowsBound(input: Numbers, offsets: Int32Array, width: number): Float64Array {
  const bound = new Float64Array((offsets.length - 1) * width);
  for (let s = 0; s + 1 < offsets.length; s++) {
    const count = offsets[s + 1]! - offsets[s]!;
    for (let row = offsets[s]!; row < offsets[s + 1]!; row++)
      for (let c = 0; c < width; c++)
        bound[s * width + c]! += (gamma(count + 1) * Math.abs(input[row * width + c]!)) / count;
  }
  return bound;
}

/**
 * Log-sum-exp of n logits that are each off by at most e: the largest and so every exponent moves by e at most, the
 * exponentials by ρ as in attention, the sum by γ(n); log of a sum in [1, n] turns a relative error a into
 * -log(1 - a), and adds its own; the last addition rounds the result.
 */
export function logSumExpBound(logits: Numbers, maskTokenId: number, e: number): number {
  const n = maskTokenId + 1;
  const real = Array.from(logits.subarray(0, n));
  const largest = Math.max(...real);
  const spread = Math.min(largest - Math.min(...real), 104);
  const factors = (1 + expError + u) ** (1 + rescalings(n)) * (1 + gamma(n + rescalings(n)));
  const a = Math.exp(u * (spread + 2 * e)) * factors - 1;
  return (
    e -
    Math.log(1 - a) +
    logError * Math.max(1, Math.log(n)) +
    u * (Math.abs(largest) + Math.log(n) + 1)
  );
}

/**
 * How far fp32 may be from double precision behind a whole network, relative to the root mean square of a tensor. Worst
 * case bounds grow exponentially with depth, so this one is statistical: rounding errors are independent, a sum of K
 * products is off by about √K·u relative to its terms (Higham and Mary 2019), and no dimension exceeds the feed-forward
 * size F. Layers norm their inputs, so errors add up over the dense products, attentions and norms passed: 8 a layer
 * and 4 around the stack. The far end of a normal distribution over all values of a fixture is 5 deviations.
 */
export function relativeBound(layers: number, feedForward: number): number {
  return 5 * Math.sqrt(8 * layers + 4) * Math.sqrt(feedForward) * 2 ** -24;
}
