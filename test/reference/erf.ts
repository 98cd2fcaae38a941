/**
 * The error function in double precision, relative error of `erfc` below 1e-13 for |x| ≤ 6 (test/reference.test.ts
 * holds it against tabulated values). Simple rather than fast: a series of positive terms near zero, a continued
 * fraction beyond.
 */

/** erf(x) = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·5···(2n+1)): no cancellation for x ≥ 0. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc(x) = e^(-x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))), evaluated from the inside; x ≥ 1.5. */
function erfcFraction(x: number): number {
  let fraction = x;
  for (let n = 150; n >= 1; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
}

/** 1 - erf(x), accurate where it is small. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  return x < 1.5 ? 1 - erfSeries(x) : erfcFraction(x);
}

export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  return x < 1.5 ? erfSeries(x) : 1 - erfcFraction(x);
}

/** x·Φ(x), the exact GELU: written with `erfc` so that large negative x lose nothing. */
export function gelu(x: number): number {
  return 0.5 * x * erfc(-x * Math.SQRT1_2);
}

/** The derivative of the exact GELU, Φ(x) + x·φ(x): between -0.13 and 1.13. */
export function geluSlope(x: number): number {
  return 0.5 * erfc(-x * Math.SQRT1_2) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}
