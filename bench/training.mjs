// npm run bench -- training [--shape 6x256] [--vocabulary 8000] [--rows 2048] [--rounds 5] [--steps 4] [--threads 2]
//                           [--precision fp32,bf16] [--no-torch] [--python /usr/bin/python3]
//
// Training steps of this package beside PyTorch's (bench/peers/trainer.py), the same examples, order and masks, in turn, in
// each precision that is named (default fp32). `--shape base` is XLM-R base. Prints milliseconds per step (median and quartiles), rows per second, the fraction of the
// machine's arithmetic peak in that precision that the useful products take, peak memory and the ratio.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Trainer } from '../dist/index.js';
import { Contestant } from './contestant.mjs';
import { describeMachine, peakOf, spread } from './machine.mjs';
import { mebibytes, table, withQuartiles } from './table.mjs';
import { steps, usefulOperations, writeExamples } from './training-steps.mjs';

const { values: given } = parseArgs({
  options: {
    shape: { type: 'string', default: '6x256' },
    vocabulary: { type: 'string' },
    rows: { type: 'string', default: '2048' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    precision: { type: 'string', default: 'fp32' },
    'no-torch': { type: 'boolean', default: false },
    python: { type: 'string', default: '/usr/bin/python3' },
  },
});
const [rounds, stepsEach, threads, rows] = ['rounds', 'steps', 'threads', 'rows'].map((name) =>
  Number(given[name]),
);
const shape = shapeOf(given.shape, given.vocabulary);
const learningRate = 1e-4;
const dropout = 0.1;

const directory = mkdtempSync(join(tmpdir(), 'mask-predict-training-'));
try {
  await measure();
} finally {
  rmSync(directory, { recursive: true });
}

function shapeOf(name, vocabulary) {
  const [layers, hidden] = name === 'base' ? [12, 768] : name.split('x').map(Number);
  const norm = name === 'base' ? 'post' : 'pre';
  const ids = Number(vocabulary ?? (name === 'base' ? 250002 : 8000));
  return { layers, hidden, feedForward: 4 * hidden, vocabulary: ids, maxPositions: 514, norm };
}

async function measure() {
  const model = join(directory, 'model');
  const tokens = join(directory, 'data.tokens');
  await writeExamples(tokens, 20_000, shape.vocabulary);
  const trainer = await Trainer.create(shape, undefined, { learningRate });
  const { maskTokenId } = trainer;
  await trainer.save(model);
  await trainer.close();

  const { text, limit } = describeMachine(threads);
  console.log(text);
  const size = `${shape.layers} x ${shape.hidden}, ${shape.vocabulary} ids`;
  console.log(`${size}; steps of up to ${rows} rows, dropout ${dropout}, ${threads} threads\n`);

  const programs = [];
  for (const precision of given.precision.split(',')) {
    programs.push(await startOurs(model, tokens, precision));
    if (!given['no-torch']) programs.push(await startTorch(model, tokens, precision));
  }
  for (const { contestant } of programs) await contestant.job({ steps: 1 });
  const made = steps(tokens, rows, maskTokenId);
  await made.next();
  const operations = [];
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < stepsEach; i++) {
      const { value } = await made.next();
      operations.push(usefulOperations(value, shape, maskTokenId));
    }
    const order = round % 2 === 0 ? programs : [...programs].reverse();
    for (const program of order) {
      const { seconds, rows: counts, loss } = await program.contestant.job({ steps: stepsEach });
      program.seconds.push(...seconds);
      program.rows.push(...counts);
      program.loss = loss;
    }
  }
  print(programs, operations, limit);
  for (const { contestant } of programs) await contestant.stop();
}

async function startOurs(model, tokens, precision) {
  const program = fileURLToPath(new URL('training-ours.mjs', import.meta.url));
  const settings = {
    model,
    tokens,
    rows,
    threads,
    precision,
    learningRate,
    dropout,
  };
  const contestant = await Contestant.start(program, [JSON.stringify(settings)]);
  return { name: `mask-predict, ${precision}`, precision, contestant, seconds: [], rows: [] };
}

async function startTorch(model, tokens, precision) {
  const program = fileURLToPath(new URL('peers/trainer.py', import.meta.url));
  const options = `--jobs --steps 1000000 --schedule constant --warmup 0 --rows ${rows} --threads ${threads} --dropout ${dropout}`;
  const files = ['--model', model, '--tokens', tokens, '--out', join(directory, 'torch')];
  const rest = ['--precision', precision, '--learning-rate', learningRate];
  const contestant = await Contestant.start(
    program,
    [...files, ...options.split(' '), ...rest],
    given.python,
  );
  const name = `PyTorch ${contestant.description.torch}, ${precision}`;
  return { name, precision, contestant, seconds: [], rows: [] };
}

function print(programs, operations, limit) {
  const [ours] = programs;
  const lines = programs.map(({ name, precision, contestant, seconds, rows: counts, loss }) => {
    const rates = seconds.map((time, i) => operations[i] / time / 1e9);
    const ratios = seconds.map((time, i) => time / ours.seconds[i]);
    const rate = spread(rates);
    return [
      name,
      withQuartiles(spread(seconds.map((time) => time * 1000)), 0),
      Math.round(spread(counts.map((count, i) => count / seconds[i])).median),
      withQuartiles(rate, 0),
      limit ? `${Math.round((100 * rate.median) / peakOf(limit, precision))} %` : '',
      withQuartiles(spread(ratios), 2),
      mebibytes(contestant.peakMemory()),
      loss.toFixed(4),
    ];
  });
  const columns = [
    'program',
    'ms per step',
    'rows/s',
    'GFLOP/s',
    'of peak',
    'times the first',
    'peak memory',
    'loss',
  ];
  console.log(table(columns, lines));
}
