// npm run bench -- readings [--size base|large|modern-bert-large] [--tasks embed,fill] [--batch 1,16] [--length 64,256]
//                           [--precisions fp32,int8] [--threads 2] [--rounds 7] [--only onnx] [--json FILE]
//
// Texts that are read by themselves: embeddings (the mean of the final states) and one mask filled in each, by this
// package, by onnxruntime-node on graphs made for the task, and by transformers.js; interleaved as in run.mjs, a row for
// each setting. Ends with code 1 if float32 answers differ. --size tiny and modern-bert-tiny are for rehearsals.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { describeMachine, quietness } from '../machine.mjs';
import { mebibytes, table } from '../table.mjs';
import {
  checkSize,
  chosenBy,
  leftOutNote,
  peersOf,
  preparedRows,
  printNotes,
  recordOf,
  timeCells,
  withRatios,
  writeRecord,
} from './comparison.mjs';
import { measure } from './measure.mjs';
import { make, modelFolder, quantize } from './models.mjs';
import { install } from './packages.mjs';
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
checkSize(size, ['base', 'large', 'modern-bert-large', 'tiny', 'modern-bert-tiny']);
const list = (name) => options[name].split(',');
const [threads, rounds] = [options.threads, options.rounds].map(Number);
const isChosen = chosenBy(options.only);
const model = modelFolder(size);
const program = (name) => fileURLToPath(new URL(`readings/${name}.mjs`, import.meta.url));
const spinning = ['on', 'off'].map((state) => ({
  name: `spinning ${state}`,
  args: ['--threads', threads, '--spinning', state],
}));
const masksAndBands = ['masked', 'banded'].flatMap((local) =>
  spinning.map(({ name, args }) => ({
    name: `${local}, ${name}`,
    args: [...args, '--local', local],
  })),
);

/** Steps of models.mjs, and the settings of onnxruntime. */
const family = size.startsWith('modern-bert')
  ? {
      title: `ModernBERT ${size.split('-').at(-1)}`,
      checkpoint: 'modern-bert',
      readings: 'modern-bert',
      stock: 'modern-bert',
      settings: masksAndBands,
    }
  : {
      title: `XLM-R ${size}`,
      checkpoint: 'graphs',
      readings: 'readings',
      stock: 'stock',
      settings: spinning,
    };

/** Rows as measure.mjs takes them; ours first. */
function rowsOf(task, precision) {
  const int8 = precision === 'int8';
  const step = (name) => (int8 ? `int8 ${name}` : name);
  const peer = (name, title, directory, made, settings) => ({
    name: title,
    peer: name,
    precision,
    stored: precision,
    program: program(name),
    args: ['--model', directory, '--task', task, '--precision', precision],
    settings,
    prepare() {
      install(name);
      make(size, family.checkpoint);
      make(size, step(made));
    },
  });
  const { readings, stock } = family;
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
        make(size, family.checkpoint);
        if (int8) quantize(size);
      },
    },
    peer('onnxruntime', 'onnxruntime-node', model, readings, family.settings),
    task === 'embed'
      ? peer('transformers', 'transformers.js', join(model, 'features'), readings, spinning)
      : peer('transformers', 'transformers.js', join(model, 'transformers'), stock, spinning),
  ].filter((row) => !row.peer || isChosen(row));
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
  `${family.title}, random weights, ${threads} threads; median and quartiles of ${rounds} interleaved rounds\n`,
);

const measured = [];
const unavailable = new Set();
let busiest = 0;
for (const task of list('tasks')) {
  for (const precision of list('precisions')) {
    const rows = preparedRows(rowsOf(task, precision), (one) => unavailable.add(leftOutNote(one)));
    for (const batch of list('batch').map(Number)) {
      for (const length of list('length').map(Number)) {
        const shape = { task, batch, length };
        const what = `${task}, batch ${batch}, ${length} ids`;
        const { results, failed, others } = await measure(rows, shape, rounds, (step) =>
          console.error(`${what}, ${precision}: ${step}`),
        );
        busiest = Math.max(busiest, others);
        for (const one of failed) unavailable.add(leftOutNote({ ...one, what }));
        measured.push(...withRatios(results).map((result) => ({ ...result, shape })));
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
    measured.map((result) => [
      result.shape.task,
      result.shape.batch,
      result.shape.length,
      result.row.name,
      result.row.stored,
      result.setting,
      ...timeCells(result, size),
      mebibytes(result.peak),
      result.agreement === null ? '–' : result.agreement.toFixed(6),
    ]),
  ),
);
printNotes([
  ...unavailable,
  'times ours: of one round, over this package at the same precision',
  'as our fp32: the least cosine to the embeddings of this package in float32, or the share of masks with its best id',
  ...peersOf(measured).notes,
  quietness(busiest),
]);

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
  const rows = measured.map(recordOf);
  writeRecord(options.json, { machine: text, size, threads, rows, others: busiest });
}
if (differing.length > 0) process.exitCode = 1;
