/**
 * Sharing of passes: the scheduler over an imitated engine, so that every pass and its order is known. That sharing
 * changes no result is test/concurrent.slow.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { readSchedulingOptions, type SchedulingOptions } from '../lib/scheduling/options.js';
import { Scheduler, type ScheduledOptions } from '../lib/scheduling/scheduler.js';
import { SourceCache } from '../lib/scheduling/source-cache.js';
import { ImitatedPasses, sequence } from './imitated-passes.js';

/** An engine with the layers of XLM-R base. */
const base = { device: 'cpu', config: { bodyWeights: 12 * 12 * 768 ** 2 } };

function made(options: SchedulingOptions = {}, kept = 0) {
  const passes = new ImitatedPasses();
  const cache = new SourceCache(kept);
  const scheduler = new Scheduler(passes, cache, readSchedulingOptions(options)(base));
  const ended: string[] = [];
  /** Runs one sequence, keeping the order in which calls end; never rejects. */
  const run = (name: string, shape: object = {}, call: Partial<ScheduledOptions> = {}) =>
    scheduler
      .run([sequence(name, shape)], {
        priority: 0,
        deadline: undefined,
        signal: undefined,
        ...call,
      })
      .then(
        ([value]) => (ended.push(value!), value),
        (error: Error) => (ended.push(`${name}: ${error.message}`), error),
      );
  return { passes, scheduler, run, ended, cache };
}

t.test('the row budget by default', async (t) => {
  const rows = (device: string, layers: number, hidden: number) =>
    readSchedulingOptions()({ device, config: { bodyWeights: layers * 12 * hidden ** 2 } })
      .rowBudget;
  t.equal(readSchedulingOptions()(base).rowBudget, 128);
  t.equal(rows('cpu', 24, 1024), 128, 'larger layers: no fewer');
  t.equal(rows('cpu', 6, 768), 256, 'half of the layers: twice as many');
  t.equal(rows('cpu', 4, 128), 512, 'tiny ones: not ever more');
  t.equal(rows('cuda', 48, 2560), 512, 'a GPU');
  t.equal(readSchedulingOptions({ rowBudget: 7 })(base).rowBudget, 7, 'as asked');
});

t.test('calls made together begin together; one that arrives joins the next pass', async (t) => {
  const { passes, run, ended } = made();
  void run('a', { iterations: 3 });
  void run('b', { iterations: 1 });
  t.same(await passes.pass(), { sources: ['a', 'b'], targets: [], rows: 20 });
  void run('c', { iterations: 1 });
  t.equal(passes.interruptions, 1, 'passes that would go on by themselves are told');
  t.same((await passes.pass())!.targets, ['a', 'b'], 'the pass that was running');
  t.same(ended, ['b'], 'one that is done leaves at once');
  t.same(await passes.pass(), { sources: ['c'], targets: ['a'], rows: 20 });
  t.same((await passes.pass())!.targets, ['a', 'c']);
  t.same(ended, ['b', 'a', 'c']);
  t.equal(passes.busy, false);
  t.equal(passes.bytes, 0, 'no source is left');
});

t.test('any number of calls may wait, and none of them is slow to come or go', async (t) => {
  const { passes, run, scheduler } = made({ rowBudget: 512 });
  const count = 30_000;
  const stop = new AbortController();
  const begun = performance.now();
  for (let call = 0; call < count; call++) {
    // Two of three leave again, from all over the queue.
    void run('a', { rows: 4, targets: [4] }, call % 3 === 0 ? {} : { signal: stop.signal });
  }
  t.equal(scheduler.statistics().waiting, count);
  stop.abort();
  t.equal(scheduler.statistics().waiting, count / 3);
  await passes.passes();
  t.match(scheduler.statistics(), { waiting: 0, completed: count / 3, overloaded: 0 });
  // Work that grows with the square of the calls takes minutes for so many.
  t.ok(performance.now() - begun < 20_000);
});

t.test('the row budget', async (t) => {
  const { passes, run } = made({ rowBudget: 32 });
  for (const name of ['a', 'b', 'c', 'd']) void run(name, { iterations: 4 });
  t.same((await passes.pass())!.sources, ['a', 'b', 'c'], '4 of 10 rows are too many for 32');
  t.same(await passes.pass(), { sources: [], targets: ['a', 'b', 'c'], rows: 30 });
  await passes.passes();
  t.ok(passes.ran.every(({ rows }) => rows <= 32));

  const small = made({ rowBudget: 8 });
  void small.run('long', { rows: 50, targets: [40], iterations: 2 });
  await small.passes.passes();
  t.same(
    small.passes.ran.map(({ rows }) => rows),
    [50, 40, 40],
    'what is longer than the budget goes through alone',
  );
});

t.test('targets take turns, the least recently advanced first', async (t) => {
  const { passes, run } = made({ rowBudget: 25 });
  // Lengths are known when sources are encoded: the five targets have 50 rows.
  void run('x', { rows: 5, targets: [10, 10, 10, 10, 10], iterations: 4 });
  await passes.passes();
  const [, ...turns] = passes.ran.map(({ targets }) => targets.map((name) => name.slice(2)).join());
  t.same(turns, ['0,1', '2,3', '4,0', '1,2', '3,4', '0,1', '2,3', '4,0', '1,2', '3,4']);
});

t.test('priority and deadline are the order of the queue', async (t) => {
  const order = async (calls: [string, Partial<ScheduledOptions>][]) => {
    const { passes, run } = made({ rowBudget: 10, expectedWait: 1000 });
    void run('first', { iterations: 1 });
    await passes.pass();
    for (const [name, options] of calls) void run(name, { iterations: 1 }, options);
    await passes.passes();
    return passes.ran.flatMap(({ sources }) => sources).slice(1);
  };
  t.same(
    await order([
      ['low', { priority: -1 }],
      ['a', {}],
      ['b', {}],
      ['high', { priority: 1 }],
      ['higher', { priority: 2 }],
    ]),
    ['higher', 'high', 'a', 'b', 'low'],
  );
  t.same(
    await order([
      ['a', {}],
      ['relaxed', { deadline: 50_000 }],
      ['soon', { deadline: 500 }],
      ['at once', { deadline: 200 }],
      ['urgent', { deadline: 500, priority: 1 }],
    ]),
    ['urgent', 'at once', 'soon', 'a', 'relaxed'],
    'a deadline beyond the expected wait is no reason to wait longer',
  );
});

t.test('a deadline that passes in the queue', async (t) => {
  const { passes, run, scheduler, ended } = made({ rowBudget: 10 });
  void run('a', { iterations: 3 });
  await passes.pass();
  const late = run('late', {}, { deadline: 20 });
  const begun = run('begun', {}, { deadline: 60_000 });
  await sleep(40); // keeps the process alive, as a native call does
  t.match(await late, { code: 'ERR_OVERLOADED', message: /deadline of 20 ms/ });
  t.same(ended.length, 1, 'rejected when it passed, whatever runs');
  await passes.passes();
  t.equal(await begun, 'begun');
  t.match(scheduler.statistics(), { completed: 2, overloaded: 1, waiting: 0, running: 0 });
});

t.test('a full queue refuses at once', async (t) => {
  const { passes, run, scheduler } = made({ rowBudget: 10, queueLimit: 3 });
  const accepted = [run('a')];
  await passes.pass();
  accepted.push(run('b'), run('c'), run('d'));
  t.match(scheduler.statistics(), { waiting: 3, running: 1 });
  t.match(await run('e'), {
    code: 'ERR_OVERLOADED',
    message: /queue is full: 3 calls.*queueLimit.*try again later/,
  });
  await passes.passes();
  t.same(await Promise.all(accepted), ['a', 'b', 'c', 'd']);
  t.equal(
    await Promise.all([run('f'), passes.passes()]).then(([name]) => name),
    'f',
    'it fits again',
  );
});

t.test('a long source is neither starved nor starves', async (t) => {
  const patience = 8;
  const { passes, run, ended } = made({ rowBudget: 40, patience });
  const calls: Promise<unknown>[] = [];
  // A short call arrives with every pass and takes 10 rows of three: there are never 40 free.
  const arrive = (n: number) => calls.push(run(`short ${n}`, { iterations: 2 }));
  arrive(0);
  await passes.pass();
  const long = run('long', { rows: 40, targets: [40], iterations: 3 });
  let joined: number | undefined;
  for (let n = 1; n <= 60; n++) {
    arrive(n);
    const { sources } = (await passes.pass())!;
    if (sources.includes('long')) joined ??= n;
    if (n === 30) t.ok(ended.includes('long'), 'it ends while others go on arriving');
  }
  t.ok(joined! > 1 && joined! <= patience + 2, `it joined pass ${joined}`);
  await passes.passes();
  await Promise.all([long, ...calls]);
  const waits = passes.ran.findIndex(({ sources }) => sources.includes('long'));
  t.equal(passes.ran[waits]!.rows, 40, 'alone');
  // Three quarters of every pass are taken: what four passes of the long one held up, sixteen make good.
  const lateness = passes.ran.findLastIndex(({ sources }) => sources.length > 0) - 60;
  t.ok(lateness <= 4, `the short ones were held up by ${lateness} passes in all`);
});

t.test('a call of many prompts and single calls', async (t) => {
  const { passes, run, scheduler } = made({ rowBudget: 20 });
  const many = scheduler.run(
    Array.from({ length: 50 }, (_, n) => sequence(`of many ${n}`, { iterations: 2 })),
    { priority: 0, deadline: undefined, signal: undefined },
  );
  await passes.pass();
  await passes.pass();
  const single = run('single', { iterations: 2 });
  let count = 0;
  for (let done = false; !done; count++) {
    void single.then(() => (done = true));
    await passes.pass();
  }
  t.ok(count <= 6, `the single call ended after ${count} passes, with 46 prompts before it`);
  await passes.passes();
  t.same(
    await many,
    Array.from({ length: 50 }, (_, n) => `of many ${n}`),
    'in their order',
  );
});

t.test('every call ends within a bounded number of passes', async (t) => {
  let seed = 12345;
  const random = (most: number) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return 1 + (Math.floor(seed / 65536) % most);
  };
  const { passes, run } = made({ rowBudget: 64, patience: 4 });
  const lives: { arrived: number; work: number; ended: number }[] = [];
  for (let n = 0; n < 300; n++) {
    const shape = { rows: 2 + random(60), targets: [2 + random(60)], iterations: random(4) };
    const life = { arrived: passes.ran.length, work: shape.iterations, ended: 0 };
    lives.push(life);
    void run(`call ${n}`, shape, { priority: random(3) - 2 }).then(
      () => (life.ended = passes.ran.length),
    );
    if (n % 3 > 0) await passes.pass();
  }
  await passes.passes();
  // All work there is takes so many passes; nobody waits longer than that.
  const total = passes.ran.length;
  for (const { arrived, ended } of lives) t.ok(ended > arrived && ended <= total);
  t.ok(passes.ran.every(({ rows }) => rows <= 64));
});

t.test('a refinement rests until its reader asks', async (t) => {
  const { passes, run, scheduler } = made();
  const options = { priority: 0, deadline: undefined, signal: undefined };
  const paced = scheduler.paced(sequence('slow', { iterations: 3 }), options);
  const first = paced.next();
  await passes.pass();
  await passes.pass();
  t.match(await first, { iteration: 1 });
  const other = run('other', { iterations: 5 });
  await passes.passes();
  t.equal(await other, 'other', 'the others go on');
  t.equal(passes.ran.filter(({ targets }) => targets.includes('slow')).length, 1, 'no pass ahead');
  t.equal(passes.bytes, 10, 'its source is what it holds');
  t.match(scheduler.statistics(), { running: 1, rows: 0 });

  const next = paced.next();
  await passes.passes();
  t.match(await next, { iteration: 2 });
  const last = paced.next();
  await passes.passes();
  t.match(await last, { iteration: 3 });
  t.equal(await paced.next(), undefined);
  t.equal(await paced.result, 'slow');
  paced.end();
  t.equal(passes.bytes, 0);

  const left = scheduler.paced(sequence('left', { iterations: 3 }), options);
  const step = left.next();
  await passes.passes();
  await step;
  left.end();
  t.equal(passes.bytes, 0, 'one that is left frees its source at once');
  t.match(scheduler.statistics(), { completed: 2, aborted: 1, running: 0 });
});

t.test('aborted calls', async (t) => {
  const { passes, run, scheduler } = made({ rowBudget: 20 });
  const stop = new AbortController();
  const reason = new Error('not this');
  const signal = stop.signal;
  const gone = [run('a', { iterations: 9 }, { signal }), run('queued', { rows: 20 }, { signal })];
  const stays = run('b', { iterations: 2 });
  await passes.pass();
  t.match(scheduler.statistics(), { running: 2, waiting: 1 });
  stop.abort(reason);
  t.same(await Promise.all(gone), [reason, reason], 'at once, in a pass or waiting');
  t.equal(passes.bytes, 10, 'its source is freed');
  t.same((await passes.pass())!.targets, ['a', 'b'], 'the pass that is running goes on');
  t.same((await passes.pass())!.targets, ['b'], 'the next one is without it');
  t.equal(await stays, 'b');

  const alone = new AbortController();
  const only = run('c', {}, { signal: alone.signal });
  await passes.pass();
  alone.abort(reason);
  t.equal(await only, reason);
  await passes.pass();
  t.equal(passes.ran.filter(({ targets }) => targets.includes('c')).length, 0, 'it was cancelled');
  t.equal(passes.bytes, 0);
  t.equal(passes.busy, false);
  t.match(scheduler.statistics(), { aborted: 3, running: 0, waiting: 0 });

  const before = run('d', {}, { signal: AbortSignal.abort(reason) });
  t.equal(await before, reason, 'aborted before');
});

t.test('a target that fails takes its own call only', async (t) => {
  const { passes, run, scheduler } = made();
  const bad = new Error('no such length');
  const failing = scheduler.run(
    [
      {
        ...sequence('bad'),
        targets: () => {
          throw bad;
        },
      },
    ],
    {
      priority: 0,
      deadline: undefined,
      signal: undefined,
    },
  );
  const good = run('good');
  void passes.passes();
  await t.rejects(failing, bad);
  t.equal(await good, 'good');
  t.equal(passes.bytes, 0);
  t.match(scheduler.statistics(), { failed: 1, completed: 1 });
});

t.test('sources that are kept', async (t) => {
  const { passes, run, cache, scheduler } = made({}, 25);
  const twice = [run('a', { iterations: 2 }), run('a', { iterations: 2 })];
  t.same(await passes.pass(), { sources: ['a'], targets: [], rows: 10 }, 'encoded once for both');
  const third = run('a', { iterations: 1 });
  await passes.passes();
  await Promise.all([...twice, third]);
  t.equal(passes.sources.length, 1, 'and for one that comes later');
  t.equal(passes.bytes, 10, 'kept');
  t.match(cache.statistics, { hits: 2, misses: 1, evictions: 0, kept: 10 });

  for (const name of ['b', 'a', 'c']) await Promise.all([run(name), passes.passes()]);
  t.match(
    cache.statistics,
    { misses: 3, hits: 3, evictions: 1, kept: 20 },
    '30 bytes are too many',
  );
  await Promise.all([run('b'), passes.passes()]);
  t.same(
    passes.sources.map(({ name, disposed }) => [name, disposed]),
    [
      ['a', true],
      ['b', true],
      ['c', false],
      ['b', false],
    ],
    'the least recently used went first',
  );
  t.equal(scheduler.statistics().cacheBytes, passes.bytes);
  scheduler.close();
  t.equal(passes.bytes, 0, 'closing frees them');
});

t.test('sources that are kept without states', async (t) => {
  const { passes, run, cache } = made({}, 100);
  const ran = async (name: string, states: boolean) =>
    Promise.all([run(name, { states }), passes.passes()]);
  const encoded = () => passes.sources.map(({ name, states }) => `${name} ${states}`);
  await ran('a', false);
  await ran('a', false);
  t.same(encoded(), ['a false'], 'one serves who needs none');
  await ran('a', true);
  t.same(encoded(), ['a false', 'a true'], 'not who does');
  await ran('a', false);
  await ran('a', true);
  t.equal(passes.sources.length, 2, 'one with states serves both');
  t.match(cache.statistics, { hits: 3, misses: 2, kept: 20 });

  const both = [run('b', { states: true }), run('b', { states: false })];
  await passes.passes();
  await Promise.all(both);
  t.same(encoded().slice(2), ['b true'], 'also while it is on its way');
});

t.test('aborting one of two calls over a source', async (t) => {
  const { passes, run, scheduler } = made({}, 100);
  const stop = new AbortController();
  const gone = run('a', {}, { signal: stop.signal });
  const stays = run('a');
  await new Promise((resolve) => setImmediate(resolve));
  stop.abort('gone');
  t.equal(await gone, 'gone');
  await passes.passes();
  t.equal(await stays, 'a');

  const again = new AbortController();
  const only = run('b', {}, { signal: again.signal });
  await new Promise((resolve) => setImmediate(resolve));
  again.abort('gone too');
  const late = run('b');
  await passes.passes();
  t.equal(await only, 'gone too');
  t.equal(await late, 'b', 'one that asks for what is being cancelled');
  t.match(scheduler.statistics(), { completed: 2, aborted: 2 });
});

t.test('no memory for a source', async (t) => {
  const { passes, run, scheduler } = made();
  passes.memory = 25;
  const calls = ['a', 'b', 'c', 'd'].map((name) => run(name, { iterations: 3 }));
  await passes.passes();
  t.same(await Promise.all(calls), ['a', 'b', 'c', 'd'], 'they wait for others to end');
  t.match(await Promise.all([run('large', { rows: 26 }), passes.passes()]), [
    { code: 'ERR_OUT_OF_MEMORY' },
  ]);
  t.equal(await Promise.all([run('e'), passes.passes()]).then(([name]) => name), 'e');

  // A reader that never comes back holds 20 of 25: the next call cannot wait for it.
  const slow = scheduler.paced(sequence('slow', { rows: 20 }), {
    priority: 0,
    deadline: undefined,
    signal: undefined,
  });
  const first = slow.next();
  await passes.passes();
  await first;
  t.match(await Promise.all([run('f'), passes.passes()]), [{ code: 'ERR_OUT_OF_MEMORY' }]);
  slow.end();
  t.equal(await Promise.all([run('g'), passes.passes()]).then(([name]) => name), 'g');

  const keeping = made({}, 1000);
  keeping.passes.memory = 25;
  for (const name of ['a', 'b', 'c']) {
    t.equal(await Promise.all([keeping.run(name), keeping.passes.passes()]).then(([n]) => n), name);
  }
  t.ok(keeping.cache.statistics.evictions > 0, 'what is kept goes for what is needed');
});

t.test('no memory for a pass', async (t) => {
  const { passes, run } = made({ rowBudget: 100 });
  passes.mostRows = 35;
  const calls = Array.from({ length: 10 }, (_, n) => run(`call ${n}`, { iterations: 2 }));
  await passes.passes();
  t.same(
    await Promise.all(calls),
    Array.from({ length: 10 }, (_, n) => `call ${n}`),
    'smaller ones',
  );
  t.match(await Promise.all([run('long', { rows: 40 }), passes.passes()]), [
    { code: 'ERR_OUT_OF_MEMORY' },
  ]);
});

t.test('close() with calls at every stage', async (t) => {
  const { passes, run, scheduler } = made({ rowBudget: 10 }, 100);
  const options = { priority: 0, deadline: undefined, signal: undefined };
  const paced = scheduler.paced(sequence('resting'), options);
  const first = paced.next();
  await passes.passes();
  await first;
  const calls = [run('running', { iterations: 5 }), run('waiting')];
  await passes.pass();
  scheduler.close();
  for (const outcome of await Promise.all(calls)) {
    t.match(outcome, { code: 'ERR_DISPOSED', message: /closed during this call/ });
  }
  await t.rejects(paced.next(), { code: 'ERR_DISPOSED' });
  t.match(await run('late'), { code: 'ERR_DISPOSED', message: /was closed/ });
  await passes.passes();
  t.equal(passes.bytes, 0);
  t.match(scheduler.statistics(), { failed: 3, running: 0, waiting: 0 });
});
