// npm run bench -- event-loop [--seconds 10] [--calls 64] [--threads N]
//
// How late timers are while many calls run: a timer of 1 ms beside --calls callers in this process, each of which calls
// again as soon as it has its answer. Exit code 1 unless the 99th percentile of the delay is below 5 ms.
import { availableParallelism, cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { instructions } from './load-instructions.mjs';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    calls: { type: 'string', default: '64' },
    threads: { type: 'string' },
  },
});
const seconds = Number(options.seconds);
const calls = Number(options.calls);
const limit = 5;

const model = await MaskPredict.load(undefined, {
  device: 'cpu',
  ...(options.threads !== undefined && { threads: Number(options.threads) }),
});
const prompts = instructions(512);
console.log(
  `${cpus()[0].model}, ${availableParallelism()} processors, Node.js ${process.version}; models/numbers, ` +
    `${model.engine.threads} threads, ${seconds} s each\n`,
);
await measure('nothing runs', 0);
const worst = await measure(`${calls} calls run`, calls);
await manyPrompts(5000, 20);
await model.close();
process.exitCode = worst < limit ? 0 : 1;

/** Prints how late timers are at most while one call has so many prompts: the median of some such calls, and the worst. */
async function manyPrompts(count, rounds) {
  const many = Array.from({ length: count }, (_, index) => prompts[index % prompts.length]);
  const late = [];
  for (let round = 0; round < rounds; round++) {
    const histogram = monitorEventLoopDelay({ resolution: 1 });
    histogram.enable();
    await model.generate(many, { iterations: 1, length: 4 });
    histogram.disable();
    late.push(Math.max(0, histogram.max / 1e6 - 1));
  }
  late.sort((a, b) => a - b);
  console.log(
    `a call of ${count} prompts: timer late by at most ${late[rounds >> 1].toFixed(2)} ms ` +
      `(median of ${rounds} calls; in one ${late.at(-1).toFixed(2)})`,
  );
}

/** Prints percentiles of the delay in milliseconds and returns the 99th. */
async function measure(what, callers) {
  let running = true;
  let answers = 0;
  const call = async (caller) => {
    for (let index = caller; running; index++) {
      await model.generate(prompts[(index * 31) % prompts.length]);
      answers++;
    }
  };
  const all = Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  await wait(500); // the first calls compile and fill caches
  const period = 1;
  const histogram = monitorEventLoopDelay({ resolution: period });
  histogram.enable();
  await wait(1000 * seconds);
  histogram.disable();
  running = false;
  await all;
  const at = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - period);
  const p99 = at(histogram.percentile(99));
  console.log(
    `${what.padEnd(16)} timer late by p50 ${at(histogram.percentile(50)).toFixed(2)} ms, ` +
      `p99 ${p99.toFixed(2)} ms, at most ${at(histogram.max).toFixed(2)} ms; ${answers} answers`,
  );
  return p99;
}
