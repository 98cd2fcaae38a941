// npm run bench:job -- [--model xlm-r-base] [--precision fp32|bf16|fp16|int8] [--threads 2] [--batch 1] [--iterations 4,10]
//                      [--source 64] [--target 32] [--rounds 7] [--json]
//
// The whole job with random weights: encode the source, decode the target in T iterations. Prints the median and
// quartiles, and the ratio to the floor: what the machine's own arithmetic peak and read bandwidth allow for the
// operations and weight bytes of the job, each pass limited by the slower of the two (body and head apart).
import { parseArgs } from 'node:util';
import { Engine } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'xlm-r-base' },
    precision: { type: 'string', default: 'fp32' },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string', default: '1' },
    iterations: { type: 'string', default: '4,10' },
    source: { type: 'string', default: '64' },
    target: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
  },
});
const [threads, batch, sourceLength, targetLength, rounds] = [
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
  threads,
});
const { layers, hidden, feedForward, maskTokenId } = engine.config;
if (!options.json) {
  console.log(text);
  console.log(
    `${options.model}, ${engine.precision} weights (${Math.round(engine.memory().weights / 2 ** 20)} MiB, made in ` +
      `${Math.round(performance.now() - loading)} ms), source ${sourceLength}, target ${targetLength}, batch ${batch}, ` +
      `${engine.threads} threads, ${engine.instructionSet}\n`,
  );
}

const body = layers * (4 * hidden * hidden + 2 * hidden * feedForward);
const head = hidden * hidden + hidden * (maskTokenId + 1);
const bytes = { fp32: 4, int8: 1 }[engine.precision] ?? 2;
const peak = engine.precision === 'int8' ? limit?.gops : limit?.gflops;
const pass = (rows, weights) =>
  limit ? Math.max((2 * rows * weights) / peak, (weights * bytes) / limit.gbs) / 1e6 : NaN;

/** Milliseconds that no program on this machine can beat, for the dense products alone. */
function floor(iterations) {
  const inner = targetLength - 2;
  let sum = pass(batch * sourceLength, body);
  for (let t = 1; t <= iterations; t++) {
    const masked = t === 1 ? inner : Math.floor((inner * (iterations - t + 1)) / iterations);
    sum += pass(batch * targetLength, body) + pass(batch * masked, head);
  }
  return sum;
}

const ids = Array.from({ length: batch }, (_, b) =>
  Int32Array.from({ length: sourceLength }, (_, i) =>
    i === 0 ? 0 : i === sourceLength - 1 ? 2 : 4 + ((i * 7919 + b * 104729) % (maskTokenId - 4)),
  ),
);

async function job(iterations) {
  const begun = performance.now();
  const sources = await engine.encode(ids);
  const encoded = performance.now();
  await engine.decode(
    sources.map((source) => source.target(targetLength)),
    iterations,
  );
  const done = performance.now();
  for (const source of sources) source.dispose();
  return { encode: encoded - begun, decode: done - encoded, total: done - begun };
}

for (const iterations of options.iterations.split(',').map(Number)) {
  await job(iterations);
  const times = [];
  for (let round = 0; round < rounds; round++) times.push(await job(iterations));
  const total = spread(times.map((time) => time.total));
  const encode = spread(times.map((time) => time.encode)).median;
  const best = floor(iterations);
  const rss = process.memoryUsage().rss;
  if (options.json) {
    console.log(JSON.stringify({ ...options, iterations, total, encode, floor: best, rss, limit }));
  } else {
    console.log(
      `T = ${iterations}: ${total.median.toFixed(1)} ms (${total.low.toFixed(1)}–${total.high.toFixed(1)}), of it encode ` +
        `${encode.toFixed(1)}; floor ${best.toFixed(1)} ms, ratio ${(total.median / best).toFixed(2)}; ` +
        `resident ${Math.round(rss / 2 ** 20)} MiB`,
    );
  }
}
await engine.close();
