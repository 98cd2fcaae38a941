// npm run bench -- concurrent [--callers 1,8,32] [--seconds 4] [--rounds 3] [--threads 2] [--iterations 4]
//                             [--models numbers,xlm-r-base] [--source 32] [--target 16] [--row-budget 128] [--json]
//
// Callers that each wait for an answer before they ask the next: requests per second when the calls share passes, beside
// the same calls one at a time (each begins when the one before has ended), in interleaved rounds; medians, and the
// latency each caller sees, and processor time per request. `numbers` is the model in the package, text to text; the others have random weights, sources
// of up to and targets of `--source` and `--target` ids. A caller waits for nothing else, so one caller is the same twice.
import { parseArgs } from 'node:util';
import { Engine, MaskPredict } from '../dist/index.js';
import { readSchedulingOptions } from '../dist/scheduling/options.js';
import { nativeRunner } from '../dist/scheduling/passes.js';
import { Scheduler } from '../dist/scheduling/scheduler.js';
import { SourceCache } from '../dist/scheduling/source-cache.js';
import { describeMachine, spread } from './machine.mjs';

const { values: options } = parseArgs({
  options: {
    callers: { type: 'string', default: '1,8,32' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
    iterations: { type: 'string', default: '4' },
    models: { type: 'string', default: 'numbers,xlm-r-base' },
    source: { type: 'string', default: '32' },
    target: { type: 'string', default: '16' },
    'row-budget': { type: 'string', default: '128' },
    json: { type: 'boolean', default: false },
  },
});
const [threads, iterations, rounds, sourceLength, targetLength, rowBudget] = [
  options.threads,
  options.iterations,
  options.rounds,
  options.source,
  options.target,
  options['row-budget'],
].map(Number);
const milliseconds = 1000 * Number(options.seconds);

/** `{ ask(number), close() }`: request `number` of a model, whatever the number. */
async function open(name) {
  const device = { device: 'cpu', threads };
  if (name === 'numbers') {
    const model = await MaskPredict.load(undefined, { ...device, scheduling: { rowBudget } });
    const languages = ['German', 'English', 'French', 'Spanish'];
    const prompt = (i) =>
      `Write the number ${1000 + ((i * 7919) % 9000)} in ${languages[i % 4]} words.`;
    return {
      ask: (i) => model.generate(prompt(i), { iterations }),
      close: () => model.close(),
    };
  }
  const engine = await Engine.random(name, device);
  const { maskTokenId } = engine.config;
  const scheduler = new Scheduler(
    nativeRunner(Engine.native(engine)),
    new SourceCache(0),
    readSchedulingOptions({ rowBudget })(engine),
  );
  const queued = { priority: 0, deadline: undefined, signal: undefined };
  const ask = (i) => {
    // From half the length up, so that requests are of different sizes.
    const length = sourceLength - ((i * 13) % (sourceLength >> 1));
    const ids = Int32Array.from({ length }, (_, p) =>
      p === 0 ? 0 : p === length - 1 ? 2 : 4 + ((p * 7919 + i * 104729) % (maskTokenId - 4)),
    );
    const targets = (source) => [{ target: source.target(targetLength), iterations }];
    return scheduler.run([{ ids, targets, result: () => undefined }], queued);
  };
  return { ask, close: () => engine.close() };
}

/** Requests per second and latencies of `callers` callers for a while; one at a time if `turns`. */
async function load(ask, callers, turns) {
  const latencies = [];
  let number = 0;
  let last = Promise.resolve();
  const before = process.cpuUsage();
  const begun = performance.now();
  async function caller() {
    while (performance.now() - begun < milliseconds) {
      const asked = performance.now();
      const own = number++;
      const answer = turns ? last.then(() => ask(own)) : ask(own);
      last = answer;
      await answer;
      latencies.push(performance.now() - asked);
    }
  }
  await Promise.all(Array.from({ length: callers }, caller));
  const { user, system } = process.cpuUsage(before);
  const count = latencies.length;
  return {
    rate: (1000 * count) / (performance.now() - begun),
    cpu: (user + system) / 1000 / count,
    latencies,
  };
}

if (!options.json) {
  console.log(describeMachine(threads).text);
  console.log(
    `T = ${iterations}, ${threads} threads, row budget ${rowBudget}, ${rounds} rounds of ${options.seconds} s each\n`,
  );
  console.log(
    'model       callers   shared 1/s   p50 ms   p99 ms   CPU ms   in turns 1/s   p50 ms   CPU ms   ratio',
  );
}
for (const name of options.models.split(',')) {
  const { ask, close } = await open(name);
  for (let i = 0; i < 3; i++) await ask(i);
  for (const callers of options.callers.split(',').map(Number)) {
    const results = { shared: [], turns: [] };
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 ? ['turns', 'shared'] : ['shared', 'turns'];
      for (const way of order) results[way].push(await load(ask, callers, way === 'turns'));
    }
    const [shared, turns] = ['shared', 'turns'].map((way) => {
      const latencies = results[way].flatMap((result) => result.latencies).sort((a, b) => a - b);
      const at = (share) =>
        latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))];
      const median = (value) => spread(results[way].map(value)).median;
      const [rate, cpu] = [median((result) => result.rate), median((result) => result.cpu)];
      return { rate, cpu, p50: at(0.5), p99: at(0.99) };
    });
    const ratio = spread(
      results.shared.map(({ rate }, round) => rate / results.turns[round].rate),
    ).median;
    if (options.json) {
      console.log(JSON.stringify({ ...options, model: name, callers, shared, turns, ratio }));
    } else {
      const cell = (value, digits, width) => value.toFixed(digits).padStart(width);
      console.log(
        `${name.padEnd(12)}${String(callers).padStart(7)}${cell(shared.rate, 1, 13)}${cell(shared.p50, 1, 9)}` +
          `${cell(shared.p99, 1, 9)}${cell(shared.cpu, 2, 9)}${cell(turns.rate, 1, 15)}${cell(turns.p50, 1, 9)}` +
          `${cell(turns.cpu, 2, 9)}${cell(ratio, 2, 8)}`,
      );
    }
  }
  await close();
}
