/** Every operation must refuse wrong arguments with `ERR_INVALID_ARGUMENT`, before it reads or writes anything. */
import type { Test } from 'tap';
import { MaskPredictError } from '../../lib/errors.js';

/** Each call must throw; the names say what is wrong with it. */
export function refuses(t: Test, calls: Record<string, () => unknown>): void {
  for (const [name, call] of Object.entries(calls)) {
    let thrown: unknown = 'nothing thrown';
    try {
      call();
    } catch (error) {
      thrown = error;
    }
    const is = thrown instanceof MaskPredictError && thrown.code === 'ERR_INVALID_ARGUMENT';
    t.ok(is, `${name}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** Arrays that are no offsets of `sequences` sequences with `rows` rows in all; both at least 2. */
export function badOffsets(rows: number, sequences: number): Record<string, Int32Array> {
  const good = Int32Array.from({ length: sequences + 1 }, (_, i) =>
    Math.floor((rows * i) / sequences),
  );
  const changed = (at: number, value: number) =>
    good.map((offset, i) => (i === at ? value : offset));
  return {
    'do not start at 0': changed(0, 1),
    'start below 0': changed(0, -1),
    'end before the last row': changed(sequences, rows - 1),
    'end behind the last row': changed(sequences, rows + 1),
    'go down': changed(1, rows + 1),
    'go below 0': changed(1, -1),
    'go far out': changed(1, 2 ** 31 - 1),
    'are empty': new Int32Array(0),
  };
}

/** Options no kernel takes. */
export const badOptions: Record<string, object> = {
  'no threads': { threads: 0 },
  'too many threads': { threads: 257 },
  'half a thread': { threads: 1.5 },
  'threads in words': { threads: 'two' },
  'an unknown device': { device: 'abacus' },
};
