// npm run bench -- peers [--size base|large] [--batch 1] [--iterations 4] [--threads 2] [--rounds 7]
//                        [--only expert,llama] [--json FILE]
//
// This package beside what its users would pick today: one job (source 64, target 32; see bench/workload.mjs) by every
// program that does it, interleaved, in one table. Peers are installed and models exported under build/peers, once;
// what cannot be had is named and left out. Ends with code 1 if float32 tokens differ, with code 2 if the machine's
// onnxruntime is slower than it should be. --only keeps rows whose title contains one of the words, and ours; --size
// tiny is for rehearsals.
import { parseArgs } from 'node:util';
import { describeMachine, limits, quietness, spread } from '../machine.mjs';
import { mebibytes, table } from '../table.mjs';
import { sourceLength, targetLength } from '../workload.mjs';
import { expertSpeed, fingerprint, sameTokens } from './checks.mjs';
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
import { rowsOf, setsOf, titleOf } from './rows.mjs';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: 'base' },
    batch: { type: 'string', default: '1' },
    iterations: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
const { size } = options;
checkSize(size, ['base', 'large', 'tiny']);
const [batch, iterations, threads, rounds] = [
  options.batch,
  options.iterations,
  options.threads,
  options.rounds,
].map(Number);
const setting = { size, batch, iterations, threads };
const all = rowsOf(size, threads);
const memoryShare = 0.9; // of what is available, for one set of programs

const chosen = all.filter(chosenBy(options.only));
const wanted = all.filter(
  (row) =>
    chosen.includes(row) || (!row.peer && chosen.some((one) => one.precision === row.precision)),
);

const unavailable = [];
const rows = preparedRows(wanted, (one) => unavailable.push(one));

const { text, limit } = describeMachine(threads);
console.log(`${text}\n`);
console.log(
  `XLM-R ${size}, random weights, source ${sourceLength}, target ${targetLength}, batch ${batch}, T = ${iterations}, ` +
    `${threads} threads; median and quartiles of ${rounds} interleaved rounds\n`,
);

const measured = [];
let busiest = 0;
const sets = setsOf(rows, size, batch, memoryShare * process.availableMemory());
for (const [index, set] of sets.entries()) {
  const { results, failed, others } = await measure(set, { batch, iterations }, rounds, (step) =>
    console.error(`set ${index + 1} of ${sets.length}: ${step}`),
  );
  unavailable.push(...failed);
  busiest = Math.max(busiest, others);
  measured.push(...withRatios(results).map((result) => ({ ...result, set: index + 1 })));
}
const limitAfter = limits(threads);
const peak = limit && Math.max(limit.gflops, limitAfter.gflops);

const find = (name, precision) =>
  measured.find(({ row }) => row.name === name && row.precision === precision);
const truth = find('mask-predict', 'fp32')?.tokens;

function tokensCell({ row, tokens }) {
  if (tokens.length === 0) return 'none: see below';
  const print = fingerprint(tokens);
  if (!truth || row.peer === 'llama') return print;
  const same = sameTokens(truth, tokens);
  return same === 1 ? `${print}, those of fp32` : `${print}, ${(100 * same).toFixed(1)} % as fp32`;
}

console.log(
  table(
    ['program', 'weights', 'setting', 'ms', 'times ours', 'peak memory', 'tokens'],
    measured.map((result) => [
      result.row.name + (sets.length > 1 ? ` (set ${result.set})` : ''),
      result.row.stored,
      result.setting,
      ...timeCells(result, size),
      mebibytes(result.peak),
      tokensCell(result),
    ]),
  ),
);

const { peers, notes: versions } = peersOf(measured);
const notes = unavailable.map(leftOutNote);
notes.push(
  'times ours: of one round, over this package at the same precision; peak memory: VmHWM of the process, mapped files included',
);
notes.push(...versions);
if (peers.includes('transformers'))
  notes.push(
    'transformers.js: T forward passes of the stock model over source and target, logits unread. It cannot express the ' +
      'mixed mask: a cost, not a decoder',
  );
if (peers.includes('llama'))
  notes.push(
    'node-llama-cpp: a decoder of the same parameter count, its own random weights: other tokens',
  );
const spinning = measured.filter(({ idle }) => idle > 0.02);
notes.push(
  ...spinning.map(
    ({ row, idle }) =>
      `${titleOf(row)} used ${(100 * idle).toFixed(0)} % of a processor while it waited`,
  ),
);
notes.push(quietness(busiest));
printNotes(notes);

const exact = [
  find('mask-predict', 'fp32'),
  find('onnxruntime-node, plain', 'fp32'),
  find('onnxruntime-node, expert', 'fp32'),
].filter(Boolean);
const differing = exact.filter(({ tokens }) => sameTokens(exact[0].tokens, tokens) < 1);
if (exact.length > 1)
  console.log(
    differing.length === 0
      ? `- equal results: the ${exact.length} float32 rows of Mask-Predict wrote the same tokens from the same weights`
      : `\nNOT EQUAL: ${differing.map(({ row }) => titleOf(row)).join(' and ')} wrote other tokens than ${titleOf(exact[0].row)}`,
  );
const expert = find('onnxruntime-node, expert', 'fp32');
const speed = expert && expertSpeed(setting, spread(expert.ms).median, peak);
if (speed) console.log(`- ${speed.text}`);

if (options.json) {
  writeRecord(options.json, {
    machine: text,
    limits: { before: limit, after: limitAfter },
    setting,
    rows: measured.map((result) => ({
      ...recordOf(result),
      tokens: result.tokens.length > 0 ? fingerprint(result.tokens) : null,
    })),
    unavailable: unavailable.map(({ row, reason }) => ({ row: titleOf(row), reason })),
    others: busiest,
    equal: exact.length > 1 ? differing.length === 0 : null,
    expert: speed ?? null,
  });
}
if (differing.length > 0) process.exitCode = 1;
else if (speed && !speed.holds) process.exitCode = 2;
