/**
 * A GPU decodes with CUDA graphs, and one graph serves every batch of the same bucket (native/engine/padding.h): texts of
 * many lengths, alone and together, come out with the same bits as pass by pass. The emulated device (`simt`, in a test
 * build) counts its graphs: few serve all lengths. The CPU has no graphs.
 */
import t from 'tap';
import { Engine, type Target } from '../lib/index.js';
import { runScript } from './built-package.js';

const device = process.env.MASK_PREDICT_DEVICE as 'cuda' | undefined;
const shape = {
  layers: 1,
  hidden: 64,
  heads: 1,
  feedForward: 80,
  vocabulary: 200,
  norm: 'post',
} as const;
const sources = [Int32Array.of(0, 17, 130, 99, 5, 2), Int32Array.of(0, 44, 8, 2)];

for (const [precision, iterations] of [
  ['bf16', 4],
  ['bf16', 7],
  ['fp32', 3],
] as const) {
  const name = `${precision}, T = ${iterations}: the bits of a loop`;
  t.test(name, { skip: !device && 'no device' }, async (t) => {
    await using engine = await Engine.random(shape, { device: device!, precision, seed: 3 });
    const encoded = await engine.encode(sources);
    const start = (lengths: number[]) => lengths.map((n, i) => encoded[i % 2]!.target(n));
    const results = (targets: Target[]) =>
      targets.map(({ tokens, scores }) => [[...tokens], [...scores]]);
    // Each line is one bucket: the second call captures a graph, the others launch it.
    const buckets = [
      [[20], [24], [32], [19]],
      [[20, 11, 4], [13, 15, 5], [10, 10, 16], [30, 3, 4]],
    ]; // prettier-ignore
    for (const lengths of buckets.flat()) {
      const decoded = start(lengths);
      await engine.decode(decoded, iterations);
      const stepped = start(lengths);
      for (let i = 1; i <= iterations; i++) {
        await engine.predict(stepped);
        const counts = stepped.map((target) =>
          Math.floor(((target.length - 2) * (iterations - i)) / iterations),
        );
        await engine.remask(stepped, counts);
      }
      t.same(results(decoded), results(stepped), `lengths ${lengths}`);
    }
  });
}

t.test('a few CUDA graphs serve all lengths', { skip: device !== ('simt' as never) }, async (t) => {
  const { code, stderr } = await runScript(
    `
    const engine = await maskPredict.Engine.random(${JSON.stringify(shape)}, { seed: 3 });
    const [source] = await engine.encode([Int32Array.of(0, 17, 130, 99, 5, 2)]);
    // Padded to 32 rows, 16 or 32 of them masked, in one text or two: three buckets.
    for (let round = 0; round < 2; round++)
      for (const length of [32, 20, 23, 26, 29]) {
        await engine.decode([source.target(length)], 4);
        await engine.decode([source.target(length - 8), source.target(8)], 4);
      }
    await engine.close();
  `,
    { MASK_PREDICT_SIMT_REPORT: '1' },
  );
  t.equal(code, 0);
  const [, made, started] = /(\d+) graphs made, started (\d+) times/.exec(stderr) ?? [];
  t.equal(Number(made), 3 * 4, 'graphs made: one for each iteration of a bucket');
  // The first call of a bucket runs without graphs.
  t.equal(Number(started), (20 - 3) * 4, 'times started');
});
