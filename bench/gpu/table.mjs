// node table.mjs RUN_FOLDER... > bench/results/NAME.md
//
// The runs' run.json as Markdown tables. Of a stage that is in several runs the last one counts. What was not measured is shown
// as not measured. Fractions are of what the stage `measure` of the same run found: bandwidth of a copy, rate of cuBLASLt's
// large bf16 product. A rehearsal is refused: it measured nothing; --rehearsal prints its tables all the same.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jobTables, kernelTables, thresholdTables } from './tables.mjs';

const stages = readFileSync(new URL('stages.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => /^\w/.test(line))
  .map((line) => line.split(' ')[0]);

const rate = (line, key) => (line ? line[key] / line.us / 1e6 : NaN); // TB/s or TFLOP/s

/** The card's peaks and bandwidth, measured in the same run. NaN: the run did not measure it. */
function ceilings({ stages }) {
  const lines = stages.findLast(({ stage }) => stage === 'measure')?.results ?? [];
  const of = (who, op) => lines.find((line) => line.who === who && line.op === op && line.us > 0);
  const copies = ['ours', 'PyTorch'].map((who) => rate(of(who, 'copy'), 'bytes'));
  const product = of('cublaslt', 'product bf16') ?? of('cublas', 'product bf16');
  return {
    bandwidth: copies.reduce((a, b) => (a >= b || Number.isNaN(b) ? a : b)),
    reading: rate(of('ours', 'read'), 'bytes'),
    mma: rate(of('ours', 'mma.sync bf16'), 'operations'),
    matrix: rate(product, 'operations'),
    fp8: rate(of('cublaslt', 'product fp8'), 'operations'),
  };
}

/** A run; the stage in which it was killed has left its lines in a file of its own. */
function read(folder) {
  const run = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'));
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.jsonl'))) {
    const lines = readFileSync(join(folder, name), 'utf8').split('\n');
    const results = lines.flatMap((line) => (/^\{.*\}$/.test(line) ? [JSON.parse(line)] : []));
    run.stages.push({ stage: name.replace('.jsonl', ''), outcome: 'killed', seconds: '', results });
  }
  return run;
}

const words = process.argv.slice(2);
const folders = words.filter((word) => word !== '--rehearsal');
const missing = folders.filter((folder) => !existsSync(join(folder, 'run.json')));
if (folders.length === 0 || missing.length > 0) {
  console.error(`table.mjs RUN_FOLDER...; ${missing.join(', ') || 'no folder'}: no run.json`);
  process.exit(2);
}
const runs = folders.map(read);
const rehearsal = runs.some((run) => run.rehearsal);
if (rehearsal && !words.includes('--rehearsal')) {
  console.error('a rehearsal measured nothing, so there are no tables of it');
  process.exit(2);
}

const records = new Map();
for (const run of runs) {
  const limits = ceilings(run);
  for (const record of run.stages) {
    const results = record.results.map((line) => ({ ...line, limits }));
    if (record.outcome !== 'not run') records.set(record.stage, { ...record, results });
  }
}
/** The lines of a stage, each with the ceilings of its run. */
const results = (stage) => records.get(stage)?.results ?? [];

console.log('# On a GPU\n');
if (rehearsal) console.log('**A rehearsal without a GPU, on tiny sizes: “ran” is what ran.**\n');
for (const { date, command, machine } of runs) {
  const { gpu, driver, toolkit, memory, power, clock, processors, processor, node, commit } =
    machine;
  const card = gpu ? `${gpu} (${memory}, ${power}, ${clock})` : 'No GPU';
  console.log(
    `- \`${command}\`, ${date.slice(0, 16).replace('T', ' ')} UTC: ${card}, driver ${driver ?? 'none'}, CUDA ${toolkit}, ` +
      `${processors} × ${processor}, Node.js ${node}, commit ${commit?.slice(0, 12) ?? 'unknown'}.`,
  );
}
const software = results('measure').find((line) => line.op === 'software');
console.log(`\nPyTorch ${software?.torch ?? 'not recorded'}.`);

console.log('\n## Stages\n\n| stage | outcome | s | |\n| --- | --- | --- | --- |');
for (const stage of stages) {
  const record = records.get(stage);
  console.log(
    record
      ? `| ${stage} | ${record.outcome} | ${record.seconds ?? ''} | ${detail(stage, record.results)} |`
      : `| ${stage} | not measured | | |`,
  );
}

function detail(stage, lines) {
  if (stage === 'build')
    return lines
      .filter((line) => line.built)
      .map(({ built, seconds, kernels, spilling }) =>
        kernels === undefined
          ? built
          : `${built} ${seconds} s, ${kernels} kernels, ${spilling} spill`,
      )
      .join('; ');
  const skipped = lines.flatMap((line) => (line.skipped ? [`skipped: ${line.skipped}`] : []));
  if (!/^(tests|sanitizer)/.test(stage)) return skipped.join('; ');
  const files = lines.filter((line) => line.file);
  const sum = (key) => files.reduce((total, line) => total + line[key], 0);
  const bad = files
    .filter((line) => line.outcome !== 'ok')
    .map((line) => `${line.file}: ${line.outcome}`);
  return `${files.length} files, ${sum('passed')} passed, ${sum('failed')} failed${bad.length ? `; ${bad.join(', ')}` : ''}`;
}

const measured = results('measure');
const limits = measured[0]?.limits ?? ceilings({ stages: [] });
const number = (value, digits = 1, unit = '') =>
  Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : 'not measured';

console.log('\n## What the card can do\n\n| | |\n| --- | --- |');
console.log(`| copy, read and written | ${number(limits.bandwidth, 2, ' TB/s')} |`);
console.log(`| read | ${number(limits.reading, 2, ' TB/s')} |`);
console.log(`| mma.sync bf16, from registers | ${number(limits.mma, 0, ' TFLOP/s')} |`);
console.log(`| cuBLASLt bf16, 8192³, random values | ${number(limits.matrix, 0, ' TFLOP/s')} |`);
console.log(`| cuBLASLt fp8, 8192³, random values | ${number(limits.fp8, 0, ' TFLOP/s')} |`);
for (const op of ['launch', 'launch, dependent']) {
  const gaps = measured.filter((line) => line.op === op && line.us > 0);
  const text = gaps.map((line) => `${line.us.toFixed(2)} µs (${line.blocks} blocks)`).join(', ');
  console.log(`| an empty kernel in a graph${op.slice(6)} | ${text || 'not measured'} |`);
}

kernelTables(results);
jobTables(results);
thresholdTables(results);
