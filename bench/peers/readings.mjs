// npm run bench -- readings [--size base|large] [--tasks embed,fill] [--batch 1,16] [--length 64,256]
//                           [--precisions fp32,int8] [--threads 2] [--rounds 7] [--only onnx] [--json FILE]
//
// Texts that are read by themselves: embeddings (the mean of the final states) and one <mask> filled in each, by this
// package, by onnxruntime-node on graphs made for the task, and by transformers.js; interleaved as in run.mjs, a row for
// each setting. Ends with code 1 if float32 answers differ. --size tiny is for rehearsals.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { describeMachine, quietness, spread } from '../machine.mjs';
import { mebibytes, table, withQuartiles } from '../table.mjs';
import { measure } from './measure.mjs';
import { make, modelFolder, quantize } from './models.mjs';
import { install, versionOf } from './packages.mjs';
import { titleOf } from './rows.mjs';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: 'base' },
    tasks: { type: 'string', default: 'embed,fill' },
    batch: { type: 'string', default: '1,16' },
    length: { type: 'string', default: '64,256' },
    precisions: { type: 'string', default: 'fp32,int8' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
const { size } = options;
if (!['base', 'large', 'tiny'].includes(size)) throw new Error(`--size ${size}: base or large`);
const list = (name) => options[name].split(',');
const [threads, rounds] = [options.threads, options.rounds].map(Number);
const words = options.only?.split(',') ?? [''];
const model = modelFolder(size);
const program = (name) => fileURLToPath(new URL(`readings/${name}.mjs`, import.meta.url));
const spinning = ['on', 'off'].map((state) => ({
  name: `spinning ${state}`,
  args: ['--threads', threads, '--spinning', state],
}));

/** Rows as measure.mjs takes them; ours first. */
function rowsOf(task, precision) {
  const int8 = precision === 'int8';
  const peer = (name, title, directory, steps) => ({
    name: title,
    peer: name,
    precision,
    stored: precision,
    program: program(name),
    args: ['--model', directory, '--task', task, '--precision', precision],
    settings: spinning,
    prepare() {
      install(name);
      for (const step of steps) make(size, step);
    },
  });
  const readings = int8 ? ['int8 readings'] : ['readings'];
  const stock = int8 ? ['int8 stock'] : ['stock'];
  return [
    {
      name: 'mask-predict',
      peer: null,
      precision,
      stored: precision,
      program: program('ours'),
      args: ['--model', int8 ? join(model, 'mask-predict-int8') : model, '--precision', precision],
      settings: [{ name: `${threads} threads`, args: ['--threads', threads] }],
      prepare() {
        make(size, 'graphs');
        if (int8) quantize(size);
      },
    },
    peer('onnxruntime', 'onnxruntime-node', model, ['graphs', ...readings]),
    task === 'embed'
      ? peer('transformers', 'transformers.js', join(model, 'features'), readings)
      : peer('transformers', 'transformers.js', join(model, 'transformers'), stock),
  ].filter((row) => !row.peer || words.some((word) => titleOf(row).includes(word)));
}

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** How near the answers are: the least cosine of two embeddings, or the share of masks with the same best id. */
function agreement(task, expected, actual) {
  if (task === 'embed') return Math.min(...expected.map((vector, i) => cosine(vector, actual[i])));
  return expected.filter(([id], i) => id === actual[i][0]).length / expected.length;
}

const { text } = describeMachine(threads);
console.log(`${text}\n`);
console.log(
  `XLM-R ${size}, random weights, ${threads} threads; median and quartiles of ${rounds} interleaved rounds\n`,
);

const measured = [];
const unavailable = new Set();
let busiest = 0;
for (const task of list('tasks')) {
  for (const precision of list('precisions')) {
    const rows = rowsOf(task, precision).filter((row) => {
      try {
        row.prepare();
        return true;
      } catch (error) {
        unavailable.add(`${titleOf(row)}: not available: ${error.message}`);
        return false;
      }
    });
    for (const batch of list('batch').map(Number)) {
      for (const length of list('length').map(Number)) {
        const shape = { task, batch, length };
        const what = `${task}, batch ${batch}, ${length} ids`;
        const { results, failed, others } = await measure(rows, shape, rounds, (step) =>
          console.error(`${what}, ${precision}: ${step}`),
        );
        busiest = Math.max(busiest, others);
        for (const { row, reason } of failed)
          unavailable.add(`${titleOf(row)} (${what}): not available: ${reason}`);
        const ours = results.find(({ row }) => !row.peer);
        for (const { row, ms, setting, peak, tokens } of results) {
          const ratios = ours && ms.map((one, round) => one / ours.ms[round]);
          measured.push({ shape, row, ms, setting, peak, tokens, ratio: ratios && spread(ratios) });
        }
      }
    }
  }
}

const same = (a, b) => JSON.stringify(a.shape) === JSON.stringify(b.shape);
const truthOf = (one) =>
  measured.find((other) => same(one, other) && !other.row.peer && other.row.precision === 'fp32');
for (const one of measured) {
  const truth = truthOf(one);
  one.agreement = truth ? agreement(one.shape.task, truth.tokens, one.tokens) : null;
}

console.log(
  table(
    [
      'task',
      'batch',
      'ids',
      'program',
      'weights',
      'setting',
      'ms',
      'times ours',
      'peak memory',
      'as our fp32',
    ],
    measured.map(({ shape, row, setting, ms, ratio, peak, agreement }) => [
      shape.task,
      shape.batch,
      shape.length,
      row.name,
      row.stored,
      setting,
      withQuartiles(spread(ms), size === 'tiny' ? 2 : 0),
      !ratio ? '–' : row.peer ? withQuartiles(ratio, 2) : '1',
      mebibytes(peak),
      agreement === null ? '–' : agreement.toFixed(6),
    ]),
  ),
);
const peers = ['onnxruntime', 'transformers'].filter((peer) =>
  measured.some(({ row }) => row.peer === peer),
);
const notes = [
  ...unavailable,
  'times ours: of one round, over this package at the same precision',
  'as our fp32: the least cosine to the embeddings of this package in float32, or the share of masks with its best id',
  ...(peers.length > 0 ? [`peers: ${peers.map(versionOf).join(', ')}`] : []),
  quietness(busiest),
];
console.log(`\n${notes.map((note) => `- ${note}`).join('\n')}`);

// Float32 programs add up in other orders: a cosine differs from 1 by rounding alone.
const differing = measured.filter(
  ({ row, shape, agreement }) =>
    row.precision === 'fp32' &&
    agreement !== null &&
    agreement < (shape.task === 'embed' ? 0.99999 : 1),
);
for (const { row, shape, agreement } of differing)
  console.log(`\nNOT EQUAL: ${titleOf(row)}, ${JSON.stringify(shape)}: ${agreement}`);
if (options.json) {
  const rows = measured.map(({ row, tokens: _, ms, ...rest }) => ({
    program: row.name,
    weights: row.stored,
    ms,
    spread: spread(ms),
    ...rest,
  }));
  const record = { date: new Date().toISOString(), machine: text, size, threads, rows };
  writeFileSync(options.json, JSON.stringify({ ...record, others: busiest }, null, 1));
}
if (differing.length > 0) process.exitCode = 1;
