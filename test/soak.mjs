#!/usr/bin/env node
// npm run soak -- [--minutes N] [--part NAME]...
//   generations: 100 000 answers; loads: 1 000 engines loaded and closed; aborts: 10 000 calls aborted at random moments;
//   workers: 500 worker threads started, used and terminated at random moments.
//   --minutes  ends each part early, after its share of so much time
//
// Prints resident memory, and fails where it grows: after a warm-up of a tenth, the mean of the last third of the samples
// may lie above that of the first third by no more than three standard deviations of a sample. Also fails where threads,
// file descriptors, mapped model files, active handles or an engine's working memory are more at the end than after the warm-up.
// The script runs Node with --max-semi-space-size=1: V8 otherwise enlarges its young generation step by step, by 30 MiB
// over tens of thousands of calls, which would hide a leak and look like one.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { embeddedModel, Engine, MaskPredict } from '../dist/index.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
const MiB = 2 ** 20;
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
    const working = () => model.engine.memory().working;
    return { rounds: 1000, each: 10, round, working, end: () => model.close() };
  },
  async workers() {
    const entry = new URL('../dist/index.js', import.meta.url).href;
    const script = `
      import(${JSON.stringify(entry)}).then(async ({ MaskPredict }) => {
        for (;;) {
          const model = await MaskPredict.load();
          for (let i = 0; i < 5; i++) await model.generate(${JSON.stringify(prompts[0])}, { iterations: 2 });
          await model.close();
        }
      });`;
    const round = async () => {
      const workers = Array.from({ length: 5 }, async () => {
        const worker = new Worker(script, { eval: true });
        worker.once('error', (error) => {
          throw error;
        });
        await sleep(Math.random() * 400);
        await worker.terminate();
      });
      await Promise.all(workers);
    };
    return { rounds: 100, each: 5, round };
  },
};

/** What a process may leak beside memory. */
function handles() {
  const count = (folder) => readdirSync(`/proc/self/${folder}`).length;
  return {
    threads: count('task'),
    // Node leaves a module's file open where a worker that reads it is terminated.
    descriptors: descriptors().filter((file) => !/\.(js|model)$/.test(file)).length,
    mappedFiles: readFileSync('/proc/self/maps', 'utf8').split('.safetensors').length - 1,
    active: process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length,
  };
}

/** What the open files are; the one that lists them is closed by then. */
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

/** Resident memory with the garbage gone; finalizers run in turns of the event loop. */
async function resident() {
  for (let turn = 0; turn < 3; turn++) {
    collectGarbage();
    await sleep(1);
  }
  return process.memoryUsage().rss;
}

async function run(name, end) {
  const begun = performance.now();
  const { rounds, each, round, working, end: finish } = await parts[name]();
  const samples = [];
  const every = Math.max(1, Math.floor(rounds / 100));
  let warm;
  let done = 0;
  for (; done < rounds && performance.now() < end; done++) {
    await round();
    if (done % every === 0) samples.push(await resident());
    const share = Math.max(done / rounds, (performance.now() - begun) / (end - begun));
    if (!warm && share >= 0.1) {
      await resident();
      warm = { handles: handles(), working: working?.(), sample: samples.length };
    }
  }
  const measured = samples.slice(warm?.sample ?? 0);
  const third = Math.floor(measured.length / 3);
  const [first, last] = [measured.slice(0, third), measured.slice(-third)];
  const growth = mean(last) - mean(first);
  const noise = Math.max(deviation(first), deviation(last));
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  const mib = (bytes) => `${(bytes / MiB).toFixed(1)} MiB`;
  console.log(
    `${name}: ${done * each} in ${seconds} s; resident ${mib(measured[0])} after warm-up, ` +
      `${mib(measured.at(-1))} at the end; growth ${mib(growth)}, noise ${mib(noise)} (${measured.length} samples)`,
  );
  const problems = [];
  if (third < 5) problems.push('too few samples: give it more time');
  // A page is the least that can be told apart.
  if (growth > 3 * Math.max(noise, 4096)) problems.push('resident memory grows');
  const now = handles();
  for (const [what, count] of Object.entries(warm?.handles ?? {})) {
    if (now[what] > count) problems.push(`${what}: ${count} after warm-up, ${now[what]} now`);
  }
  if (working && working() > warm.working)
    problems.push(`working memory: ${warm.working}, ${working()} now`);
  console.log(
    `  ${JSON.stringify(now)}${problems.map((problem) => `\n  FAILED: ${problem}`).join('')}`,
  );
  await finish?.();
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
