// The work of the addon's threads in a service, for ThreadSanitizer to watch (run.cjs): calls side by side, waiting and
// running ones aborted, engines closed in mid-call, two models at once, workers that are terminated.
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { embeddedModel, Engine, MaskPredict } from '../../dist/index.js';

const other = fileURLToPath(new URL('../fixtures/tiny-xl', import.meta.url));
const entry = new URL('../../dist/index.js', import.meta.url).href;
const rounds = Number(process.argv[2] ?? 3);

async function callsSideBySide(directory) {
  const engine = await Engine.load(directory, { threads: 2, onProgress() {} });
  const [source] = await engine.encode([Int32Array.of(0, 7, 9, 2)]);
  const calls = Array.from({ length: 12 }, (_, i) => {
    const target = source.target(6 + i);
    const look = setInterval(() => [target.tokens, target.scores, target.masked], 1);
    const call = engine.decode([target], 3, i % 3 ? {} : { signal: AbortSignal.timeout(i) });
    return call.finally(() => clearInterval(look));
  });
  const settled = Promise.allSettled(calls);
  await sleep(rounds);
  await Promise.all([engine.close(), settled]);
}

const work = `
  import(${JSON.stringify(entry)}).then(async ({ MaskPredict }) => {
    const model = await MaskPredict.load();
    for (;;) await model.generate('Is the number 4217 even? Yes or no?', { iterations: 2 });
  });`;

async function terminatedWorker(delay) {
  const worker = new Worker(work, { eval: true, execArgv: [] });
  await sleep(delay);
  await worker.terminate();
}

const model = await MaskPredict.load();
const before = await model.generate('Write the number 7 in French words.');
for (let round = 0; round < rounds; round++) {
  const stop = new AbortController();
  const loading = Engine.load(embeddedModel, { signal: stop.signal });
  setTimeout(() => stop.abort(), round);
  await Promise.all([
    loading.then((engine) => engine.close()).catch(() => {}),
    callsSideBySide(embeddedModel),
    callsSideBySide(other),
    terminatedWorker(40 * round),
    terminatedWorker(300),
  ]);
}
const after = await model.generate('Write the number 7 in French words.');
await model.close();
if (after.text !== before.text) throw new Error('another answer');
console.log('passed');
