/**
 * How much a test with random input does: a bounded part in `npm test`, as much as one likes in
 * `npm run test:fuzz`, which says so in FUZZ_INPUTS, FUZZ_SECONDS and FUZZ_SEED.
 */
import type { Test } from 'tap';
import { Random } from '../reference/random.js';

const given = (name: string) => {
  const value = process.env[name];
  return value ? Number(value) : undefined;
};

/** The first input's seed; the next one has the next seed, so that any input can be made again alone. */
export const seed = given('FUZZ_SEED') ?? Math.floor(Math.random() * 2 ** 31);

const seconds = given('FUZZ_SECONDS');
const inputs = given('FUZZ_INPUTS') ?? (seconds ? Infinity : undefined);
const end = performance.now() + 1000 * (seconds ?? Infinity);

/** True in the long run. */
export const isLong = inputs !== undefined;

/** Milliseconds left, Infinity without a limit. */
export const timeLeft = () => end - performance.now();

/** How many inputs to make: as asked for, `few` in `npm test`. */
export const count = (few: number) => inputs ?? few;

export interface Input {
  random: Random;
  /** How to get it again. */
  seed: number;
}

/** Inputs, one after the other, until there are enough; then says how many there were. */
export function* randomInputs(t: Test, few: number): Generator<Input> {
  let i = 0;
  for (; i < count(few) && timeLeft() > 0; i++) {
    yield { random: new Random(seed + i), seed: seed + i };
  }
  t.comment(`${i} inputs from seed ${seed}`);
}
