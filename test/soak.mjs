#!/usr/bin/env node
// npm run test:soak -- [--minutes N] [--part NAME]...
//   generations: 100 000 answers; loads: 1 000 engines loaded and closed; aborts: 10 000 calls aborted at random moments;
//   workers: 500 worker threads started, used and terminated at random moments, after 500 that do not use the package.
//   --minutes  ends each part early, after its share of so much time
//
// Prints memory in two parts, and fails where one grows: what malloc has given out, and what is resident beside malloc's
// (JavaScript's heaps, mappings, stacks). Resident memory as a whole decides nothing: malloc keeps what is freed in an arena
// for each few threads, and after hundreds of threads holds tens of MiB more for later use than after the first.
// Growth: after a warm-up of a tenth, the mean of the last third of the samples may lie above that of the first third by no
// more than three standard deviations of a sample or what Node itself needs (`ownOfNode`), and by what workers that do not
// use the package make it grow.
// Also fails where threads, file descriptors, mapped model files, active handles or an engine's working memory are more at
// the end than after the warm-up.
// The script runs Node with --max-semi-space-size=1: V8 otherwise enlarges its young generation step by step, by 30 MiB
// over tens of thousands of calls, which would hide a leak and look like one.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { embeddedModel, Engine, MaskPredict } from '../dist/index.js';

const require = createRequire(import.meta.url);
const { build } = require('./native/programs.cjs');
const { memoryInUse } = require(`${build('plain', ['memory_in_use'])}/memory_in_use.node`);
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
const MiB = 2 ** 20;
/** Compiled code, its bookkeeping and V8's heap may change by this much in a part; no block of it is the package's. */
const ownOfNode = { malloc: MiB / 8, elsewhere: MiB };
const prompts = [
  'Write the number 4217 in German words.',
  'Is the number 4217 even? Yes or no?',
  'Translate the following text from Spanish to English: veintiuno',
];

/** Each part: how many rounds of how many, and what is done in one. */
const parts = {
  async generations() {
    const model = await MaskPredict.load();
    const expected = await model.generate(prompts, { iterations: 2 });
    const round = async () => {
      const results = await model.generate(prompts, { iterations: 2 });
      if (results.some(({ text }, i) => text !== expected[i].text))
        throw new Error('another answer');
    };
    const working = () => model.engine.memory().working;
    return { rounds: Math.ceil(100_000 / 3), each: 3, round, working, end: () => model.close() };
  },
  async loads() {
    const round = async () => {
      const engine = await Engine.load(embeddedModel);
      const [source] = await engine.encode([Int32Array.of(0, 9, 2)]);
      await engine.decode([source.target(5)], 2);
      await engine.close();
    };
    return { rounds: 1000, each: 1, round };
  },
  async aborts() {
    const model = await MaskPredict.load();
    // As many calls at once as two rounds make, so that no later pass is the first of its size.
    const most = Array.from({ length: 20 }, (_, i) => model.generate(prompts[i % 3]));
    await Promise.all(most);
    const round = async () => {
      const calls = Array.from({ length: 10 }, async (_, i) => {
        const stop = new AbortController();
        const call = model.generate(prompts[i % 3], { iterations: 10, signal: stop.signal });
        const timer = setTimeout(() => stop.abort(), Math.random() * 20);
        await call.catch((error) => {
          if (error.name !== 'AbortError') throw error;
        });
        clearTimeout(timer);
      });
      await Promise.all(calls);
    };
    const working = async () => {
      await model.generate(prompts[0]); // the passes that aborted calls were in have ended then
      return model.engine.memory().working;
    };
    return { rounds: 1000, each: 10, round, working, end: () => model.close() };
  },
  async workers() {
    const file = new URL('soak-worker.mjs', import.meta.url);
    const terminated = async (workerData) => {
      const workers = Array.from({ length: 5 }, async () => {
        const worker = new Worker(file, { workerData });
        worker.once('error', (error) => {
          throw error;
        });
        await sleep(Math.random() * 400);
        await worker.terminate();
      });
      await Promise.all(workers);
    };
    const round = () => terminated({ idle: false });
    const control = () => terminated({ idle: true });
    return { rounds: 100, each: 5, round, control };
  },
};

/** The resources beside memory that a process may leak. */
function handles() {
  const count = (folder) => readdirSync(`/proc/self/${folder}`).length;
  return {
    threads: count('task'),
    // Node leaves a module's file open where a worker that reads it is terminated.
    descriptors: descriptors().filter((file) => !/\.(m?js|model)$/.test(file)).length,
    mappedFiles: readFileSync('/proc/self/maps', 'utf8').split('.safetensors').length - 1,
    active: process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length,
  };
}

/** The open files; the one that lists them is closed by then. */
function descriptors() {
  return readdirSync('/proc/self/fd').flatMap((number) => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`);
    } catch {
      return [];
    }
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values) => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
};

/** Memory with the garbage gone; finalizers run in turns of the event loop. */
async function memory() {
  for (let turn = 0; turn < 3; turn++) {
    collectGarbage();
    await sleep(1);
  }
  const { used, taken } = memoryInUse();
  const { rss } = process.memoryUsage();
  return { malloc: used, elsewhere: rss - taken, resident: rss };
}

/** Runs rounds until `end`, and looks at memory a hundred times, at what else may leak after a tenth and in the end. */
async function series({ rounds, round, working }, end) {
  const begun = performance.now();
  const look = async () => ({ ...handles(), ...(working && { working: await working() }) });
  const samples = [];
  const every = Math.max(1, Math.floor(rounds / 100));
  let warm;
  let done = 0;
  for (; done < rounds && performance.now() < end; done++) {
    await round();
    if (done % every === 0) samples.push(await memory());
    const share = Math.max(done / rounds, (performance.now() - begun) / (end - begun));
    if (warm || share < 0.1) continue;
    await memory();
    warm = { look: await look(), sample: samples.length };
  }
  const measured = samples.slice(warm?.sample ?? 0);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  return { done, seconds, samples: measured, warm: warm?.look ?? {}, end: await look() };
}

/** How far the last third of the samples lies above the first, and how far samples lie apart. */
function growth(samples, what) {
  const values = samples.map((sample) => sample[what]);
  const third = Math.floor(values.length / 3);
  const [first, last] = [values.slice(0, third), values.slice(-third)];
  return {
    by: mean(last) - mean(first),
    noise: Math.max(deviation(first), deviation(last)),
    shown: `${mib(values[0])} after warm-up, ${mib(values.at(-1))} at the end`,
  };
}

const mib = (bytes) => `${(bytes / MiB).toFixed(2)} MiB`;

async function run(name, end) {
  const part = await parts[name]();
  const half = part.control && (performance.now() + end) / 2;
  const control = half && (await series({ ...part, round: part.control }, half));
  const { done, seconds, samples, warm, end: now } = await series(part, end);
  const problems = [];
  if ([samples, control?.samples].some((list) => list?.length < 15))
    problems.push('too few samples: give it more time');
  const counted = (rounds) => `${rounds * part.each}`;
  console.log(
    `${name}: ${counted(done)} in ${seconds} s, ${samples.length} samples` +
      (control ? `; control: ${counted(control.done)} in ${control.seconds} s` : ''),
  );
  for (const what of ['malloc', 'elsewhere', 'resident']) {
    const { by, noise, shown } = growth(samples, what);
    const without = control && growth(control.samples, what);
    console.log(
      `  ${what}: ${shown}; growth ${mib(by)}, noise ${mib(noise)}` +
        (without ? `; control: growth ${mib(without.by)}, noise ${mib(without.noise)}` : ''),
    );
    if (!(what in ownOfNode)) continue;
    const allowed = Math.max(3 * noise, 3 * (without?.noise ?? 0), ownOfNode[what]);
    if (by > allowed + (without?.by ?? 0)) problems.push(`${what} grows`);
  }
  for (const [what, count] of Object.entries(warm))
    if (now[what] > count) problems.push(`${what}: ${count} after warm-up, ${now[what]} now`);
  console.log(
    `  ${JSON.stringify(now)}${problems.map((problem) => `\n  FAILED: ${problem}`).join('')}`,
  );
  await part.end?.();
  return problems.length === 0;
}

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, part: { type: 'string', multiple: true } },
});
const names = values.part ?? Object.keys(parts);
console.log(`${cpus()[0]?.model.trim()}, ${cpus().length} processors, Node ${process.version}`);
const share = values.minutes ? (Number(values.minutes) * 60_000) / names.length : Infinity;
let passed = true;
for (const name of names) passed = (await run(name, performance.now() + share)) && passed;
process.exitCode = passed ? 0 : 1;
