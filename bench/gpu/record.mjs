// node record.mjs begin | end EXIT_CODE SECONDS | not-run | summary
//
// Keeps $OUT/run.json: { date, command, rehearsal, machine, stages: [{ stage, outcome, seconds, results }] }, outcome 'ok',
// 'failed', 'timed out' or 'not run'. `end` moves the lines of $RESULTS there, the JSON objects that the stage has
// appended so far. The file is replaced as a whole, so that a run that is killed leaves the stages before.
//
// A rehearsal measures nothing: of its numbers only those stay that say which case a line is of.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

const { OUT, STAGE, RESULTS, DEVICE, COMMAND, ROOT, BUNDLE, WORK } = process.env;
const file = join(OUT, 'run.json');
const rehearsal = DEVICE !== 'cuda';
const [action, code, seconds] = process.argv.slice(2);

/** Fields that name a case. */
const names = new Set(
  (
    'rows inputs outputs batch iterations source target ragged length heads head_size layers width vocabulary ' +
    'blocks size passed failed'
  ).split(' '),
);

function ask(command, ...args) {
  try {
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    return execFileSync(command, args, options).trim();
  } catch {
    return null;
  }
}

const textOf = (path) => (existsSync(path) ? readFileSync(path, 'utf8').trim() : null);

function machine() {
  const card = process.env.CUDA_VISIBLE_DEVICES?.split(',')[0] ?? '0';
  const fields = ['name', 'uuid', 'driver_version', 'memory.total', 'power.limit', 'clocks.max.sm'];
  const query = [`--query-gpu=${fields}`, '--format=csv,noheader'];
  const answer = rehearsal ? null : ask('nvidia-smi', '-i', card, ...query);
  const [gpu, uuid, driver, memory, power, clock] = answer?.split(', ') ?? [];
  return {
    ...{ gpu: gpu ?? null, uuid, driver, memory, power, clock },
    // The toolkit of the binaries: the bundle's, or what compiles here.
    toolkit:
      (existsSync(join(WORK, 'carried')) && textOf(join(BUNDLE, 'built/toolkit'))) ||
      (/release ([\d.]+)/.exec(ask('nvcc', '--version') ?? '')?.[1] ?? null),
    processor: cpus()[0]?.model ?? null,
    processors: cpus().length,
    node: process.version,
    commit: textOf(join(BUNDLE, 'commit')) ?? ask('git', '-C', ROOT, 'rev-parse', 'HEAD'),
  };
}

/** A line of a rehearsal without what was measured. */
function withoutNumbers(line) {
  const kept = ([key, value]) =>
    names.has(key) || typeof value === 'string' || typeof value === 'boolean' ? value : 'ran';
  return Object.fromEntries(Object.entries(line).map((entry) => [entry[0], kept(entry)]));
}

function results() {
  const lines = readFileSync(RESULTS, 'utf8').split('\n').filter(Boolean);
  const parsed = lines.flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return []; // cut off by the time limit
    }
  });
  return rehearsal ? parsed.map(withoutNumbers) : parsed;
}

function write(run) {
  writeFileSync(`${file}.new`, `${JSON.stringify(run, null, 1)}\n`);
  renameSync(`${file}.new`, file);
}

if (action === 'begin') {
  const date = new Date().toISOString();
  write({ date, command: COMMAND, rehearsal, machine: machine(), stages: [] });
} else {
  const run = JSON.parse(readFileSync(file, 'utf8'));
  if (action === 'summary') {
    for (const { stage, outcome } of run.stages) console.log(`== ${stage}: ${outcome}`);
    const late = run.stages.find(({ outcome }) => outcome === 'not run');
    if (late) console.log(`go on with: bench/gpu/run.sh --from ${late.stage}`);
  } else {
    const outcomes = { 0: 'ok', 124: 'timed out', 137: 'timed out' };
    const outcome = action === 'not-run' ? 'not run' : (outcomes[code] ?? 'failed');
    const lines = action === 'end' ? results() : [];
    const took = action === 'end' && !rehearsal ? Number(seconds) : null;
    run.stages.push({ stage: STAGE, outcome, seconds: took, results: lines });
    write(run);
    rmSync(RESULTS, { force: true });
    const after = action === 'end' ? ` after ${seconds} s` : ', no time is left';
    console.log(`== ${STAGE}: ${outcome}${after}, ${lines.length} results`);
    for (const { skipped } of lines) if (skipped) console.log(`   skipped: ${skipped}`);
  }
}
