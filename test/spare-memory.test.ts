/**
 * On a GPU the memory of a disposed source is not given back by JavaScript's thread but kept for the next one, and given
 * back when something else needs it. The device is the one that MASK_PREDICT_DEVICE names (`simt`, the emulated one, in
 * a test build); the CPU gives memory back at once (memory.slow.ts).
 */
import t from 'tap';
import { Engine } from '../lib/index.js';

const device = process.env.MASK_PREDICT_DEVICE as 'cuda' | undefined;
const shape = {
  layers: 8,
  hidden: 64,
  heads: 1,
  feedForward: 64,
  vocabulary: 100,
  norm: 'post',
} as const;
const ids = (length: number) =>
  Int32Array.from({ length }, (_, i) => (i === 0 ? 0 : i === length - 1 ? 2 : 4 + (i % 90)));
/** Bytes of a source: keys and values of every layer in bfloat16, on the device. */
const cacheOf = (length: number) => length * 64 * 2 * 8 * 2;

t.test('kept, taken again, given back', { skip: !device && 'no device is named' }, async (t) => {
  const options = { device: device!, precision: 'bf16', seed: 1 } as const;
  await using engine = await Engine.random(shape, options);
  const working = () => engine.memory().working;
  const [first] = await engine.encode([ids(60)]);
  const kept = await statesOf(first!);
  const before = working();
  first!.dispose();
  t.equal(before - working(), 60 * 64 * 4, 'the states, on the host, go; the cache stays');

  const [second] = await engine.encode([ids(50)]);
  t.equal(before - working(), 10 * 64 * 4, 'the next source takes the cache');
  const [third] = await engine.encode([ids(60)]);
  t.equal(working() - before, 50 * 64 * 4 + cacheOf(60), 'one beside it needs its own');
  t.same(await statesOf(third!), kept, 'what a cache held before does not matter');
  second!.dispose();
  const [tiny] = await engine.encode([ids(9)]);
  t.equal(working() - before, 9 * 64 * 4 + cacheOf(60) + cacheOf(9), 'too large for a small one');
  tiny!.dispose();
  third!.dispose();

  async function statesOf(source: typeof first) {
    const target = source!.target(5);
    const [states] = await engine.states([target]);
    target.dispose();
    return states;
  }
});

t.test('given back where it is needed', { skip: !device && 'no device is named' }, async (t) => {
  const options = { device: device!, precision: 'bf16', seed: 1 } as const;
  const large = await Engine.random(shape, options);
  const [one] = await large.encode([ids(120)]);
  const needed = large.memory().weights + large.memory().working;
  one!.dispose();
  await large.close();

  // Memory for one large source, not for one beside what another left.
  await using engine = await Engine.random(shape, { ...options, memoryLimit: needed + 1000 });
  const [small] = await engine.encode([ids(40)]);
  small!.dispose();
  const [source] = await engine.encode([ids(120)]);
  t.equal(source!.length, 120);
  await t.rejects(engine.encode([ids(120)]), { code: 'ERR_OUT_OF_MEMORY' });
});
