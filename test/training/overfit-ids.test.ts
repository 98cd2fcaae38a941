/**
 * Ten examples learnt by heart: a new model, some hundred steps on them, and each answer is exact, its length predicted,
 * in one pass and in four. If anything in a step is wrong, this does not happen.
 */
import { join } from 'node:path';
import t from 'tap';
import { Engine, Trainer } from '../../lib/index.js';
import { native } from '../../lib/token/native.js';
import { Random } from '../reference/random.js';

const examples = 10;
const vocabulary = 60;

const precisions = native.instructionSets().includes('avx512bf16')
  ? (['fp32', 'bf16'] as const)
  : (['fp32'] as const);
const ways = (['pre', 'post'] as const).flatMap((norm) =>
  precisions.map((precision) => ({ norm, precision })),
);

for (const { norm, precision } of ways) {
  t.test(`${norm}-LN, ${precision}`, async (t) => {
    const random = new Random(norm === 'pre' ? 1 : 2);
    const sequence = (inner: number) =>
      Int32Array.of(0, ...random.integers(inner, 4, vocabulary - 2), 2);
    const sources = Array.from({ length: examples }, () => sequence(random.integers(1, 4, 12)[0]!));
    const golds = Array.from({ length: examples }, (_, i) => sequence(1 + (i % 7)));
    const mask = vocabulary - 1;
    const trainer = await Trainer.create(
      { layers: 2, hidden: 64, heads: 2, vocabulary, norm, maxPositions: 40, lengths: 24 },
      undefined,
      { precision, threads: 1, seed: 5, dropout: 0.05, labelSmoothing: 0, lengthWeight: 0.5 },
    );
    t.teardown(() => trainer.close());
    const steps = 250;
    let first = 0;
    let last = 0;
    for (let i = 0; i < steps; i++) {
      const targets = golds.map((gold) => {
        const inner = gold.length - 2;
        const masked = new Set<number>();
        for (const count = random.integer(1, inner); masked.size < count;)
          masked.add(random.integer(1, inner));
        return gold.map((id, p) => (masked.has(p) ? mask : id));
      });
      const warmup = Math.min(1, (i + 1) / 20);
      const learningRate = 3e-3 * warmup * (1 - i / steps);
      const { loss } = await trainer.step({ sources, targets, golds }, { learningRate });
      if (i === 0) first = loss;
      last = loss;
    }
    t.ok(last < 0.1 * first, `the loss fell from ${first} to ${last}`);

    const directory = join(t.testdir(), 'model');
    await trainer.save(directory);
    const engine = await Engine.load(directory, { device: 'cpu', threads: 1 });
    t.teardown(() => engine.close());
    for (const iterations of [1, 4]) {
      const encoded = await engine.encode(sources);
      const targets = encoded.map((source) => source.target(source.predictLengths(1)[0]!.length));
      await engine.decode(targets, iterations);
      t.same(
        targets.map((target) => [...target.tokens]),
        golds.map((gold) => [...gold]),
        `every answer is exact in ${iterations} passes`,
      );
    }
  });
}
