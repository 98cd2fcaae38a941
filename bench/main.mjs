// npm run bench -- [NAME] [options]
//
// Runs the benchmark NAME with the options, without a name `cells`. `npm run bench -- --list` lists the names; what each takes
// is in the head comment of its file.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const files = {
  cells: 'cells.mjs',
  peers: 'peers/run.mjs',
  readings: 'peers/readings.mjs',
  job: 'job.mjs',
  table5: 'table5.mjs',
  linear: 'linear.mjs',
  operations: 'operations.mjs',
  precision: 'precision.mjs',
  answers: 'answers.mjs',
  ask: 'ask.mjs',
  concurrent: 'concurrent.mjs',
  adaptive: 'adaptive.mjs',
  options: 'options.mjs',
  metrics: 'metrics.mjs',
  training: 'training.mjs',
  trimming: 'trimming.mjs',
  'cold-start': 'cold-start.mjs',
  'choose-demo': 'choose-demo.mjs',
  'event-loop': '../test/event-loop.mjs',
  loadtest: '../test/loadtest.mjs',
  'cuda-report': '../test/simt/report.cjs',
  gpu: 'gpu/run.sh',
};

const [first = 'cells', ...rest] = process.argv.slice(2);
const named = !first.startsWith('-');
const name = named ? first : 'cells';
if (first === '--list') {
  for (const [name, file] of Object.entries(files)) console.log(`${name.padEnd(12)} bench/${file}`);
} else if (!Object.hasOwn(files, name)) {
  const names = Object.keys(files).join(', ');
  console.error(`there is no benchmark '${name}'; the names are ${names}`);
  process.exitCode = 2;
} else {
  const url = new URL(files[name], import.meta.url);
  if (name === 'gpu') {
    const { status } = spawnSync('bash', [fileURLToPath(url), ...rest], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } else {
    // As if the file had been called itself: it reads its options from process.argv.
    if (named) process.argv.splice(2, 1);
    await import(url.href);
  }
}
