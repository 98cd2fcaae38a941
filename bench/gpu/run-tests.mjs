// node run-tests.mjs [--jobs 4] [--limit SECONDS] [--first N] [--under COMMAND] PROGRAM GROUP
//
// Runs the compiled tests of a group, `ops`, `graphs`, `engine` or `api`, in PROGRAM/test, each file in a process of its own,
// at most `jobs` at a time, each killed after `limit` seconds; with `first` only the group's first N files. `under` is put before the command line of each
// (compute-sanitizer and its options). What the environment says, MASK_PREDICT_DEVICE above all, holds.
//
// Prints what failed, and appends one JSON line per file to $RESULTS: { file, passed, failed, outcome, seconds,
// failures }, with outcome `ok`, `failed`, `timed out` or the signal or exit code. Exits with 1 unless all are ok.
import { spawn } from 'node:child_process';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options, positionals } = parseArgs({
  options: {
    jobs: { type: 'string', default: '4' },
    limit: { type: 'string', default: '200' },
    first: { type: 'string' },
    under: { type: 'string', default: '' },
  },
  allowPositionals: true,
});
const [program, group] = positionals;

/** Each begins with a quick file. A file that is gone is an error. */
const groups = {
  graphs: ['spare-memory', 'cuda-graphs', 'deterministic', 'simt-generate'],
  engine: [
    'config',
    'errors',
    'disposed',
    'vocabulary',
    'checkpoint',
    'mixed-attention',
    'fixtures',
  ],
  api: ['text-errors', 'refine', 'scoring', 'generate', 'demo', 'cli'],
};

function files() {
  const folder = group === 'ops' ? 'test/ops' : 'test';
  const found = readdirSync(join(program, folder)).filter((name) => name.endsWith('.test.js'));
  const names = group === 'ops' ? found.sort() : groups[group].map((name) => `${name}.test.js`);
  const gone = names.filter((name) => !found.includes(name));
  if (gone.length > 0) throw new Error(`${folder} has no ${gone.join(', ')}`);
  return names
    .slice(0, options.first === undefined ? undefined : Number(options.first))
    .map((name) => join(folder, name));
}

// They have process groups of their own, so that what they start ends with them.
const running = new Set();
process.on('SIGTERM', () => {
  for (const child of running) process.kill(-child.pid, 'SIGKILL');
  process.exit(1);
});

function run(file) {
  const begun = performance.now();
  const [command, ...before] = [...options.under.split(' ').filter(Boolean), process.execPath];
  const child = spawn(command, [...before, file], { cwd: program, detached: true });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  running.add(child);
  let late = false;
  const timer = setTimeout(
    () => {
      late = true;
      process.kill(-child.pid, 'SIGKILL'); // its children too
    },
    Number(options.limit) * 1000,
  );
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: error.message }));
    child.on('close', (code, signal) => resolve({ code, signal }));
  }).then(({ code, signal }) => {
    clearTimeout(timer);
    running.delete(child);
    const counts = /# (\d+) passed, (\d+) failed/.exec(output);
    const failures = output.match(/^ *not ok .*$(\n *# (?!Subtest).*$)*/gm) ?? [];
    const errors =
      output.match(/^=+ .*\b(Invalid|Race|Error|leaked|hazard|SUMMARY: [1-9]).*$/gim) ?? []; // of compute-sanitizer
    const outcome = late
      ? 'timed out'
      : code === 0
        ? 'ok'
        : code === 1 && counts
          ? 'failed'
          : (signal ?? `exit code ${code}`);
    const result = {
      file,
      passed: Number(counts?.[1] ?? 0),
      failed: Number(counts?.[2] ?? 0),
      outcome,
      seconds: Math.round((performance.now() - begun) / 100) / 10,
      failures: [...failures.map((text) => text.trim()), ...errors.slice(0, 40)].slice(0, 60),
    };
    console.log(
      `${file}: ${outcome}, ${result.passed} passed, ${result.failed} failed, ${result.seconds} s`,
    );
    for (const failure of result.failures) console.log(`  ${failure.slice(0, 500)}`);
    if (outcome !== 'ok' && !counts) console.log(output.slice(-3000));
    if (process.env.RESULTS) appendFileSync(process.env.RESULTS, `${JSON.stringify(result)}\n`);
    return outcome === 'ok';
  });
}

const waiting = files();
let good = waiting.length > 0;
async function worker() {
  for (let file; (file = waiting.shift()) !== undefined;) good = (await run(file)) && good;
}
await Promise.all(Array.from({ length: Number(options.jobs) }, worker));
process.exitCode = good ? 0 : 1;
