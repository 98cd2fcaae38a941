/** Masking: how many positions, which ones, and that they depend on the example alone. */
import t from 'tap';
import { corruptSource, corruptTarget } from '../../lib/training/corruption.js';

const mask = 9999;
const ids = (inner: number) =>
  Int32Array.from({ length: inner + 2 }, (_, i) => (i === 0 ? 0 : i === inner + 1 ? 2 : 3 + i));
const masked = (list: Int32Array) => list.filter((id) => id === mask).length;
const key = (example: number) => ({ seed: 3n, epoch: 1, example });

t.test('a target has 1 to N masks, each number and each position alike', async (t) => {
  const target = ids(6);
  const numbers = new Array<number>(7).fill(0);
  const positions = new Array<number>(8).fill(0);
  const count = 30_000;
  for (let example = 0; example < count; example++) {
    const corrupted = corruptTarget(target, mask, key(example));
    numbers[masked(corrupted)]!++;
    corrupted.forEach((id, position) => {
      if (id === mask) positions[position]!++;
      else if (id !== target[position]) t.fail('an id changed that is not masked');
    });
  }
  t.equal(numbers[0], 0);
  t.same([positions[0], positions[7]], [0, 0], '<s> and </s> never are');
  const within = (value: number, p: number) =>
    Math.abs(value - count * p) < 4.5 * Math.sqrt(count * p * (1 - p));
  for (const number of numbers.slice(1)) t.ok(within(number, 1 / 6), String(number));
  // Mean share of masked positions: (N + 1) / 2N.
  for (const position of positions.slice(1, 7)) t.ok(within(position, 7 / 12), String(position));
});

t.test('a target of one token is masked', async (t) => {
  for (let example = 0; example < 20; example++) {
    t.same(corruptTarget(ids(1), mask, key(example)), Int32Array.of(0, mask, 2));
  }
});

t.test('a source has floor(percent · inner / 100) masks, in integers', async (t) => {
  for (let inner = 0; inner <= 512; inner++) {
    const corrupted = corruptSource(ids(inner), mask, 15, key(inner));
    t.equal(masked(corrupted), (15 * inner - ((15 * inner) % 100)) / 100, `${inner}`);
    t.equal(corrupted[0], 0);
    t.equal(corrupted.at(-1), 2);
  }
  t.same(corruptSource(ids(40), mask, 0, key(1)), ids(40));
  t.equal(masked(corruptSource(ids(40), mask, 100, key(1))), 40);
});

t.test(
  'the same example is corrupted the same way, and another way in the next epoch',
  async (t) => {
    const target = ids(30);
    const once = corruptTarget(target, mask, key(5));
    corruptTarget(target, mask, key(6));
    t.same(corruptTarget(target, mask, key(5)), once);
    t.not(String(corruptTarget(target, mask, { ...key(5), epoch: 2 })), String(once));
    t.not(String(corruptTarget(target, mask, { ...key(5), seed: 4n })), String(once));
    t.not(String(corruptTarget(target, mask, { ...key(5), occurrence: 1 })), String(once));
    t.same(target, ids(30), 'the target itself is not touched');
  },
);
