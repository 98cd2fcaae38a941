/** A training's directory: what is in it at any time, what is the best, and that it goes on from there. */
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MaskPredict } from '../../lib/text/mask-predict.js';
import {
  newestCheckpoint,
  readRunFile,
  runOnDisk,
  type RunOptions,
} from '../../lib/training/training-run.js';
import { readLog, type LogEntry } from '../../lib/training/training-log.js';
import { ticks } from '../../lib/line-chart.js';
import { LossCurve } from '../../lib/training/loss-curve.js';
import { ImitatedRunner, instructions } from './imitated-runner.js';

const data = instructions(200);

function options(directory: string, more: Partial<RunOptions> = {}): RunOptions {
  const signal = more.signal ?? new AbortController().signal;
  return {
    directory,
    train: data,
    trainOptions: { rows: 256, warmup: 2, steps: 20, signal },
    valid: data.slice(0, 30),
    validOptions: { answers: 0, signal },
    best: 'loss',
    keepBest: 0,
    validEvery: 6,
    checkpointEvery: 5,
    savePrecision: 'fp32',
    settings: { some: 'settings' },
    onStep: () => {},
    onValidation: () => {},
    ...more,
    signal,
  };
}

async function entries(directory: string) {
  const list: LogEntry[] = [];
  for await (const entry of readLog(join(directory, 'log.jsonl'))) list.push(entry);
  return list;
}

const weightOf = (directory: string, name: string) =>
  Number(readFileSync(join(directory, name, 'weight'), 'utf8'));

t.test('best and last load, and the log and the curve tell everything', async (t) => {
  const directory = join(t.testdir(), 'deep', 'out');
  const runner = new ImitatedRunner();
  const losses = [3, 1, 2, 1.5];
  let validations = 0;
  runner.validationLoss = () => losses[validations]!;
  const seen: [number, boolean][] = [];
  let weightAtBest = 0;
  await runOnDisk(
    runner,
    options(directory, {
      onValidation: (_, step, isBest) => {
        seen.push([step, isBest]);
        if (step === 12) weightAtBest = runner.weight;
        validations++;
      },
    }),
  );
  t.same(
    seen,
    [
      [6, true],
      [12, true],
      [18, false],
      [20, false],
    ],
    'and at the end',
  );
  t.equal(weightOf(directory, 'best'), weightAtBest);
  t.equal(weightOf(directory, 'last'), runner.weight);
  t.same(readdirSync(directory).sort(), [
    'best',
    'checkpoints',
    'last',
    'log.jsonl',
    'loss.svg',
    'run.json',
  ]);
  t.same(readdirSync(join(directory, 'checkpoints')), ['step-000000020'], 'the newest alone');
  const { settings, best } = (await readRunFile(directory))!;
  t.same(settings, { some: 'settings' });
  t.equal(best!.step, 12);
  for (const name of ['best', 'last']) {
    const model = await MaskPredict.load(join(directory, name));
    t.equal((await model.generate('Write the number 3 in English words.')).text, 'three');
    await model.close();
  }
  const log = await entries(directory);
  t.equal(log.length, 24);
  t.same(
    log.filter(({ validation }) => validation).map(({ step }) => step),
    [6, 12, 18, 20],
  );
  t.match(
    readFileSync(join(directory, 'loss.svg'), 'utf8'),
    /^<svg [\s\S]*<polyline[\s\S]*<\/svg>\n$/,
  );
});

t.test('the models of the best validations are kept', async (t) => {
  const directory = t.testdir();
  const runner = new ImitatedRunner();
  const losses = [3, 1, 2, 2, 5, 4];
  let validations = 0;
  runner.validationLoss = () => losses[validations]!;
  const weights = new Map<string, number>();
  const run = options(directory, {
    keepBest: 3,
    validEvery: 4,
    trainOptions: { rows: 256, warmup: 2, steps: 24 },
    onValidation: (_, step) => {
      weights.set(`step-${String(step).padStart(9, '0')}`, runner.weight);
      validations++;
    },
  });
  const kept = () => readdirSync(join(directory, 'kept')).map((name) => Number(name.slice(5)));
  await runOnDisk(runner, run);
  t.same(kept(), [8, 12, 16]);
  t.same(
    (await readRunFile(directory))!.kept!.map(({ step }) => step),
    [8, 16, 12],
    'the best first, and of equal ones the later',
  );
  for (const name of readdirSync(join(directory, 'kept')))
    t.equal(weightOf(directory, join('kept', name)), weights.get(name));

  // From the checkpoint of step 20 on: what was kept after it is validated anew.
  losses[5] = 0.5;
  validations = 5;
  const again = await ImitatedRunner.resume((await newestCheckpoint(directory))!);
  again.validationLoss = () => losses[5]!;
  await runOnDisk(again, { ...run, trainOptions: { rows: 256, warmup: 2, steps: 28 } }, 24);
  t.same(kept(), [8, 16, 28]);
});

t.test('a stop writes everything, and going on is the same training', async (t) => {
  const root = t.testdir();
  const whole = new ImitatedRunner();
  await runOnDisk(whole, options(join(root, 'whole')));

  const directory = join(root, 'stopped');
  const controller = new AbortController();
  const stopped = new ImitatedRunner();
  stopped.onStep = (step) => void (step === 9 && controller.abort(new Error('stop')));
  const { signal } = controller;
  await t.rejects(runOnDisk(stopped, options(directory, { signal })), { message: 'stop' });
  t.equal(weightOf(directory, 'last'), stopped.weight);
  t.equal((await newestCheckpoint(directory))!.slice(-14), 'step-000000008');
  t.ok(existsSync(join(directory, 'best', 'model.safetensors')));

  const again = await ImitatedRunner.resume((await newestCheckpoint(directory))!);
  await runOnDisk(again, options(directory), 8);
  t.equal(again.weight, whole.weight);
  t.equal(weightOf(directory, 'last'), weightOf(join(root, 'whole'), 'last'));
  const steps = (list: LogEntry[]) => list.map(({ step, validation }) => [step, !!validation]);
  t.same(steps(await entries(directory)), steps(await entries(join(root, 'whole'))));

  const done = await ImitatedRunner.resume((await newestCheckpoint(directory))!);
  await runOnDisk(done, options(directory), 20);
  t.same(steps(await entries(directory)), steps(await entries(join(root, 'whole'))), 'at its end');
});

t.test('after a kill it goes on from the last checkpoint, and the log too', async (t) => {
  const root = t.testdir();
  const whole = new ImitatedRunner();
  await runOnDisk(whole, options(join(root, 'whole')));
  const directory = join(root, 'killed');
  const killed = new ImitatedRunner();
  // Nothing more is written after an error that is no abort: as if the process were gone.
  killed.onStep = (step) => {
    if (step === 14) throw new Error('killed');
  };
  await t.rejects(runOnDisk(killed, options(directory)), { message: 'killed' });
  writeFileSync(join(directory, 'log.jsonl'), '{"step":14,"lo', { flag: 'a' });
  writeFileSync(join(directory, 'checkpoints', 'step-000000013.part'), '');
  const newest = (await newestCheckpoint(directory))!;
  t.match(newest, /step-000000010$/);
  const again = await ImitatedRunner.resume(newest);
  await runOnDisk(again, options(directory), 10);
  t.equal(again.weight, whole.weight);
  t.equal((await entries(directory)).length, 24);
  t.same(readdirSync(join(directory, 'checkpoints')), ['step-000000020'], 'remains are gone');
});

t.test('the best may be by exact answers or BLEU at T = 10', async (t) => {
  const directory = t.testdir();
  for (const best of ['exact', 'bleu'] as const) {
    const runner = new ImitatedRunner();
    const values = [50, 70, 60, 65];
    let validations = 0;
    runner.validate = async () => {
      const value = values[validations++]!;
      const scores = { exact: value / 100, bleu: value };
      const worst = { exact: 0, bleu: 0 };
      return {
        loss: value,
        nll: 1,
        lengthLoss: 1,
        examples: 1,
        answers: { 1: worst, 4: worst, 10: scores },
      };
    };
    await runOnDisk(runner, options(join(directory, best), { best }));
    t.match((await readRunFile(join(directory, best)))!.best, {
      step: 12,
      value: best === 'exact' ? 0.7 : 70,
    });
  }
});

t.test('without validation data there is a last model and no best one', async (t) => {
  const directory = t.testdir();
  const { valid: _, ...given } = options(directory);
  await runOnDisk(new ImitatedRunner(), given);
  t.ok(existsSync(join(directory, 'last')));
  t.notOk(existsSync(join(directory, 'best')));
});

t.test('a full disk ends the training with an error that says where', async (t) => {
  const directory = t.testdir();
  symlinkSync('/dev/full', join(directory, 'log.jsonl'));
  await t.rejects(runOnDisk(new ImitatedRunner(), options(directory)), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /the log .*log\.jsonl cannot be written: ENOSPC/,
  });
});

t.test('a curve of many steps has few points, at their means', async (t) => {
  const curve = new LossCurve();
  for (let step = 1; step <= 10_000; step++) {
    curve.add({ step, loss: 10_000 / (step + 1000) } as LogEntry);
  }
  curve.add({ step: 5000, validation: { loss: 2 } } as LogEntry);
  const svg = curve.svg();
  const [, points] = /<polyline points="([^"]*)"/.exec(svg)!;
  const count = points!.split(' ').length;
  t.ok(count > 300 && count <= 800, String(count));
  t.equal(svg.match(/<circle/g)!.length, 1);
  t.notMatch(svg, /NaN|Infinity/);
  t.notMatch(new LossCurve().svg(), /NaN|Infinity/, 'of nothing');
  const one = new LossCurve();
  one.add({ step: 1, loss: 2 } as LogEntry);
  t.notMatch(one.svg(), /NaN|Infinity/, 'of one step');
});

t.test('ticks are round and enclose the values', async (t) => {
  t.same(ticks(0, 10), [0, 5, 10]);
  t.same(ticks(0.3, 6.1), [0, 2, 4, 6, 8]);
  t.same(ticks(2, 2), [1, 2, 3]);
  const many = ticks(1.234, 1.241);
  t.ok(many[0]! <= 1.234 && many.at(-1)! >= 1.241 && many.length <= 7);
});
