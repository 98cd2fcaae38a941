// npm run bench -- job [--model xlm-r-base] [--precision fp32|bf16|fp16|int8] [--threads 2] [--batch 1] [--iterations 4,10]
//                      [--head-precision fp32|bf16|int8] [--source 64] [--target 32] [--vocabulary IDS] [--rounds 7] [--json]
//
// The whole job with random weights: encode the source, decode the target in T iterations. Prints the median and
// quartiles, and the ratio to the floor (bench/workload.mjs). With `--vocabulary` the head has that many ids only.
import { parseArgs } from 'node:util';
import { Engine } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';
import { mebibytes, withQuartiles } from './table.mjs';
import { floorOf, runJob, sourceIds, sourceLength, targetLength } from './workload.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'xlm-r-base' },
    precision: { type: 'string', default: 'fp32' },
    'head-precision': { type: 'string', default: 'auto' },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string', default: '1' },
    iterations: { type: 'string', default: '4,10' },
    source: { type: 'string', default: String(sourceLength) },
    target: { type: 'string', default: String(targetLength) },
    vocabulary: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
  },
});
const [threads, batch, source, target, rounds] = [
  options.threads,
  options.batch,
  options.source,
  options.target,
  options.rounds,
].map(Number);

const { text, limit } = describeMachine(threads);
const loading = performance.now();
const engine = await Engine.random(options.model, {
  device: 'cpu',
  precision: options.precision,
  headPrecision: options['head-precision'],
  threads,
  ...(options.vocabulary && {
    vocabulary: { allowedIds: Array.from({ length: Number(options.vocabulary) }, (_, i) => 3 + i) },
  }),
});
if (!options.json) {
  console.log(text);
  console.log(
    `${options.model}, ${engine.precision} weights, the head ${engine.headPrecision} (${mebibytes(engine.memory().weights)}, made in ` +
      `${Math.round(performance.now() - loading)} ms), source ${source}, target ${target}, batch ${batch}, ` +
      `${engine.threads} threads, ${engine.instructionSet}\n`,
  );
}

const ids = sourceIds(batch, source, engine.maskTokenId);
for (const iterations of options.iterations.split(',').map(Number)) {
  await runJob(engine, ids, target, iterations);
  const times = [];
  for (let round = 0; round < rounds; round++)
    times.push(await runJob(engine, ids, target, iterations));
  const total = spread(times.map((time) => time.total));
  const encode = spread(times.map((time) => time.encode)).median;
  const vocabulary = options.vocabulary && { vocabulary: Number(options.vocabulary) };
  const { headPrecision } = engine;
  const shape = { batch, source, target, iterations, headPrecision, ...vocabulary };
  const floor = floorOf(engine.config, engine.precision, shape, limit);
  const { rss } = process.memoryUsage();
  if (options.json) {
    console.log(JSON.stringify({ ...options, iterations, total, encode, floor, rss, limit }));
  } else {
    console.log(
      `T = ${iterations}: ${withQuartiles(total, 1, 'ms')}, of it encode ${encode.toFixed(1)}; ` +
        `floor ${floor.toFixed(1)} ms, ratio ${(total.median / floor).toFixed(2)}; resident ${mebibytes(rss)}`,
    );
  }
}
await engine.close();
