/** The counter-based generator against the published answers of Philox4x32-10, and its draws against chance. */
import t from 'tap';
import { Draws, philox } from '../../lib/training/random.js';

/** From the known-answer tests of Random123 (kat_vectors): counter, key, result. */
const known = [
  [
    '00000000 00000000 00000000 00000000',
    '00000000 00000000',
    '6627e8d5 e169c58d bc57ac4c 9b00dbd8',
  ],
  [
    'ffffffff ffffffff ffffffff ffffffff',
    'ffffffff ffffffff',
    '408f276d 41c83b0e a20bc7c6 6d5451fd',
  ],
  [
    '243f6a88 85a308d3 13198a2e 03707344',
    'a4093822 299f31d0',
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  ],
] as const;

const words = (text: string) => Uint32Array.from(text.split(' '), (word) => parseInt(word, 16));

t.test('Philox4x32-10 has the published answers', async (t) => {
  for (const [counter, key, result] of known) {
    const out = new Uint32Array(4);
    philox(words(counter), words(key), out);
    t.same(out, words(result));
  }
});

t.test('a stream is Philox over its counters', async (t) => {
  const seed = 0x299f31d0a4093822n;
  const draws = new Draws(seed, 'order', 5, 77, 3);
  const out = new Uint32Array(4);
  for (const block of [0, 1]) {
    philox(Uint32Array.of(block, 77, 5, 0x20003), words('a4093822 299f31d0'), out);
    for (const word of out) t.equal(draws.bits(), word);
  }
});

t.test(
  'streams of other seeds, purposes, epochs, examples and occurrences are others',
  async (t) => {
    const first = (...given: ConstructorParameters<typeof Draws>) => new Draws(...given).bits();
    const all = [
      first(1n, 'target', 2, 3),
      first(2n, 'target', 2, 3),
      first(1n << 32n, 'target', 2, 3),
      first(1n, 'source', 2, 3),
      first(1n, 'target', 3, 3),
      first(1n, 'target', 2, 4),
      first(1n, 'target', 2, 3, 1),
    ];
    t.equal(new Set(all).size, all.length);
    t.equal(first(1n, 'target', 2, 3), all[0], 'and the same one is the same');
  },
);

t.test('below() is uniform, and draws again where a remainder would not be', async (t) => {
  const draws = new Draws(7n, 'order', 0, 0);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[draws.below(7)]!++;
  // Chi-square of 6 degrees of freedom is above 27.9 once in 10 000 seeds.
  t.ok(chiSquare(counts, 10_000) < 27.9, String(counts));
  t.equal(draws.below(1), 0);
  t.ok(draws.below(2 ** 32) < 2 ** 32);
  // For a bound just above 2^31, half of the 32-bit numbers must be drawn again.
  const bound = 2 ** 31 + 1;
  const upper = Array.from({ length: 2000 }, () => draws.below(bound)).filter((v) => v > bound / 2);
  t.ok(Math.abs(upper.length - 1000) < 4 * Math.sqrt(500), String(upper.length));
});

t.test('choose() takes every set of positions alike', async (t) => {
  const counts = new Map<string, number>();
  for (let example = 0; example < 20_000; example++) {
    const values = Uint32Array.of(0, 1, 2, 3, 4);
    new Draws(1n, 'target', 0, example).choose(values, 2);
    const key = String(values.slice(0, 2).sort());
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (example === 0) t.same(new Set(values), new Set([0, 1, 2, 3, 4]), 'a permutation');
  }
  t.equal(counts.size, 10);
  // Nine degrees of freedom: above 33.7 once in 10 000 seeds.
  t.ok(chiSquare([...counts.values()], 2000) < 33.7);
});

function chiSquare(counts: number[], expected: number): number {
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}
