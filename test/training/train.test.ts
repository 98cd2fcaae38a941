/** The loop, over an imitated model: order, limits, parts, stops and resumes with the same bits, and what it refuses. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { TrainOptions } from '../../lib/training/train.js';
import { ImitatedRunner, instructions } from './imitated-runner.js';

const data = instructions(300);
const base: TrainOptions = { rows: 256, warmup: 2 };

async function train(runner: ImitatedRunner, options: TrainOptions, most = Infinity) {
  const steps = [];
  for await (const step of runner.train(data, { ...base, ...options })) {
    steps.push(step);
    if (steps.length === most) break;
  }
  return steps;
}

t.test('an epoch has every example once, in steps of at most so many rows', async (t) => {
  const runner = new ImitatedRunner();
  const steps = await train(runner, { epochs: 1 });
  t.equal(runner.steps.length, steps.length);
  const golds = runner.steps.flatMap(({ parts }) => parts.flatMap((part) => part.golds));
  t.equal(golds.length, 300);
  for (const [index, { parts, options }] of runner.steps.entries()) {
    const [part] = parts;
    const rows = [...part!.sources, ...part!.targets].reduce((sum, ids) => sum + ids.length, 0);
    t.equal(rows, steps[index]!.rows);
    t.ok(rows <= 256);
    t.match(options, { step: index + 1, update: true, seed: 0n });
    t.equal(options.learningRate, steps[index]!.learningRate);
  }
  t.match(steps[0], { step: 1, epoch: 0, loss: 3, nll: 1, lengthLoss: 1, gradientNorm: 1 });
  t.equal(steps[0]!.learningRate, 1e-3 / 2, 'warm-up');
  t.ok(steps[0]!.rowsPerSecond > 0);
  t.equal(steps.at(-1)!.progress, 1);
  const rates = steps.map(({ learningRate }) => learningRate);
  t.ok(Math.abs(rates.at(-1)! * (steps.length - 2) - 1e-3) < 1e-12, 'the schedule ends with it');
});

t.test('a step in parts has the same examples with the same masks', async (t) => {
  const whole = new ImitatedRunner();
  const parted = new ImitatedRunner();
  await train(whole, { steps: 4 });
  await train(parted, { steps: 4, partRows: 64 });
  for (const [index, { parts }] of parted.steps.entries()) {
    t.ok(parts.length > 1);
    const [one] = whole.steps[index]!.parts;
    for (const name of ['sources', 'targets', 'golds'] as const) {
      t.same(
        parts.flatMap((part) => part[name]),
        one![name],
      );
    }
  }
});

t.test('stopped and resumed anywhere, across epochs, it is the same training', async (t) => {
  const options = { steps: 40, sourceMask: 20 };
  const whole = new ImitatedRunner(9n);
  await train(whole, options);
  t.ok(whole.context.state!.epoch > 0);
  const directory = t.testdir();
  for (const stop of [1, 7, 25]) {
    const first = new ImitatedRunner(9n);
    await train(first, options, stop);
    const saved = join(directory, `at-${stop}`);
    await first.checkpoint(saved);
    const second = await ImitatedRunner.resume(saved);
    const rest = await train(second, options);
    t.equal(rest[0]!.step, stop + 1);
    t.equal(second.weight, whole.weight, `after ${stop} steps`);
  }
  const other = new ImitatedRunner(10n);
  await train(other, options);
  t.not(other.weight, whole.weight, 'another seed is another training');
});

t.test('an abort leaves the state of the last whole step', async (t) => {
  const options = { steps: 20 };
  const whole = new ImitatedRunner();
  await train(whole, options);
  const stopped = new ImitatedRunner();
  const controller = new AbortController();
  stopped.onStep = (step) => void (step === 8 && controller.abort(new Error('enough')));
  await t.rejects(train(stopped, { ...options, signal: controller.signal }), { message: 'enough' });
  t.equal(stopped.context.state!.step, 7);
  t.equal(stopped.steps.length, 7);
  stopped.onStep = () => {};
  await train(stopped, options);
  t.equal(stopped.weight, whole.weight);
  const before = new ImitatedRunner();
  await t.rejects(train(before, { ...options, signal: AbortSignal.abort(new Error('no')) }), {
    message: 'no',
  });
  t.equal(before.steps.length, 0);
});

t.test('it ends with the first limit that is reached', async (t) => {
  t.equal((await train(new ImitatedRunner(), { steps: 3, epochs: 5 })).length, 3);
  const epoch = (await train(new ImitatedRunner(), { epochs: 1, warmup: 0 })).length;
  t.equal((await train(new ImitatedRunner(), { steps: 1000, epochs: 2 })).at(-1)!.epoch, 1);
  t.ok(epoch < 100);
  const timed = new ImitatedRunner();
  timed.onStep = () => new Promise((resolve) => setTimeout(resolve, 20));
  const steps = await train(timed, { time: 300, warmup: 0 });
  t.ok(steps.length >= 2 && steps.length <= 15, `${steps.length} steps of 20 ms in 300 ms`);
  const rates = steps.map(({ learningRate }) => learningRate);
  t.same(
    [...rates].sort((a, b) => b - a),
    rates,
    'without steps the rate falls with the time',
  );
  t.ok(rates[0]! <= 1e-3 && rates.at(-1)! < 0.4e-3, String(rates));
  const done = new ImitatedRunner();
  await train(done, { steps: 5 });
  t.equal((await train(done, { steps: 5 })).length, 0, 'nothing is left to do');
});

t.test('what cannot go on is refused', async (t) => {
  const { state } = await begun();
  const refused = (t: Test, options: TrainOptions, message: RegExp, source: object[] = data) =>
    t.rejects(
      async () => {
        const runner = new ImitatedRunner(0n, { ...state! });
        for await (const _ of runner.train(source as typeof data, {
          ...base,
          steps: 9,
          ...options,
        }));
      },
      { code: 'ERR_INVALID_ARGUMENT', message },
    );
  await refused(t, { rows: 128 }, /has rows 256, not 128/);
  await refused(t, { sourceMask: 0 }, /has sourceMask 15, not 0/);
  await refused(t, {}, /has read other data/, data.slice(1));
  await refused(t, { maxTarget: 20 }, /has read other data|other data/, data.slice(1));
  const seed = new ImitatedRunner(1n, { ...state! });
  await t.rejects(train(seed, { steps: 9 }), { message: /has seed 0, not 1/ });

  async function begun() {
    const runner = new ImitatedRunner();
    await train(runner, { steps: 3 });
    return runner.context;
  }
});

t.test('options are checked before any work', async (t) => {
  const cases: [object, RegExp][] = [
    [{}, /needs an end: steps, epochs or time/],
    [{ steps: 0 }, /steps must be an integer from 1/],
    [{ epochs: 1.5 }, /epochs must be/],
    [{ time: '5m' }, /time must be/],
    [{ steps: 5, rows: 3 }, /rows must be/],
    [{ steps: 5, rows: 64, partRows: 65 }, /partRows must be an integer from 8 to 64/],
    [{ steps: 5, schedule: 'cosine' }, /schedule must be polynomial, inverse-sqrt, constant/],
    [{ steps: 5, warmup: 5 }, /the warm-up of 5 steps is not shorter than the training of 5/],
    [{ steps: 5, power: 0 }, /power must be/],
    [{ steps: 5, sourceMask: 101 }, /sourceMask must be/],
    [{ steps: 5, maxSource: 129 }, /maxSource must be an integer from 3 to 128/],
    [{ steps: 5, maxTarget: 64 }, /maxTarget must be an integer from 3 to 63/],
    [{ steps: 5, fields: ['a'] }, /fields must be two names/],
    [{ steps: 5, cache: '' }, /cache must be/],
    [{ steps: 5, signal: 5 }, /signal must be/],
    [{ steps: 5, step: 5 }, /train\(\) has no option 'step'/],
    [{ steps: 5, rows: 16 }, /an example has \d+ ids, a step at most 16/],
  ];
  for (const [options, message] of cases) {
    const runner = new ImitatedRunner();
    const { warmup } = base;
    await t.rejects(
      async () => {
        for await (const _ of runner.train(data, { warmup, ...options } as TrainOptions));
      },
      { code: 'ERR_INVALID_ARGUMENT', message },
      JSON.stringify(options),
    );
    t.equal(runner.steps.length, 0);
  }
  const bare = new ImitatedRunner();
  bare.context.tokenizer = undefined;
  await t.rejects(train(bare, { steps: 5 }), { message: /has no sentencepiece\.bpe\.model/ });
});

t.test('a loss that is no number ends the training and says what helps', async (t) => {
  const runner = new ImitatedRunner();
  const { runStep } = runner;
  runner.runStep = async (...given) => {
    const result = await runStep.apply(runner, given);
    return given[1].step === 4 ? { ...result, loss: NaN } : result;
  };
  await t.rejects(train(runner, { steps: 9 }), { message: /step 4 has a loss of NaN.*diverged/ });
  t.equal(runner.context.state!.step, 3);
});
