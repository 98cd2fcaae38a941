// npm run bench -- [--threads 2] [--rounds 15] [--json FILE]
//
// The eight cells that matter, in a few minutes: whole jobs with random weights (source 64, target 32) in every
// precision, and an answer of the embedded model, text to text. For each the median and quartiles, how many times the
// machine's own floor that is (bench/workload.mjs), and what was resident. Each model has a process of its own.
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { MaskPredict } from '../dist/index.js';
import { Contestant } from './contestant.mjs';
import { busyTime, describeMachine, quietness, spread } from './machine.mjs';
import { mebibytes, table, withQuartiles } from './table.mjs';
import { floorOf, instructions, sourceLength, targetLength } from './workload.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '15' },
    json: { type: 'string' },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const answersPerRound = 20; // an answer takes about a millisecond

const models = [
  { model: 'xlm-r-base', precision: 'fp32', shapes: [[1, 4], [1, 10]] }, // prettier-ignore
  { model: 'xlm-r-base', precision: 'int8', shapes: [[1, 4], [1, 10], [8, 4]] }, // prettier-ignore
  { model: 'xlm-r-base', precision: 'bf16', shapes: [[1, 4]] },
  { model: 'xlm-r-large', precision: 'int8', shapes: [[1, 4]] },
];

const { text, limit } = describeMachine(threads);
console.log(`${text}\n`);
console.log(
  `random weights, source ${sourceLength}, target ${targetLength}, ${threads} threads; median and quartiles of ${rounds} rounds\n`,
);

const program = fileURLToPath(new URL('engine.mjs', import.meta.url));

let ownTime = 0; // of the processes that are measured

/** The cells of one model: `{ model, weights, batch, iterations, all, floor, resident }`, or a reason for each. */
async function measure({ model, precision, shapes }) {
  const cells = shapes.map(([batch, iterations]) => ({
    model,
    weights: precision,
    batch,
    iterations,
  }));
  let contestant;
  try {
    const args = ['--model', model, '--precision', precision, '--threads', threads];
    contestant = await Contestant.start(program, args);
  } catch (error) {
    return cells.map((cell) => ({ ...cell, reason: error.message }));
  }
  for (const cell of cells) {
    const shape = { batch: cell.batch, iterations: cell.iterations };
    await contestant.job(shape);
    cell.all = [];
    for (let round = 0; round < rounds; round++) cell.all.push((await contestant.job(shape)).ms);
    const lengths = { source: sourceLength, target: targetLength };
    const { config } = contestant.description;
    cell.floor = floorOf(config, precision, { ...shape, ...lengths }, limit);
    cell.resident = contestant.residentMemory();
  }
  ownTime += contestant.processorTime();
  await contestant.stop();
  return cells;
}

/** The cell of the embedded model, in this process. */
async function measureAnswers(iterations) {
  const model = await MaskPredict.load(undefined, { device: 'cpu', threads });
  const all = [];
  for (let call = -instructions.length; call < rounds * answersPerRound; call++) {
    const { timings } = await model.generate(instructions.at(call % instructions.length), {
      iterations,
    });
    if (call >= 0) all.push(timings.total);
  }
  const resident = process.memoryUsage().rss;
  const weights = model.engine.precision;
  await model.close();
  return { model: 'embedded, text to text', weights, batch: 1, iterations, all, resident };
}

const cells = [];
const [begun, busyBefore] = [performance.now(), busyTime()];
for (const model of models) {
  console.error(`measuring ${model.model} ${model.precision} ...`);
  cells.push(...(await measure(model)));
}
cells.push(await measureAnswers(10));
const { user, system } = process.cpuUsage();
ownTime += (user + system) / 1000;
const others =
  Math.max(0, busyTime() - busyBefore - ownTime) /
  ((performance.now() - begun) * availableParallelism());

for (const cell of cells) if (cell.all) cell.ms = spread(cell.all);
console.log(
  table(
    ['model', 'weights', 'batch', 'T', 'ms', 'floor, ms', 'times the floor', 'resident'],
    cells.map(({ model, weights, batch, iterations, ms, floor, resident }) => [
      model,
      weights,
      batch,
      iterations,
      ...(ms
        ? [
            withQuartiles(ms, ms.median < 10 ? 2 : 1),
            floor ? floor.toFixed(1) : '–',
            floor ? (ms.median / floor).toFixed(2) : '–',
            mebibytes(resident),
          ]
        : ['not available', '–', '–', '–']),
    ]),
  ),
);
const reasons = new Set(
  cells.filter(({ reason }) => reason).map(({ weights, reason }) => `${weights}: ${reason}`),
);
const notes = [...reasons, quietness(others)];
console.log(`\n${notes.map((note) => `- ${note}`).join('\n')}`);

if (options.json) {
  const settings = { threads, rounds, source: sourceLength, target: targetLength };
  const date = new Date().toISOString();
  writeFileSync(
    options.json,
    JSON.stringify({ date, machine: text, limit, settings, others, cells }, null, 1),
  );
}
