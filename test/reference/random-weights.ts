/**
 * Weights drawn from a seed, as native/model/random_weights.cpp says: every value is SplitMix64 of (seed, name,
 * index); matrices uniform with variance 1 / inputs, biases uniform in ±0.02.
 */
import { fromBf16, toBf16 } from './stored.js';

const mask = 2n ** 64n - 1n;

function mix(value: bigint): bigint {
  let x = (value + 0x9e3779b97f4a7c15n) & mask;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & mask;
  return x ^ (x >> 31n);
}

/** The bf16 nearest to a value of fp32; halfway between two, the even one. */
function nearestBf16(value: number): number {
  const bits = toBf16(value);
  const [inner, outer] = [fromBf16(bits), fromBf16(bits + 1)];
  const rest = Math.abs(value - inner) - Math.abs(outer - value);
  return rest < 0 || (rest === 0 && bits % 2 === 0) ? inner : outer;
}

export class RandomWeights {
  readonly #seed: bigint;
  readonly #round: (value: number) => number;

  constructor(seed: number, precision: 'fp32' | 'bf16') {
    this.#seed = BigInt(seed);
    this.#round = precision === 'bf16' ? nearestBf16 : (value) => value;
  }

  #draw(name: string, count: number, range: number): Float64Array {
    let stream = mix(this.#seed);
    for (const byte of Buffer.from(name)) stream = mix(stream ^ BigInt(byte));
    return Float64Array.from({ length: count }, (_, i) => {
      const bits = Number(mix((stream + BigInt(i)) & mask) >> 40n) - 2 ** 23;
      return Math.fround((bits / 2 ** 23) * Math.fround(range));
    });
  }

  /** `[outputs, inputs]`, rounded to the precision of the weights. */
  matrix(name: string, outputs: number, inputs: number): Float64Array {
    return this.#draw(name, outputs * inputs, Math.sqrt(3 / inputs)).map(this.#round);
  }

  /** `[rows, columns]` of the position table, which stays in fp32. */
  table(name: string, rows: number, columns: number): Float64Array {
    return this.#draw(name, rows * columns, Math.sqrt(3 / columns));
  }

  bias(name: string, size: number): Float64Array {
    return this.#draw(name, size, 0.02);
  }
}
