/**
 * Several devices behind one model, their engines imitated: which of them takes what, and what becomes of the calls of one
 * that is lost. The same with engines on emulated GPUs is several-gpus.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { MaskPredict, MaskPredictError } from '../lib/index.js';
import { Devices } from '../lib/scheduling/devices.js';
import { readSchedulingOptions, type SchedulingOptions } from '../lib/scheduling/options.js';
import { PassTimes } from '../lib/scheduling/pass-times.js';
import { Scheduler, type ScheduledOptions } from '../lib/scheduling/scheduler.js';
import { SourceCache } from '../lib/scheduling/source-cache.js';
import { ImitatedPasses, sequence } from './imitated-passes.js';

const engine = { device: 'cuda', config: { bodyWeights: 1 } };
const usual: ScheduledOptions = { priority: 0, deadline: undefined, signal: undefined };

function made(count: number, options: SchedulingOptions = {}) {
  const engines = Array.from({ length: count }, () => new ImitatedPasses());
  const read = readSchedulingOptions(options)(engine);
  const lost: string[] = [];
  const devices = new Devices(
    engines.map((runner, index) => ({ name: `gpu:${index}`, runner })),
    {
      queueLimit: read.queueLimit,
      schedule: (runner) =>
        new Scheduler(runner, new SourceCache(0), { ...read, queueLimit: Infinity }),
      onLost: (name, { message }, left) => lost.push(`${name}, ${left} left: ${message}`),
    },
  );
  /** A call of one sequence for each name. Never rejects: an error is its outcome. */
  const run = (names: string, shape: object = {}, call: Partial<ScheduledOptions> = {}) =>
    devices
      .run(
        [...names].map((name) => sequence(name, shape)),
        { ...usual, ...call },
      )
      .then(
        (results) => results.join(''),
        (error: MaskPredictError) => error,
      );
  const pass = () => Promise.all(engines.map((each) => each.pass()));
  const passes = async () => {
    while ((await pass()).some((ran) => ran !== undefined));
  };
  /** Returns the sources that each device has encoded so far. */
  const encoded = () => engines.map(({ ran }) => ran.flatMap(({ sources }) => sources).join(''));
  return { engines, devices, run, pass, passes, encoded, lost };
}

const lossOf = (cause: string) =>
  new MaskPredictError('ERR_DEVICE', `the GPU's context is lost: restart the process; ${cause}`);

t.test('the shortest wait takes a call', async (t) => {
  const { run, passes, encoded, devices } = made(3);
  const calls = [run('a', { rows: 30 }), run('b', { rows: 10 }), run('c', { rows: 20 })];
  calls.push(run('d', { rows: 15 }), run('e', { rows: 2 }), run('f', { rows: 3 }));
  await passes();
  t.same(
    encoded(),
    ['a', 'bd', 'cef'],
    'the one with the fewest rows to do, of equal ones the first',
  );
  t.same(await Promise.all(calls), [...'abcdef']);

  const alone = run('g');
  await passes();
  t.equal(await alone, 'g');
  t.same(encoded(), ['ag', 'bd', 'cef'], 'all are idle: the first');
  t.match(devices.statistics(), {
    completed: 7,
    waiting: 0,
    running: 0,
    latency: { count: 7 },
    phases: { queue: { count: 7 }, decode: { count: 7 } },
    devices: [{ device: 'gpu:0', working: true }, { device: 'gpu:1' }, { device: 'gpu:2' }],
  });
  const { passes: all, devices: each } = devices.statistics();
  t.equal(
    all,
    each!.reduce((sum, { passes }) => sum + passes, 0),
  );
});

t.test('passes over targets count as far as they are known', async (t) => {
  const { devices, passes, encoded } = made(2);
  const calls = ['a', 'b', 'c'].map((name) =>
    devices.run([{ ...sequence(name), targetRows: name === 'a' ? 100 : 0 }], usual),
  );
  await passes();
  await Promise.all(calls);
  t.same(encoded(), ['a', 'bc']);
});

t.test('a call of many prompts is spread, and its order kept', async (t) => {
  const { run, passes, encoded, devices } = made(3);
  const call = run('abcdefg');
  t.equal(devices.statistics().waiting, 3, 'a part on each');
  await passes();
  t.equal(await call, 'abcdefg');
  t.same(encoded(), ['adg', 'be', 'cf']);
  t.match(devices.statistics(), { completed: 1, latency: { count: 1 }, running: 0 });
  t.same(await devices.run([], usual), []);
});

t.test('how slow devices are', async (t) => {
  const times = new PassTimes();
  const [fast, slow, idle] = [{ slowness: 1 }, { slowness: 1 }, { slowness: 1 }];
  for (let n = 0; n < 100; n++) {
    times.record(fast, 500, 4, 40);
    times.record(slow, 500, 4, 80);
  }
  const ratio = slow.slowness / fast.slowness;
  t.ok(ratio > 1.8 && ratio < 2.2, `twice as slow: ${ratio}`);
  t.equal(idle.slowness, 1, 'nothing is known');

  const [busy, calm] = [{ slowness: 1 }, { slowness: 1 }];
  const same = new PassTimes();
  for (let n = 0; n < 100; n++) {
    same.record(busy, 500, 1, 12);
    same.record(calm, 10, 1, 10);
  }
  t.same([busy, calm], [{ slowness: 1 }, { slowness: 1 }], 'few rows take long, on any device');

  same.record(busy, 500, 1, 12_000);
  t.ok(busy.slowness < 1.5, `one slow pass is not much: ${busy.slowness}`);
  for (let n = 0; n < 100; n++) same.record(busy, 500, 1, 12);
  t.ok(Math.abs(busy.slowness - 1) < 0.1, 'and is forgotten');
  same.record(busy, 500, 1, 0);
  t.ok(Number.isFinite(busy.slowness), 'a clock that stands still does no harm');
});

t.test('a slow device gets less', async (t) => {
  const { run, passes, engines, encoded } = made(2);
  for (let round = 0; round < 12; round++) {
    const calls = [run('a', { iterations: 1 }), run('b', { iterations: 1 })];
    await engines[0]!.passes();
    // The second device's passes take their time.
    for (let n = 0; n < 2; n++) {
      await sleep(10);
      await engines[1]!.pass();
    }
    await Promise.all(calls);
  }
  const before = encoded().map(({ length }) => length);
  const call = run('abcdefghijklmnopqrst');
  await passes();
  await call;
  const [first, second] = encoded().map(({ length }, index) => length - before[index]!);
  t.ok(first! > 1.5 * second!, `${first} prompts and ${second}`);
});

t.test('a device that is lost', async (t) => {
  const { run, pass, passes, engines, encoded, lost, devices } = made(2, { rowBudget: 20 });
  const calls = [...'abcdefgh'].map((name) => run(name, { iterations: 1 }));
  await pass();
  t.same(encoded(), ['ac', 'bd'], 'some are at work, others wait');
  engines[0]!.failure = lossOf('cudaErrorIllegalAddress');
  await passes();
  t.same(await Promise.all(calls), [...'abcdefgh'], 'all are answered');
  t.same([...encoded()[1]!].sort(), [...'abcdefgh'], 'by the other one');
  t.same(lost, [
    "gpu:0, 1 left: the GPU's context is lost: restart the process; cudaErrorIllegalAddress",
  ]);
  t.match(devices.statistics(), {
    completed: 8,
    failed: 0,
    running: 0,
    devices: [{ working: false, waiting: 0, running: 0 }, { working: true }],
  });
  const later = run('ij');
  await passes();
  t.equal(await later, 'ij');
  t.match(encoded()[1], /ij$/, 'it takes no more calls');
  t.equal(engines[0]!.busy, false);
  t.ok(
    engines.every(({ bytes }) => bytes === 0),
    'no source is left',
  );
});

t.test('what is answered stays answered', async (t) => {
  const { devices, engines, pass, passes } = made(2, { rowBudget: 10 });
  const sequences = [...'abcd'].map((name) => sequence(name, { iterations: 1 }));
  const call = devices.run(sequences, usual);
  for (let n = 0; n < 3; n++) await pass();
  engines[0]!.failure = lossOf('x');
  await passes();
  t.same(await call, [...'abcd']);
  t.same(
    sequences.map(({ encoded }) => encoded.length),
    [1, 1, 2, 1],
    'a was there, c began anew',
  );
});

t.test('a call goes on elsewhere once, and all devices may be lost', async (t) => {
  const { run, pass, passes, engines, lost, devices } = made(3);
  const poison = run('a');
  await pass();
  engines[0]!.failure = lossOf('first');
  engines[1]!.failure = lossOf('second');
  await passes();
  t.match(await poison, lossOf('second'), 'it may be the cause: the third is spared');
  t.equal(lost.length, 2);
  const other = run('b');
  await passes();
  t.equal(await other, 'b');

  const last = run('c');
  engines[2]!.failure = lossOf('third');
  await passes();
  const message =
    "the GPU's context is lost: restart the process; no device of this model works any more " +
    '(gpu:0: first; gpu:1: second; gpu:2: third)';
  t.match(await last, { code: 'ERR_DEVICE', message });
  t.match(await run('d'), { code: 'ERR_DEVICE', message }, 'and every later call');
  t.throws(() => devices.paced(sequence('e'), usual), { code: 'ERR_DEVICE', message });
  t.match(devices.statistics(), { completed: 1, failed: 3, waiting: 0, running: 0 });
});

t.test('a reading, pass by pass', async (t) => {
  const read = async (lossAfter: number) => {
    const { devices, engines, passes } = made(2);
    const reading = devices.paced(sequence('a', { iterations: 3 }), usual);
    const seen: (number | undefined | Error)[] = [];
    for (let n = 0; n < 5; n++) {
      if (n === lossAfter) engines[0]!.failure = lossOf('x');
      const next = reading.next().then(
        (view) => view?.iteration,
        (error: Error) => error,
      );
      await passes();
      seen.push(await next);
    }
    reading.end();
    return { seen, statistics: devices.statistics(), result: reading.result };
  };
  const whole = await read(Infinity);
  t.same(whole.seen, [1, 2, 3, undefined, undefined]);
  t.equal(await whole.result, 'a');
  t.match(whole.statistics, { completed: 1, aborted: 0, latency: { count: 1 } });

  const early = await read(0);
  t.same(early.seen, [1, 2, 3, undefined, undefined], 'nothing was delivered: elsewhere');
  t.equal(await early.result, 'a');
  t.match(early.statistics, { completed: 1, failed: 0, devices: [{ working: false }, {}] });

  const late = await read(1);
  t.match(late.seen, [1, lossOf('x'), lossOf('x')], 'a pass was: its error');
  t.match(late.statistics, { completed: 0, failed: 1, aborted: 0 });

  const { devices, passes, engines } = made(2);
  const left = devices.paced(sequence('a'), usual);
  const next = left.next();
  await passes();
  await next;
  left.end();
  left.end();
  t.match(devices.statistics(), { aborted: 1, failed: 0, running: 0 });
  t.equal(engines[0]!.bytes, 0);
});

t.test('other failures', async (t) => {
  const { devices, run, pass, passes, engines, lost, encoded } = made(2);
  const spread = run('ab');
  await pass();
  engines[0]!.failure = new MaskPredictError('ERR_DEVICE', 'cudaLaunchKernel: too many resources');
  await passes();
  t.match(await spread, { code: 'ERR_DEVICE', message: /too many resources/ });
  t.match(
    devices.statistics(),
    { failed: 1, running: 0, waiting: 0 },
    'its other part ends with it',
  );
  t.equal(engines[1]!.bytes, 0);
  t.same(lost, [], 'the device goes on');
  engines[0]!.failure = undefined;
  const next = run('c');
  await passes();
  t.equal(await next, 'c');
  t.same(encoded(), ['ac', 'b']);

  // A reason of one's own may be anything.
  const stop = new AbortController();
  const stopped = run('de', {}, { signal: stop.signal });
  const reader = devices.paced(sequence('f'), { ...usual, signal: stop.signal });
  const step = reader.next().catch((error: Error) => error);
  await pass();
  stop.abort(lossOf('elsewhere'));
  await passes();
  t.equal(await stopped, stop.signal.reason);
  t.equal(await step, stop.signal.reason);
  t.equal(await run('g', {}, { signal: stop.signal }), stop.signal.reason);
  t.match(devices.statistics(), { aborted: 2, devices: [{ working: true }, { working: true }] });
  t.same(lost, []);
});

t.test('the queue is one', async (t) => {
  const { run, passes, pass, devices } = made(2, { rowBudget: 10, queueLimit: 3 });
  const calls = [run('a'), run('b')];
  await pass();
  calls.push(run('c'), run('d'), run('e'));
  t.match(await run('f'), { code: 'ERR_OVERLOADED', message: /queue is full: 3 calls/ });
  const late = made(1, { rowBudget: 10 });
  const first = late.run('a', { iterations: 3 });
  await late.pass();
  const expired = late.run('b', {}, { deadline: 20 });
  await sleep(40);
  t.match(await expired, { code: 'ERR_OVERLOADED', message: /deadline of 20 ms/ });
  t.match(late.devices.statistics(), { overloaded: 1 });
  await Promise.all([passes(), late.passes()]);
  t.equal(await first, 'a');
  t.same(await Promise.all(calls), [...'abcde']);
  t.match(devices.statistics(), { completed: 5, overloaded: 1 });
});

t.test('a deadline that was met stays met', async (t) => {
  const { run, pass, passes, engines } = made(2);
  const busy = run('ab', { iterations: 20 });
  await pass();
  const call = run('c', { iterations: 1 }, { deadline: 50 });
  await pass();
  engines[0]!.failure = lossOf('x');
  await pass();
  await sleep(70);
  await passes();
  t.equal(await call, 'c', 'it had begun before its device was lost');
  t.equal(await busy, 'ab');
});

t.test('closing', async (t) => {
  const { devices, run, pass, passes } = made(2);
  const calls = [run('ab'), run('c')];
  await pass();
  devices.close();
  await passes();
  for (const call of calls)
    t.match(await call, { code: 'ERR_DISPOSED', message: /during this call/ });
  t.match(await run('d'), { code: 'ERR_DISPOSED', message: 'this model was closed' });
  devices.close();
  t.match(devices.statistics(), { failed: 2, running: 0, waiting: 0 });
});

t.test('the option devices', async (t) => {
  const refused: [devices: unknown, message: RegExp, more?: object][] = [
    [['cpu'], /^device and devices exclude each other: .*/, { device: 'cpu' }],
    [[], /^devices must be an array of devices such as .*, not an empty one$/],
    ['cuda:0', /^devices must be an array .*, not "cuda:0"$/],
    [null, /^devices must be an array .*, not null$/],
    [{ 0: 'cpu' }, /^devices must be an array .*, not an object$/],
    [['cuda:0', 1], /^devices\[1\] must be a string, not 1$/],
    // eslint-disable-next-line no-sparse-arrays
    [[, 'cuda:0'], /^devices\[0\] must be a string, not undefined$/],
    [['auto'], /^devices\[0\] is 'auto', .*device: 'auto'$/],
    [['cpu', 'cpu'], /^devices\[0\] and devices\[1\] are 'cpu': name each device once$/],
    [['cuda:1', 'cuda:0', 'cuda:1'], /^devices\[0\] and devices\[2\] are 'cuda:1'/],
    [['cpu', 'cuda:0'], /^devices has 'cpu' beside GPUs/],
    [['gpu'], /^device must be .*'gpu'$/],
  ];
  for (const [devices, message, more] of refused) {
    const options = { devices: devices as ['cpu'], ...more };
    await t.rejects(MaskPredict.load(undefined, options), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    });
  }

  const seen: number[] = [];
  await using model = await MaskPredict.load(undefined, {
    devices: ['cpu'],
    threads: 1,
    onProgress: (fraction) => seen.push(fraction),
  });
  t.equal(seen.at(-1), 1);
  t.same(model.engines, [model.engine]);
  t.equal(model.engine.device, 'cpu');
  const prompts = ['Write the number 21 in English words.', 'Write the number 3 in English words.'];
  const answers = await model.generate(prompts);
  t.same(
    answers.map(({ text }) => text),
    ['twenty-one', 'three'],
  );
  t.match(model.stats(), { completed: 1, devices: [{ device: 'cpu', working: true, running: 0 }] });
  await using plain = await MaskPredict.load(undefined, { device: 'cpu', threads: 1 });
  t.equal(plain.stats().devices, undefined);
  t.same(plain.engines, [plain.engine]);

  const stop = new AbortController();
  const stopped = MaskPredict.load(undefined, {
    devices: ['cpu'],
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  await t.rejects(stopped, { name: 'AbortError' });
  const failed = MaskPredict.load(undefined, {
    devices: ['cpu'],
    onProgress: () => {
      throw new Error('mine');
    },
  });
  await t.rejects(failed, { message: 'mine' });
});
