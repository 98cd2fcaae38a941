// node finish.mjs EXIT_CODE SECONDS: makes $OUT/$STAGE.json of what the stage appended to $RESULTS.
// { stage, outcome: 'ok' | 'failed' | 'timed out', seconds, rehearsal, machine, results: [...] }
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const { OUT, STAGE, RESULTS, DEVICE } = process.env;
const [code, seconds] = process.argv.slice(2).map(Number);

function ask(command, ...args) {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

const results = readFileSync(RESULTS, 'utf8')
  .split('\n')
  .filter(Boolean)
  .flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return []; // cut off by the time limit
    }
  });
const outcome = code === 0 ? 'ok' : code === 124 || code === 137 ? 'timed out' : 'failed';
const [gpu, driver] = (
  ask('nvidia-smi', '--query-gpu=name,driver_version', '--format=csv,noheader') ?? ''
).split(', ');
const machine = {
  gpu: gpu || null,
  driver: driver ?? null,
  nvcc: /release ([\d.]+)/.exec(ask('nvcc', '--version') ?? '')?.[1] ?? null,
  processor: cpus()[0]?.model ?? null,
  processors: cpus().length,
  node: process.version,
};
const record = {
  stage: STAGE,
  outcome,
  seconds,
  rehearsal: DEVICE !== 'cuda',
  date: new Date().toISOString(),
  machine,
  results,
};
writeFileSync(`${OUT}/${STAGE}.json`, `${JSON.stringify(record, null, 1)}\n`);
console.log(`== ${STAGE}: ${outcome}, ${seconds} s, ${results.length} results`);
