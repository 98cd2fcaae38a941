/**
 * Many calls at once give the bits of each alone: generate, refine, choose, score and predictLength of all
 * lengths and T, drawn or not, arriving at random moments, aborted at random moments, on any number of threads.
 * Afterwards all memory is back.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { MaskPredict, type GenerateOptions, type ModelOptions } from '../lib/index.js';
import { built } from './built-package.js';
import { prompts } from './token-level.js';

/** A generator with a seed, so that a failure can be had again. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Request {
  name: string;
  ask(model: MaskPredict, signal?: AbortSignal): Promise<unknown>;
}

const withoutTimings = ({ timings, ...rest }: { timings: unknown }) => rest;

/** One of all things one can ask for. */
function request(random: (below: number) => number): Request {
  const prompt = prompts[random(prompts.length)]!.repeat(random(8) === 0 ? 4 : 1);
  const kind = random(8);
  if (kind === 0) {
    const labels = [
      ['19', '20', '21', '97'],
      ['Yes', 'No'],
    ][random(2)]!;
    return {
      name: `choose ${prompt}`,
      ask: (model, signal) => model.choose(prompt, labels, { ...(signal && { signal }) }),
    };
  }
  if (kind === 1) {
    const answer = ['No', 'viertausendzweihundertsiebzehn', 'one hundred and one'][random(3)]!;
    return {
      name: `score ${prompt} ${answer}`,
      ask: (model, signal) => model.score(prompt, answer, { ...(signal && { signal }) }),
    };
  }
  if (kind === 2) {
    return {
      name: `predictLength ${prompt}`,
      ask: (model, signal) => model.predictLength(prompt, 5, { ...(signal && { signal }) }),
    };
  }
  const options: GenerateOptions = {
    iterations: [1, 2, 4, 10, 25][random(5)]!,
    length: (['predict', 3, 11, 30, { candidates: 3 }] as const)[random(kind === 3 ? 4 : 5)]!,
    ...(random(3) === 0 && { sampling: { seed: random(1000) } }),
    ...(random(4) === 0 && { stop: random(2) ? 'unchanged' : { confidence: 0.9 } }),
    priority: random(3) - 1,
  };
  const name = `${JSON.stringify(options)} ${prompt}`;
  if (kind === 3) {
    return {
      name: `refine ${name}`,
      async ask(model, signal) {
        const reader = model.refine(prompt, { ...options, ...(signal && { signal }) });
        const steps: unknown[] = [];
        for (;;) {
          const next = await reader.next();
          if (next.done) return { steps, result: withoutTimings(next.value) };
          steps.push(next.value);
        }
      },
    };
  }
  const several = kind === 4 ? [prompt, prompts[random(prompts.length)]!, prompt] : undefined;
  return {
    name: `generate ${several ? 'of three ' : ''}${name}`,
    async ask(model, signal) {
      const all = { ...options, ...(signal && { signal }) };
      if (several) return (await model.generate(several, all)).map(withoutTimings);
      return withoutTimings(await model.generate(prompt, all));
    },
  };
}

/** Bits, not values: NaN and -0 count. */
function bits(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Float32Array) {
      return [...new Uint32Array(part.buffer, part.byteOffset, part.length)];
    }
    if (part instanceof Int32Array) return [...part];
    return part;
  });
}

const count = 160;
const requests = (() => {
  const random = randomFrom(2024);
  return Array.from({ length: count }, () => request(random));
})();

/** The answers to the requests alone, one after the other. */
const expected: string[] = [];
{
  const model = await MaskPredict.load(undefined, { device: 'cpu', threads: 2 });
  for (const { ask } of requests) expected.push(bits(await ask(model)));
  await model.close();
}

async function sameAsAlone(t: Test, options: ModelOptions, seed: number): Promise<void> {
  const model = await MaskPredict.load(undefined, { device: 'cpu', ...options });
  const random = randomFrom(seed);
  const answers = requests.map(async ({ ask }) => {
    await sleep(random(60));
    return ask(model);
  });
  let wrong = 0;
  for (const [index, answer] of (await Promise.all(answers)).entries()) {
    if (bits(answer) === expected[index]) continue;
    wrong++;
    t.fail(requests[index]!.name);
  }
  t.equal(wrong, 0, `${count} calls, seed ${seed}, ${JSON.stringify(options)}`);
  const { completed, running, waiting, rows, cacheBytes } = model.stats();
  t.match(
    { completed, running, waiting, rows },
    { completed: count, running: 0, waiting: 0, rows: 0 },
  );
  if (!options.sourceCache) t.equal(cacheBytes, 0, 'no source is left');
  await model.close();
}

t.test('the same bits as alone', async (t) => {
  for (const threads of [1, 2, 5]) await sameAsAlone(t, { threads }, threads);
  await sameAsAlone(t, { threads: 2, scheduling: { rowBudget: 40, patience: 2 } }, 4);
  await sameAsAlone(t, { threads: 2, scheduling: { rowBudget: 4096 } }, 5);
  await sameAsAlone(t, { threads: 2, sourceCache: { bytes: 2 ** 20 } }, 6);
});

/** A model on which `working` bytes are in use when nothing runs, however large passes have been. */
async function warm(options: ModelOptions = {}) {
  const model = await MaskPredict.load(undefined, { device: 'cpu', threads: 2, ...options });
  await model.generate(Array<string>(40).fill('x '.repeat(130)), { length: 120, iterations: 1 });
  await model.score('x', 'one hundred and one');
  await model.generate('x', { length: 120, iterations: 1, sampling: { seed: 1 } });
  return { model, working: model.engine.memory().working };
}

t.test('aborted calls leave their neighbours and the memory alone', async (t) => {
  const { model, working } = await warm();
  for (const seed of [7, 8]) {
    const random = randomFrom(seed);
    let aborted = 0;
    const calls = requests.flatMap(({ name, ask }, index) => {
      const stays = async () => {
        await sleep(random(40));
        const answer = bits(await ask(model));
        if (answer !== expected[index]) t.fail(name);
      };
      const goes = async () => {
        await sleep(random(40));
        const stop = new AbortController();
        const reason = new Error(`call ${index}`);
        setTimeout(() => stop.abort(reason), random(30));
        const outcome = await ask(model, stop.signal).catch((error: unknown) => error);
        if (outcome === reason) aborted++;
        else if (bits(outcome) !== expected[index])
          t.fail(`${name}: neither its answer nor its reason`);
      };
      return index % 2 ? [stays()] : [stays(), goes(), goes()];
    });
    await Promise.all(calls);
    t.ok(aborted > 10, `${aborted} of ${count} were aborted in time`);
    const stats = model.stats();
    t.match(stats, { running: 0, waiting: 0, rows: 0, cacheBytes: 0, failed: 0, overloaded: 0 });
    // A pass that was being cancelled may still have had a source when the last call was settled.
    await model.generate('x');
    t.ok(model.engine.memory().working <= working, 'memory is back');
  }
  await model.close();
});

t.test('10 000 short calls without a limit of the queue, many aborted at once', async (t) => {
  const { model, working } = await warm();
  const random = randomFrom(9);
  const ended = { answered: 0, aborted: 0 };
  await Promise.all(
    Array.from({ length: 10_000 }, async (_, index) => {
      const stop = new AbortController();
      const call = model.predictLength(`${index}`, 1, { signal: stop.signal });
      if (random(10) > 0) setTimeout(() => stop.abort(), random(20));
      await call.then(
        () => ended.answered++,
        (error: Error) => (error.name === 'AbortError' ? ended.aborted++ : t.fail(String(error))),
      );
    }),
  );
  t.equal(ended.answered + ended.aborted, 10_000);
  t.ok(ended.aborted > 1000, JSON.stringify(ended));
  t.match(model.stats(), { completed: ended.answered + 3, aborted: ended.aborted, cacheBytes: 0 });
  await model.generate('x');
  t.ok(model.engine.memory().working <= working);
  await model.close();
});

t.test('a reader that never reads on', async (t) => {
  const { model, working } = await warm();
  const readers = Array.from({ length: 5 }, (_, index) =>
    model.refine(prompts[index]!, { iterations: 20, length: 20 }),
  );
  for (const reader of readers) t.equal((await reader.next()).done, false);
  const held = model.engine.memory().working;
  t.equal(held - working, model.stats().cacheBytes, 'their sources are held');
  for (let round = 0; round < 3; round++) {
    for (const index of [0, 1, 2, 3]) await requests[index]!.ask(model);
  }
  const { passes } = model.stats();
  await sleep(30);
  t.equal(model.stats().passes, passes, 'no pass is run for them');
  t.match(model.stats(), { running: 5, rows: 0 });
  t.equal(model.engine.memory().working, held, 'and nothing grows');
  const second = await readers[0]!.next();
  t.match(second.value, { iteration: 2 }, 'one that reads on goes on');
  await Promise.all(readers.map((reader) => reader.return(undefined as never)));
  t.equal(model.engine.memory().working, working, 'left: freed');
  await model.close();
});

t.test('close() with calls in flight', async (t) => {
  const { model } = await warm({ scheduling: { rowBudget: 64 } });
  const calls = requests.map(({ ask }) =>
    ask(model).then(
      () => 'answered',
      (error: unknown) => error,
    ),
  );
  await sleep(15);
  await model.close();
  const outcomes = await Promise.all(calls);
  let disposed = 0;
  for (const outcome of outcomes) {
    if (outcome === 'answered') continue;
    disposed++;
    t.match(outcome, { code: 'ERR_DISPOSED' });
  }
  t.ok(disposed > count / 4, `${disposed} of ${count} were in flight`);
  await t.rejects(model.generate('x'), { code: 'ERR_DISPOSED' });

  const other = await warm();
  const late = Promise.allSettled([
    other.model.generate(prompts[0]!, { iterations: 100, length: 100 }),
  ]);
  await sleep(5);
  await other.model.engine.close();
  t.match(
    await late,
    [{ status: 'rejected', reason: { code: 'ERR_DISPOSED' } }],
    'its engine closed',
  );
  await t.rejects(other.model.generate('x'), { code: 'ERR_DISPOSED' });
  await other.model.close();
});

t.test('the token level beside the text level', async (t) => {
  const { model } = await warm();
  const { engine, tokenizer } = model;
  const [source] = await engine.encode([tokenizer.encode(prompts[0]!).ids]);
  const alone = source!.target(30);
  await engine.decode([alone], 10);
  const both = source!.target(30);
  const [answers] = await Promise.all([
    Promise.all(requests.slice(0, 40).map(({ ask }) => ask(model))),
    engine.decode([both], 10),
  ]);
  t.equal(bits(both.scores), bits(alone.scores));
  answers.forEach((answer, index) => {
    if (bits(answer) !== expected[index]) t.fail(requests[index]!.name);
  });
  source!.dispose();
  await model.close();
});

t.test('workers that are terminated in the middle of many calls', async (t) => {
  const source = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(built)}).then(async ({ MaskPredict }) => {
      const model = await MaskPredict.load(undefined, { device: 'cpu' });
      const caller = async (number) => {
        for (let i = 0; ; i++) {
          if (number % 4 === 0) for await (const step of model.refine('Write 7', { length: 9 })) void step;
          else if (number % 4 === 1) await model.score('Write 7', 'one hundred and one');
          else await model.generate('Write the number ' + i, { length: 1 + ((i * 7) % 30) });
          if (number === 0 && i === 0) parentPort.postMessage('begun');
        }
      };
      for (let number = 0; number < 24; number++) void caller(number);
    });`;
  const random = randomFrom(10);
  for (let round = 0; round < 12; round++) {
    const worker = new Worker(source, { eval: true, execArgv: [] });
    worker.once('error', (error) => t.fail(String(error)));
    if (round % 3 > 0) await once(worker, 'message');
    await sleep(random(60));
    const begun = performance.now();
    await worker.terminate();
    const took = performance.now() - begun;
    t.ok(took < 1000, `gone in ${Math.round(took)} ms`);
  }
});
