/**
 * Random draws that depend on where they are used and on nothing else: Philox4x32-10 (Salmon et al., SC 2011), keyed
 * by a 64-bit seed, with the counter (block, example, epoch, purpose). A draw is therefore the same in any batch, on
 * any number of threads, and after a resume that begins in the middle.
 */

/** Uses that must not share draws. */
export const purposes = { target: 0, source: 1, order: 2, share: 3, steps: 4 } as const;
export type Purpose = keyof typeof purposes;

/** One stream of draws. `example` and `epoch` are below 2^32; `occurrence` (below 2^16) tells copies of an example apart. */
export class Draws {
  readonly #counter: Uint32Array;
  readonly #key: Uint32Array;
  readonly #block = new Uint32Array(4);
  #left = 0;

  constructor(seed: bigint, purpose: Purpose, epoch: number, example: number, occurrence = 0) {
    this.#key = keyOf(seed);
    this.#counter = Uint32Array.of(0, example, epoch, purposes[purpose] * 0x10000 + occurrence);
  }

  /** 32 uniform bits. */
  bits(): number {
    if (this.#left === 0) {
      philox(this.#counter, this.#key, this.#block);
      this.#counter[0]!++;
      this.#left = 4;
    }
    return this.#block[4 - this.#left--]!;
  }

  /**
   * A uniform integer from 0 to `bound` - 1, `bound` from 1 to 2^32: the remainder of 32 bits, drawn again where they
   * lie above the last whole multiple of `bound`, so that none is more probable than another.
   */
  below(bound: number): number {
    const most = 2 ** 32 - (2 ** 32 % bound);
    let value = this.bits();
    while (value >= most) value = this.bits();
    return value % bound;
  }

  /** Moves `count` of `values`, a uniform choice without replacement in random order, to the front. */
  choose(values: Uint32Array | Int32Array, count: number): void {
    const last = Math.min(count, values.length - 1);
    for (let i = 0; i < last; i++) {
      const j = i + this.below(values.length - i);
      const value = values[i]!;
      values[i] = values[j]!;
      values[j] = value;
    }
  }
}

/** The low and high half of a 64-bit seed. */
function keyOf(seed: bigint): Uint32Array {
  return Uint32Array.of(Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn));
}

/** Ten rounds over `counter` under `key`, four words each, into `out`. */
export function philox(counter: Uint32Array, key: Uint32Array, out: Uint32Array): void {
  let [a, b, c, d] = counter as unknown as [number, number, number, number];
  let [k, l] = key as unknown as [number, number];
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(0xd2511f53, a);
    const lowA = Math.imul(0xd2511f53, a);
    const highC = multiplyHigh(0xcd9e8d57, c);
    const lowC = Math.imul(0xcd9e8d57, c);
    a = (highC ^ b ^ k) >>> 0;
    b = lowC >>> 0;
    c = (highA ^ d ^ l) >>> 0;
    d = lowA >>> 0;
    k = (k + 0x9e3779b9) >>> 0;
    l = (l + 0xbb67ae85) >>> 0;
  }
  out[0] = a;
  out[1] = b;
  out[2] = c;
  out[3] = d;
}

/** The upper 32 bits of a product of two 32-bit numbers. */
function multiplyHigh(x: number, y: number): number {
  const xLow = x & 0xffff;
  const xHigh = x >>> 16;
  const yLow = y & 0xffff;
  const yHigh = y >>> 16;
  const middle = xHigh * yLow + ((xLow * yLow) >>> 16);
  const carry = xLow * yHigh + (middle % 0x10000);
  return xHigh * yHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000);
}
