/** Draws the test sets of the bootstrap: indices of sentences, with replacement, by a seeded generator. */

/** `samples` times `length` indices below `length`, in one array that is written anew for each. */
export function* resamples(length: number, samples: number, seed: bigint): Generator<Int32Array> {
  const random = generator(seed);
  const indices = new Int32Array(length);
  for (let sample = 0; sample < samples; sample++) {
    for (let i = 0; i < length; i++) indices[i] = Math.floor((random() / 2 ** 32) * length);
    yield indices;
  }
}

/** xoshiro128** (Blackman and Vigna, 2018): 32 random bits, 0 … 2³² - 1, with each call. */
function generator(seed: bigint): () => number {
  const [low, high] = [mixed(seed), mixed(seed + 0x9e3779b97f4a7c15n)];
  const state = new Uint32Array(new BigUint64Array([low, high]).buffer) as unknown as Four;
  return () => {
    const result = Math.imul(rotated(Math.imul(state[1], 5), 7), 9) >>> 0;
    const shifted = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotated(state[3], 11);
    return result;
  };
}

type Four = [number, number, number, number];

function rotated(bits: number, by: number): number {
  return (bits << by) | (bits >>> (32 - by));
}

/** The finalizer of SplitMix64: seeds that are alike give states that are not. */
function mixed(seed: bigint): bigint {
  let bits = BigInt.asUintN(64, seed + 0x9e3779b97f4a7c15n);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 27n)) * 0x94d049bb133111ebn);
  return bits ^ (bits >> 31n);
}
