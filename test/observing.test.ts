/** Observing a model: stats(), and the events of node:diagnostics_channel. */
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { MaskPredict, type BatchEvent, type RequestEvent } from '../lib/index.js';
import { Statistics } from '../lib/scheduling/statistics.js';
import { refused, wrong } from './refusals-of-calls.js';
import { prompts } from './token-level.js';

t.test('stats()', async (t) => {
  const model = await MaskPredict.load(undefined, {
    device: 'cpu',
    scheduling: { queueLimit: 2, rowBudget: 8 },
  });
  t.teardown(() => model.close());
  t.match(model.stats(), {
    waiting: 0,
    running: 0,
    rows: 0,
    passes: 0,
    passesPerSecond: 0,
    cacheBytes: 0,
    latency: { count: 0, sum: 0, p50: 0, max: 0 },
  });
  const alone = await model.generate(prompts[0]!, { iterations: 5, length: 20 });
  t.equal(model.stats().passes, 1 + alone.iterations, 'the source and each pass of the target');

  const stop = new AbortController();
  const begun = performance.now();
  const calls = [
    model.generate(prompts[0]!, { length: 20 }),
    model.generate(prompts[1]!, { signal: stop.signal }),
    model.generate(prompts[2]!),
  ];
  t.match(model.stats(), { waiting: 2, running: 0 }, 'before their first pass');
  stop.abort();
  const outcomes = await Promise.allSettled([
    ...calls,
    model.generate(prompts[3]!, { length: 5000 }),
  ]);
  const took = performance.now() - begun;
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'rejected'],
  );
  const stats = model.stats();
  // A wrong argument is an error before there is a call.
  t.match(stats, { completed: 2, aborted: 1, overloaded: 1, failed: 0, waiting: 0, running: 0 });
  const { latency } = stats;
  t.equal(latency.count, 2);
  t.ok(latency.sum > 0 && latency.max <= took + 1000 && latency.p50 <= latency.p99);
  t.equal(latency.buckets.at(-1)!.upTo, Infinity);
  t.equal(latency.buckets.at(-1)!.count, 2, 'the last bucket counts all');
  t.ok(latency.buckets.every(({ count }, i, all) => i === 0 || count >= all[i - 1]!.count));
  t.equal(stats.tokens, 40, 'two texts of 20 tokens');
  const phases = Object.values(stats.phases);
  t.ok(phases.every(({ count, sum }) => count === 2 && sum > 0));
  const parts = phases.reduce((total, { sum }) => total + sum, 0);
  t.ok(Math.abs(parts - latency.sum) < 1e-6, 'the phases are the whole latency');

  const reader = model.refine(prompts[0]!, { length: 6 });
  await reader.next();
  const held = model.stats();
  t.match(held, { running: 1, rows: 0 });
  t.ok(held.cacheBytes > 0);
  await reader.return(undefined as never);
  t.match(model.stats(), { running: 0, cacheBytes: 0, aborted: 2 });
});

t.test('rates and latencies', async (t) => {
  const statistics = new Statistics(5000);
  t.equal(statistics.passesPerSecond(5000), 0);
  for (let ms = 5000; ms < 25_000; ms += 100) statistics.ran(3, ms);
  t.equal(statistics.passesPerSecond(25_000), 30, '3 every 100 ms');
  t.equal(statistics.passesPerSecond(30_000), 15, 'half of the last ten seconds');
  t.equal(statistics.passesPerSecond(60_000), 0, 'all of it was long ago');
  t.equal(statistics.passes, 600);
  const young = new Statistics(5000);
  young.ran(40, 5500);
  t.equal(young.passesPerSecond(7000), 20, 'of two seconds, if there were no more');

  for (let ms = 1; ms <= 100; ms++) {
    statistics.completed({ arrived: 5, joined: 5, encoded: 5 + ms / 4 }, 5 + ms);
  }
  const { count, sum, p50, p95, p99, max, buckets } = statistics.latency();
  t.equal(count, 100);
  t.equal(sum, 5050);
  const { queue, encode, decode } = statistics.phases();
  t.same([queue.sum, encode.sum, decode.sum], [0, 5050 / 4, (3 * 5050) / 4]);
  // The histogram keeps three digits.
  for (const [value, expected] of [
    [p50, 50],
    [p95, 95],
    [p99, 99],
    [max, 100],
  ] as const) {
    t.ok(Math.abs(value - expected) <= expected / 1000 + 0.001, `${value} is ${expected}`);
  }
  t.same(
    buckets.slice(0, 7),
    [1, 2, 5, 10, 20, 50, 100].map((upTo) => ({ upTo, count: upTo })),
  );
});

t.test('sources that are kept', async (t) => {
  const model = await MaskPredict.load(undefined, {
    device: 'cpu',
    sourceCache: { bytes: 2 ** 20 },
  });
  await model.generate(prompts[0]!);
  const { perSourceId } = model.engine.memory();
  const ids = model.tokenizer.encode(prompts[0]!).ids.length;
  t.match(model.stats().sources, { hits: 0, misses: 1, kept: ids * perSourceId });
  const { passes } = model.stats();
  const again = await model.generate(prompts[0]!);
  t.equal(model.stats().passes, passes + again.iterations, 'no pass for the source');
  t.equal(again.timings.encode, 0);
  t.match(model.stats().sources, { hits: 1, misses: 1, evictions: 0 });
  for (let n = 0; n < 200; n++) await model.predictLength(`a prompt of its own ${n}`);
  const { sources, cacheBytes } = model.stats();
  t.ok(sources.evictions > 0 && sources.kept <= 2 ** 20);
  t.equal(cacheBytes, sources.kept, 'nothing else is held');
  await model.close();
});

t.test('events', async (t) => {
  const model = await MaskPredict.load(undefined, { device: 'cpu' });
  t.teardown(() => model.close());
  const events: [name: string, event: RequestEvent][] = [];
  const heard = (name: string) => (message: unknown) =>
    void events.push([name, message as RequestEvent]);
  const listeners = {
    start: heard('start'),
    end: heard('end'),
    asyncStart: heard('asyncStart'),
    asyncEnd: heard('asyncEnd'),
    error: heard('error'),
  };
  const batches: BatchEvent[] = [];
  const listener = (message: unknown) => void batches.push(message as BatchEvent);
  const channel = tracingChannel('mask-predict:request');
  channel.subscribe(listeners);
  subscribe('mask-predict:batch', listener);

  const names = ['start', 'end', 'asyncStart', 'asyncEnd'];
  const answer = await model.generate([prompts[0]!, prompts[1]!], { priority: 2, iterations: 3 });
  t.same(
    events.map(([name]) => name),
    names,
  );
  t.ok(
    events.every(([, event]) => event === events[0]![1]),
    'one object for a call',
  );
  t.match(events[0]![1], { call: 'generate', prompts: 2, priority: 2, deadline: undefined });
  t.equal(events[0]![1].result, answer);
  t.equal(
    batches.reduce((sum, { passes }) => sum + passes, 0),
    model.stats().passes,
  );
  t.match(batches[0], { sources: 2, targets: 0, passes: 1, waiting: 0 });
  const rows = [0, 1].map((n) => model.tokenizer.encode(prompts[n]!).ids.length);
  t.equal(batches[0]!.rows, rows[0]! + rows[1]!);
  t.match(batches[1], { sources: 0, targets: 2 });
  t.ok(batches.every(({ duration }) => duration > 0));

  for (const [call, ask] of Object.entries({
    choose: () => model.choose('x', ['a']),
    score: () => model.score('x', 'a'),
    predictLength: () => model.predictLength('x'),
  })) {
    events.length = 0;
    await ask();
    t.match(
      events.map(([name]) => name),
      names,
    );
    t.equal(events[0]![1].call, call);
  }

  events.length = 0;
  const wrongly = await model.generate(wrong(5)).catch((error: unknown) => error);
  t.same(
    events.map(([name]) => name),
    ['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
  );
  t.equal(events[2]![1].error, wrongly);

  events.length = 0;
  let steps = 0;
  for await (const step of model.refine(prompts[0]!, { iterations: 3 })) steps = step.iteration;
  t.equal(steps, 3);
  await sleep(1);
  t.match(events[0], ['start', { call: 'refine', prompts: 1 }]);
  t.match(events.at(-1), ['asyncEnd', { result: { iterations: 3 } }]);
  events.length = 0;
  for await (const step of model.refine(prompts[0]!)) if (step.iteration === 1) break;
  await sleep(1);
  t.equal(events.at(-1)![0], 'asyncEnd', 'left early');
  t.equal(events.at(-1)![1].result, undefined);
  events.length = 0;
  await t.rejects(model.refine('x', { iterations: 0 }).next());
  await sleep(1);
  t.ok(events.some(([name]) => name === 'error'));

  channel.unsubscribe(listeners);
  t.equal(unsubscribe('mask-predict:batch', listener), true);
  events.length = batches.length = 0;
  await model.generate('x');
  t.equal(events.length + batches.length, 0, 'nobody is told any more');
});

t.test('options of the service', async (t) => {
  const load = (options: unknown) => () => MaskPredict.load(undefined, wrong(options));
  const model = await MaskPredict.load();
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'no rows': [load({ scheduling: { rowBudget: 0 } }), /scheduling\.rowBudget.*not 0/],
    'no queue': [load({ scheduling: { queueLimit: 0 } }), /scheduling\.queueLimit.*not 0/],
    'no patience at all': [load({ scheduling: { patience: -1 } }), /scheduling\.patience.*not -1/],
    'no time': [load({ scheduling: { expectedWait: 0 } }), /scheduling\.expectedWait.*not 0/],
    'an option there is not': [load({ scheduling: { budget: 1 } }), /'budget'.*rowBudget/],
    'an option of nothing': [load({ rowBudget: 5 }), /'rowBudget'.*scheduling/],
    'options that are null': [load(null), /options of MaskPredict\.load\(\)/],
    'scheduling by a number': [load({ scheduling: 5 }), /scheduling must be an object/],
    'bytes below 0': [load({ sourceCache: { bytes: -1 } }), /sourceCache\.bytes.*not -1/],
    'a cache of a number': [load({ sourceCache: 5 }), /sourceCache must be an object/],
    'half a priority': [() => model.generate('x', { priority: 0.5 }), /priority.*not 0\.5/],
    'no deadline': [() => model.score('x', 'y', { deadline: 0 }), /deadline.*not 0/],
    'a deadline in words': [() => model.refine('x', wrong({ deadline: 'now' })).next(), /deadline/],
  });
  await model.close();
});
