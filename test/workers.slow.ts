/**
 * Worker threads: the addon loads in any number of them at once and gives the bits of the main thread; one
 * that is terminated at any moment, in the middle of loading or of a call, takes nothing else with it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { MaskPredict, type Generation } from '../lib/index.js';
import { built } from './built-package.js';
import { sameBits } from './reference/closeness.js';
import { prompts } from './token-level.js';

/** Workers run plain JavaScript; `execArgv` keeps what loads TypeScript here out of them. */
function start(script: string): Worker {
  const source = `
    const { parentPort } = require('node:worker_threads');
    const main = async (maskPredict) => { ${script} };
    import(${JSON.stringify(built)}).then(main).catch((error) => {
      parentPort.postMessage({ error: String(error.stack) });
    });`;
  return new Worker(source, { eval: true, execArgv: [] });
}

/** The first message of a worker, or what it failed with. */
function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', (value: { error?: string } | Generation[]) => {
      if ('error' in value) reject(new Error(value.error));
      else resolve(value);
    });
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the worker ended with ${code}`)));
  });
}

/** Ten seconds of work, after a message that it has begun. */
const busy = `
  const model = await maskPredict.MaskPredict.load();
  const { engine, tokenizer } = model;
  const [source] = await engine.encode([tokenizer.encode('Write the number 4217').ids]);
  const targets = Array.from({ length: 600 }, () => source.target(100));
  parentPort.postMessage({ begun: true });
  await engine.decode(targets, 10);
  throw new Error('there was nothing left to interrupt');`;

const model = await MaskPredict.load();
t.teardown(() => model.close());
const expected = await model.generate(prompts);

async function worksAsBefore(): Promise<boolean> {
  const results = await model.generate(prompts);
  return results.every(({ tokens, tokenScores }, i) => {
    const { tokens: ids, tokenScores: scores } = expected[i]!;
    return sameBits(tokens, ids) && sameBits(tokenScores, scores);
  });
}

t.test('two workers and the main thread at once', async (t) => {
  const script = `
    const model = await maskPredict.MaskPredict.load();
    const results = await model.generate(${JSON.stringify(prompts)});
    parentPort.postMessage(results);
    await model.close();`;
  const workers = [start(script), start(script)];
  const [first, second] = (await Promise.all([
    ...workers.map(message),
    worksAsBefore(),
  ])) as Generation[][];
  for (const results of [first!, second!]) {
    results.forEach((result, i) => {
      t.equal(result.text, expected[i]!.text);
      t.ok(sameBits(result.tokens, expected[i]!.tokens));
      t.ok(sameBits(result.tokenScores, expected[i]!.tokenScores), `${i}: the same bits`);
    });
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
});

t.test('errors keep their class in a worker', async (t) => {
  const worker = start(`
    const error = await maskPredict.Engine.load('/nowhere').catch((reason) => reason);
    parentPort.postMessage({ code: error.code, own: error instanceof maskPredict.MaskPredictError });`);
  t.same(await message(worker), { code: 'ERR_MODEL_FORMAT', own: true });
  await worker.terminate();
});

t.test('a worker that ends without closing its engine', async (t) => {
  const worker = start(`
    globalThis.kept = await maskPredict.MaskPredict.load();
    await kept.generate('x');`);
  const code = await new Promise((resolve) => worker.once('exit', resolve));
  t.equal(code, 0, 'ends by itself');
});

// The work takes ten seconds: a worker that is gone in less than a second did not wait for it.
const noWait = 1000;

t.test('terminated in the middle of a call', async (t) => {
  for (const delay of [0, 1, 3, 10, 30, 100]) {
    const worker = start(busy);
    t.same(await message(worker), { begun: true });
    await sleep(delay);
    const begun = performance.now();
    await worker.terminate();
    const took = performance.now() - begun;
    t.ok(took < noWait, `${delay} ms after it began: gone in ${Math.round(took)} ms`);
  }
  t.ok(await worksAsBefore(), 'the main thread goes on');
});

t.test('terminated at any moment', async (t) => {
  // Starting, loading the addon, loading the model and the first call all lie within the first 200 ms.
  for (let delay = 0; delay <= 200; delay += 20) {
    const worker = start(busy);
    worker.once('error', (error) => t.fail(String(error)));
    await sleep(delay);
    await worker.terminate();
  }
  t.ok(await worksAsBefore(), 'the main thread goes on');
});

t.test('twenty workers', async (t) => {
  const workers = Array.from({ length: 20 }, () => start(busy));
  const begun = await Promise.all(workers.map(message));
  t.equal(begun.length, 20, 'all of them are at work at once');
  await Promise.all(workers.map((worker) => worker.terminate()));
  t.ok(await worksAsBefore(), 'all gone, the main thread goes on');
});

t.test('a worker that calls process.exit() in the middle of a call', async (t) => {
  const script = busy.replace(
    'await engine.decode',
    'setTimeout(() => process.exit(3), 20); await engine.decode',
  );
  const worker = start(script);
  const begun = performance.now();
  const code = await new Promise((resolve) => worker.once('exit', resolve));
  t.equal(code, 3);
  t.ok(performance.now() - begun < 5000);
  t.ok(await worksAsBefore());
});
