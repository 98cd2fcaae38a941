// npm run bench -- table5 [--budget 2h] [--model xlm-r-base, or translate: its sizes] [--precision fp32] [--threads 2] [--source 64]
//                         [--iterations 4,10] [--lengths 8,16,32,64,128,256] [--batches 1,2,4,8,16,32,64]
//                         [--rounds 3] [--results FILE] [--json]
//
// The paper's Table 5 as a computation: tokens per second of Mask-Predict with T iterations, of a decoder-only and of
// an encoder-decoder model of the same size, all with random weights on this package's kernels, for each output length
// and batch. In every cell the models take turns, `rounds` times after an unrecorded one where a turn is short. The
// cells that say most come first: the middle length at batch 1, then that batch and that length, then the rest, small
// ones before large ones. What does not fit into the budget (90s, 30m, 2h) is left out and shown as not measured; every
// round goes to FILE (build/bench/table5/...json), which a later run adds to. Prints all cells, the ratio to each
// opponent beside the one between the floors (bench/table5/floors.mjs), the batches where Mask-Predict stops winning,
// and where the two charts are.
import { createRequire } from 'node:module';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { autoregressiveProgram } from './autoregressive/build.mjs';
import { describeMachine } from './machine.mjs';
import { lineChart } from '../dist/line-chart.js';
import { startContestants } from './table5/contestants.mjs';
import { digestOf, Record } from './table5/record.mjs';
import { cellResult, crossover, ratio } from './table5/results.mjs';
import { asText } from './table5/text.mjs';

const started = performance.now();
const { values: options } = parseArgs({
  options: {
    budget: { type: 'string', default: '2h' },
    model: { type: 'string', default: 'xlm-r-base' },
    precision: { type: 'string', default: 'fp32' },
    threads: { type: 'string', default: '2' },
    source: { type: 'string', default: '64' },
    iterations: { type: 'string', default: '4,10' },
    lengths: { type: 'string', default: '8,16,32,64,128,256' },
    batches: { type: 'string', default: '1,2,4,8,16,32,64' },
    rounds: { type: 'string', default: '3' },
    results: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { model, precision } = options;
const [threads, source, rounds] = [options.threads, options.source, options.rounds].map(Number);
const numbers = (list) =>
  list
    .split(',')
    .map(Number)
    .sort((a, b) => a - b);
const [iterations, lengths, batches] = [options.iterations, options.lengths, options.batches].map(
  numbers,
);
const longestWarmUp = 10_000; // ms: a longer turn is not repeated for the sake of warm caches

const budget = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(options.budget);
if (!budget) throw new Error(`--budget is a number with s, m or h, not '${options.budget}'`);
const milliseconds = Number(budget[1]) * { s: 1e3, m: 6e4, h: 3.6e6 }[budget[2]];
const left = () => milliseconds - (performance.now() - started);
const say = (line) => process.stderr.write(`${line}\n`);

// Longer texts for fewer people first: how the two ratios depend on one of them at a time.
const middle = lengths.includes(32) ? 32 : lengths[Math.floor(lengths.length / 2)];
const telling = ({ length, batch }) => (length === middle ? 0 : 1) + (batch === batches[0] ? 0 : 1);
const cells = lengths
  .flatMap((length) => batches.map((batch) => ({ length, batch })))
  .sort((a, b) => telling(a) - telling(b) || a.length * a.batch - b.length * b.batch);

const addon = createRequire(import.meta.url)('node-gyp-build').resolve(
  fileURLToPath(new URL('..', import.meta.url)),
);
const file =
  options.results ??
  fileURLToPath(
    new URL(
      `../build/bench/table5/${model}-${precision}-source${source}-threads${threads}.json`,
      import.meta.url,
    ),
  );
const { text, limit } = describeMachine(threads);
const program = autoregressiveProgram();
const record = new Record(file, {
  machine: text.split(';')[0],
  build: digestOf([addon, program]),
  ...{ model, precision, threads, source, iterations },
});
const limits = record.limits(limit);
const { contestants, close } = await startContestants(program, {
  ...{ model, precision, threads, source, iterations, limits },
});
const names = contestants.map(({ name }) => name);
say(`models made, ${Math.round(left() / 1000)} s left`);

/** Every contestant's turn in one cell: what each `run` gave, by name. */
async function turn(cell) {
  const times = {};
  for (const { name, run } of contestants) times[name] = await run(cell);
  return times;
}
const total = (times) => Object.values(times).reduce((sum, { ms }) => sum + ms, 0);

for (const cell of cells) {
  // Before anything is measured: the floors, and as much again for what is above them.
  let expected = limits ? 2 * contestants.reduce((sum, { floor }) => sum + floor(cell), 0) : 0;
  const last = record.rounds(cell).at(-1);
  if (last) expected = total(last);
  let warm = false;
  while (record.rounds(cell).length < rounds && expected < left()) {
    const times = await turn(cell);
    expected = total(times);
    if (warm || expected > longestWarmUp) {
      record.add(cell, times);
      const rates = names.map((name) =>
        ((1000 * cell.length * cell.batch) / times[name].ms).toFixed(1),
      );
      say(
        `${cell.length} tokens, batch ${cell.batch}: ${rates.join(', ')} tokens/s; ${Math.round(left() / 1000)} s left`,
      );
    }
    warm = true;
  }
}
await close();

const results = cells
  .map((cell) => cellResult(cell, record.rounds(cell), contestants))
  .sort((a, b) => a.length - b.length || a.batch - b.batch);
const isOurs = (name) => name.startsWith('Mask-Predict');
const ours = names.filter(isOurs);
const opponents = names.filter((name) => !isOurs(name));

/** Powers of two that enclose all values. */
function powersAround(values) {
  const low = Math.floor(Math.log2(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log2(Math.max(...values))));
  return Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));
}

/** Each model relative to the decoder-only one, measured and from the floors, along one axis of the grid. */
function chart(path, { title, xLabel, ticks, along, of }) {
  const others = names.filter((name) => name !== 'decoder-only');
  const lines = others.flatMap((name) => {
    const points = (value) =>
      results
        .filter((cell) => of(cell) && cell.models)
        .map((cell) => [cell[along], ratio(cell, name, 'decoder-only')[value]])
        .filter(([, y]) => y > 0);
    return [
      { name, dashed: true, points: points('expected') },
      { name, points: points('measured') },
    ];
  });
  const subtitle = `${model}, ${precision}, source ${source}, ${threads} threads; dashed: what the machine's limits say`;
  const yLabel = 'times as fast as decoder-only';
  mkdirSync(dirname(path), { recursive: true });
  const at = (value) => ({ at: value, text: String(value) });
  const ratios = powersAround([1, ...lines.flatMap(({ points }) => points.map(([, y]) => y))]);
  const times = (value) => (value >= 1 ? `${value}×` : `1/${1 / value}×`);
  const y = {
    label: yLabel,
    scale: 'log2',
    ticks: ratios.map((value) => ({ at: value, text: times(value), strong: value === 1 })),
  };
  const x = { label: xLabel, scale: 'log2', ticks: ticks.map(at) };
  writeFileSync(path, lineChart({ title, subtitle, x, y, lines }));
}
const stem = file.replace(/\.json$/, '');
const charts = [`${stem}-by-length.svg`, `${stem}-by-batch.svg`];
chart(charts[0], {
  title: `Speed-up against output length, batch ${batches[0]}`,
  xLabel: 'tokens written',
  ticks: lengths,
  along: 'length',
  of: ({ batch }) => batch === batches[0],
});
chart(charts[1], {
  title: `Speed-up against batch, ${middle} tokens`,
  xLabel: 'batch',
  ticks: batches,
  along: 'batch',
  of: ({ length }) => length === middle,
});

if (options.json) {
  const crossovers = lengths.flatMap((length) =>
    ours.flatMap((name) =>
      opponents.map((opponent) => ({
        ...{ length, name, opponent },
        ...crossover(
          results.filter((cell) => cell.length === length),
          name,
          opponent,
        ),
      })),
    ),
  );
  const parameters = Object.fromEntries(contestants.map((one) => [one.name, one.parameters]));
  const setting = { machine: text, limits, model, precision, threads, source, parameters };
  console.log(JSON.stringify({ ...setting, cells: results, crossovers, charts }));
} else {
  console.log(text);
  console.log(`${model}, ${precision}, source ${source}, ${threads} threads`);
  for (const { name, parameters } of contestants)
    console.log(`  ${name}: ${(parameters / 1e6).toFixed(1)} million parameters`);
  console.log(`\n${asText(results, { lengths, batches, ours, opponents })}`);
  const missing = results.filter(({ rounds: done }) => done < rounds);
  if (missing.length > 0) {
    const list = missing.map((cell) => `${cell.length}×${cell.batch} (${cell.rounds})`).join(', ');
    console.log(`\nfewer than ${rounds} rounds, tokens×batch (rounds): ${list}`);
  }
  console.log(`\n${file}\n${charts.join('\n')}`);
}
