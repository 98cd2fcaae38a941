/**
 * A seeded generator for shapes and values: the same numbers on every machine and in every run.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1), 32 bits (mulberry32). */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  /** One of the values. */
  choice<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)]!;
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** `count` normal values of the given deviation, as stored in fp32. */
  normals(count: number, deviation = 1): Float32Array {
    return Float32Array.from({ length: count }, () => deviation * this.normal());
  }

  /**
   * Activations `[rows, width]` as transformers have them: normal values, a few channels fifty times
   * larger in every row, and row scales spread over four decimal orders.
   */
  activations(rows: number, width: number): Float32Array {
    const channel = Float64Array.from({ length: width }, () => (this.uniform() < 0.02 ? 50 : 1));
    const values = new Float32Array(rows * width);
    for (let r = 0; r < rows; r++) {
      const scale = 10 ** this.integer(-2, 1);
      for (let c = 0; c < width; c++) values[r * width + c] = scale * channel[c]! * this.normal();
    }
    return values;
  }

  integers(count: number, low: number, high: number): Int32Array {
    return Int32Array.from({ length: count }, () => this.integer(low, high));
  }
}

/** The offsets of sequences of the given lengths, `[lengths + 1]`. */
export function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => (offsets[i + 1] = offsets[i]! + length));
  return offsets;
}
