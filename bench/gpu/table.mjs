// node table.mjs RESULTS_FOLDER... > bench/results/NAME.md
//
// The stages' JSON files as Markdown tables. Of a stage that is in several folders the last one counts. What was not
// measured is shown as not measured. Fractions are of what the stage `measure` found on the same card: bandwidth of a
// copy, rate of cuBLASLt's large bf16 product.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jobTables, kernelTables } from './tables.mjs';

const stages = [
  'build', 'tests-ops', 'tests-engine', 'tests-api', 'sanitizer-memcheck', 'sanitizer-racecheck', 'measure',
  'bench-linear', 'bench-attention', 'bench-head', 'bench-remask', 'bench-jobs', 'bench-variants', 'bench-huggingface',
]; // prettier-ignore
const records = new Map();
for (const folder of process.argv.slice(2)) {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.json')) continue;
    const record = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    if (stages.includes(record.stage)) records.set(record.stage, record);
  }
}
// Times of a rehearsal are no times.
const rehearsed = (line) => (line.us === undefined ? line : { ...line, us: 'ran' });
const results = (stage) => {
  const { results = [], rehearsal } = records.get(stage) ?? {};
  return rehearsal ? results.map(rehearsed) : results;
};
const any = [...records.values()];

console.log('# On a GPU\n');
const machine = any.find((record) => record.machine.gpu)?.machine;
if (any.some((record) => record.rehearsal))
  console.log('**A rehearsal without a GPU, on tiny sizes: “ran” is what ran.**\n');
const software = results('measure').find((line) => line.op === 'software');
console.log(
  machine
    ? `${machine.gpu}, driver ${machine.driver}, nvcc ${machine.nvcc}, PyTorch ${software?.torch ?? 'not recorded'}, ` +
        `${machine.processors} × ${machine.processor}, Node.js ${machine.node}. Made by \`bench/gpu/run.sh\`.`
    : 'GPU: not measured.',
);

console.log('\n## Stages\n\n| stage | outcome | s | |\n| --- | --- | --- | --- |');
for (const stage of stages) {
  const record = records.get(stage);
  console.log(
    record
      ? `| ${stage} | ${record.outcome} | ${record.seconds} | ${detail(stage, record.results)} |`
      : `| ${stage} | not measured | | |`,
  );
}

function detail(stage, lines) {
  if (stage === 'build')
    return lines
      .map(({ built, seconds, kernels, spilling }) =>
        kernels === undefined
          ? built
          : `${built} ${seconds} s, ${kernels} kernels, ${spilling} spill`,
      )
      .join('; ');
  if (!/^(tests|sanitizer)/.test(stage)) return '';
  const sum = (key) => lines.reduce((total, line) => total + line[key], 0);
  const bad = lines
    .filter((line) => line.outcome !== 'ok')
    .map((line) => `${line.file}: ${line.outcome}`);
  return `${lines.length} files, ${sum('passed')} passed, ${sum('failed')} failed${bad.length ? `; ${bad.join(', ')}` : ''}`;
}

const measured = results('measure');
const lineOf = (who, op) =>
  measured.find((line) => line.who === who && line.op === op && line.us > 0);
const rate = (line, key) => (line ? line[key] / line.us / 1e6 : NaN); // TB/s or TFLOP/s
const limits = {
  bandwidth: Math.max(
    rate(lineOf('ours', 'copy'), 'bytes'),
    rate(lineOf('PyTorch', 'copy'), 'bytes'),
  ),
  reading: rate(lineOf('ours', 'read'), 'bytes'),
  mma: rate(lineOf('ours', 'mma.sync bf16'), 'operations'),
  matrix: rate(
    lineOf('cublaslt', 'product bf16') ?? lineOf('cublas', 'product bf16'),
    'operations',
  ),
  fp8: rate(lineOf('cublaslt', 'product fp8'), 'operations'),
};
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

kernelTables(results, limits);
jobTables(results, limits);
