/**
 * The trainer beside an independent one: bench/peers/trainer.py in PyTorch, with the same examples in the same order and
 * the same masks. Twenty steps without dropout agree to 1e-4, in one process and in two (DDP with gloo), in bfloat16 as
 * far as that goes, and what it saves loads here. Skipped where python3 has no torch.
 */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { run } from '../../lib/cli/run.js';
import { Engine, Trainer, type TrainingStep } from '../../lib/index.js';
import { native } from '../../lib/token/native.js';
import { instructions, jsonLines, tokenizerFile } from './imitated-runner.js';

const peer = fileURLToPath(new URL('../../bench/peers/trainer.py', import.meta.url));
const python = ['/usr/bin/python3', 'python3'].find(
  (name) => spawnSync(name, ['-c', 'import torch']).status === 0,
);
const skip = python === undefined ? 'python3 has no torch' : false;
const steps = 20;
const given =
  '--steps 20 --rows 256 --warmup 5 --learning-rate 7e-4 --dropout 0 --seed 5 --threads 1';

type Figures = Omit<TrainingStep, 'progress'>;

/** Our twenty steps, with the directory they began with and the ids they read. */
async function ours(t: Test, norm: 'pre' | 'post', precision: 'fp32' | 'bf16' = 'fp32') {
  const directory = t.testdir();
  const path = (name: string) => join(directory, name);
  writeFileSync(path('data.jsonl'), jsonLines(instructions(120)));
  const shape = { layers: 2, hidden: 64, norm, maxPositions: 66, lengths: 32 } as const;
  const options = { dropout: 0, seed: 5, learningRate: 7e-4, threads: 1, precision };
  const trainer = await Trainer.create(shape, tokenizerFile, options);
  t.teardown(() => trainer.close());
  await trainer.save(path('begun'));
  const figures: TrainingStep[] = [];
  const loop = { rows: 256, steps, warmup: 5, cache: path('cache') };
  for await (const step of trainer.train(path('data.jsonl'), loop)) figures.push(step);
  const stdout = new PassThrough();
  const code = await run(
    `tokens ${path('data.jsonl')} --tokenizer ${tokenizerFile} --out ${path('data.tokens')}`.split(
      ' ',
    ),
    {
      stdin: new PassThrough(),
      stdout,
      stderr: new PassThrough(),
      environment: {},
      signal: new AbortController().signal,
    },
  );
  t.equal(code, 0);
  t.match(String(stdout.read()), /data\.tokens: 120 examples\n$/);
  return { path, figures };
}

async function theirs(
  path: (name: string) => string,
  launcher: string[],
  out: string,
  more: string[] = [],
) {
  const files = ['--model', path('begun'), '--tokens', path('data.tokens'), '--out', path(out)];
  const log = path(`${out}.log`);
  await promisify(execFile)(
    python!,
    [...launcher, peer, ...files, '--log', log, ...given.split(' '), ...more],
    {
      env: { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' },
      timeout: 100_000,
    },
  );
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Figures);
}

/** `share`: of a loss that it may differ by; without it 1e-4. */
function agree(t: Test, figures: Figures[], others: Figures[], share?: number) {
  t.equal(others.length, steps);
  for (const [index, step] of figures.entries()) {
    const other = others[index]!;
    t.match(other, { step: step.step, epoch: step.epoch, rows: step.rows });
    t.ok(Math.abs(other.learningRate - step.learningRate) < 1e-15);
    for (const name of ['loss', 'nll', 'lengthLoss'] as const) {
      const difference = Math.abs(other[name] - step[name]);
      const allowed = share === undefined ? 1e-4 : share * step[name];
      t.ok(difference < allowed, `step ${step.step}: ${name} differs by ${difference}`);
    }
  }
}

for (const norm of ['pre', 'post'] as const) {
  t.test(`PyTorch takes the same steps, norms ${norm}`, { skip }, async (t) => {
    const { path, figures } = await ours(t, norm);
    agree(t, figures, await theirs(path, [], 'alone'));
    const engine = await Engine.load(path('alone'));
    t.teardown(() => engine.close());
    t.equal(engine.config.lengths, 32);
    if (norm === 'post') return;
    const two = '-m torch.distributed.run --standalone --nproc_per_node 2 -r 1 -t 1'.split(' ');
    agree(t, figures, await theirs(path, two, 'two'));
  });
}

// Each rounds where it has products: a bfloat16 has 8 bits, and both losses stay within one or two of its steps.
const noProducts = !native.instructionSets().includes('avx512bf16') && 'no AVX512-BF16 here';
t.test(
  'PyTorch’s autocast to bfloat16 goes the same way',
  { skip: skip || noProducts },
  async (t) => {
    const { path, figures } = await ours(t, 'pre', 'bf16');
    agree(t, figures, await theirs(path, [], 'bf16', ['--precision', 'bf16']), 2 ** -7);
  },
);
