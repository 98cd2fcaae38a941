/**
 * bench/gpu/run.sh, which runs the first minutes of a GPU, without one: which stages there are and in which order, what it
 * refuses, and what it keeps when a stage fails. A copy of it runs here, with the real recorder and list of stages but stages
 * that only say that they ran; the whole is rehearsed by `npm run bench -- gpu --rehearse`.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const folder = fileURLToPath(new URL('../bench/gpu/', import.meta.url));
const skip = process.platform !== 'linux' && 'a program of Linux';
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

/** What `bash` says. */
function bash(file: string, args: string[], environment: Record<string, string> = {}) {
  const env = { ...process.env, ...environment };
  return spawnSync('bash', [file, ...args], { encoding: 'utf8', env });
}
const script = join(folder, 'run.sh');
const run = (...args: string[]) => bash(script, args);

const listed = run('--list').stdout.trimEnd().split('\n');
const stages = listed.map((line) => line.split(/ +/)[0]!);

/** A checkout with nothing but run.sh, its stages replaced by a script. */
function checkout(t: Test, stage: string) {
  const root = t.testdir({});
  const gpu = join(root, 'bench/gpu');
  mkdirSync(gpu, { recursive: true });
  for (const name of ['run.sh', 'record.mjs', 'table.mjs', 'tables.mjs', 'stages.txt'])
    copyFileSync(join(folder, name), join(gpu, name));
  writeFileSync(join(gpu, 'prepare.sh'), 'mkdir -p "$WORK/program"\n');
  writeFileSync(join(gpu, 'stage.sh'), stage);
  const results = join(root, 'build/gpu-rehearsal/results');
  return {
    rehearse: (args: string[], environment: Record<string, string> = {}) => {
      const done = bash(join(gpu, 'run.sh'), ['--rehearse', ...args], environment);
      const [only, ...others] = readdirSync(results);
      t.same(others, [], 'one folder of results');
      const files = readdirSync(join(results, only!));
      const record = JSON.parse(readFileSync(join(results, only!, 'run.json'), 'utf8')) as Run;
      return { ...done, folder: only!, files, record };
    },
  };
}
interface Run {
  date: string;
  command: string;
  rehearsal: boolean;
  machine: Record<string, unknown>;
  stages: { stage: string; outcome: string; seconds: number | null; results: unknown[] }[];
}

t.test('the stages, in the order in which a failure is looked for', { skip }, async (t) => {
  t.same(stages, [
    ...['build', 'tests-synchronous', 'tests-dependent', 'tests-graphs'],
    ...['sanitizer-memcheck', 'sanitizer-racecheck'],
    ...['measure', 'bench-linear', 'bench-attention', 'bench-head', 'bench-remask'],
    ...['jobs-base', 'jobs-large', 'jobs-xl', 'bits', 'thresholds'],
    ...['tests-engine', 'tests-api', 'bench-variants'],
  ]);
  for (const line of listed) {
    const seconds = Number(line.split(/ +/)[1]);
    t.ok(seconds > 0 && seconds <= 480, `at most 8 minutes: ${line}`);
  }
  const described = [...read('README.md').matchAll(/^\| `([a-z-]+)` +\| (\d+) min/gm)];
  t.same(
    described.map(([, stage]) => stage),
    stages,
    'the README describes them in their order',
  );
  for (const [, stage, minutes] of described) {
    const seconds = Number(listed[stages.indexOf(stage!)]!.split(/ +/)[1]);
    t.equal(Number(minutes), Math.ceil(seconds / 60), `${stage}: minutes of the README`);
  }
});

t.test('what is not understood is refused with what there is', { skip }, async (t) => {
  for (const args of [['bench-jobs'], ['--from', 'bench-jobs'], ['build', 'bench-jobs']]) {
    const { status, stderr } = run(...args);
    t.equal(status, 2);
    t.match(stderr, /there is no stage 'bench-jobs'; the stages are:/);
    for (const stage of stages) t.match(stderr, `  ${stage}\n`);
  }
  t.equal(run('--from').status, 2, 'a stage that is left out');
  const option = run('--rehearsal');
  t.equal(option.status, 2);
  t.match(option.stderr, /there is no option --rehearsal/);
  t.match(option.stderr, /--rehearse/);
  // Also where there is a GPU: an nvidia-smi that finds none.
  const without = spawnSync(
    'bash',
    ['-c', 'nvidia-smi() { return 9; }; export -f nvidia-smi; exec bash "$0" measure', script],
    { encoding: 'utf8' },
  );
  t.equal(without.status, 2);
  t.match(without.stderr, /no NVIDIA GPU here .* --rehearse/);
});

t.test('--rehearse runs every stage, and a failure hides nothing', { skip }, async (t) => {
  const { rehearse } = checkout(
    t,
    `echo "on $DEVICE"
     echo '{"who":"ours","op":"x","rows":8,"us":12.5,"low":1,"deviation":0.25,"tokens":[1,2]}' >>"$RESULTS"
     printf '{"who":"ours","op":"cut o' >>"$RESULTS"
     case $1 in
       tests-dependent) exit 3 ;;
       sanitizer-memcheck) exit 124 ;;
     esac`,
  );
  const { status, stdout, record, files, folder } = rehearse([]);
  t.equal(status, 1, 'two stages failed');
  const outcomes: Record<string, string> = {
    'tests-dependent': 'failed',
    'sanitizer-memcheck': 'timed out',
  };
  t.same(
    record.stages.map(({ stage, outcome }) => [stage, outcome]),
    stages.map((stage) => [stage, outcomes[stage] ?? 'ok']),
  );
  for (const { results, seconds, stage } of record.stages) {
    const expected = { who: 'ours', op: 'x', rows: 8, us: 'ran', low: 'ran', deviation: 'ran' };
    t.same(results, [{ ...expected, tokens: 'ran' }], `${stage}: the case, but no number`);
    t.equal(seconds, null);
  }
  t.same(files.sort(), ['log.txt', 'run.json', 'table.md']);
  t.match(folder, /^\d{8}T\d{6}Z-simt$/);
  t.equal(record.command, 'bench/gpu/run.sh --rehearse');
  t.equal(record.rehearsal, true);
  t.match(record.date, /^\d{4}-\d\d-\d\dT/);
  t.hasProps(record.machine, ['gpu', 'toolkit', 'processor', 'node', 'commit']);
  t.equal(stdout.match(/^on simt$/gm)?.length, stages.length);
  t.match(stdout, /== tests-dependent: failed/);
});

t.test('named stages, and no time for all', { skip }, async (t) => {
  const { rehearse } = checkout(t, 'echo \'{"op":"x"}\' >>"$RESULTS"');
  const ran = (args: string[], environment?: Record<string, string>) =>
    rehearse(args, environment).record.stages.map(({ stage }) => stage);
  t.same(ran(['jobs-xl', 'build', 'build']), ['build', 'measure', 'jobs-xl'], 'in their order');
  t.same(ran(['bits']), ['bits'], 'fractions of nothing need no ceilings');
  t.same(ran(['--from', 'tests-api']), ['tests-api', 'measure', 'bench-variants']);
  const late = rehearse(['bits', 'tests-api'], { TOTAL: '10' });
  t.equal(late.status, 1);
  t.same(
    late.record.stages.map(({ outcome }) => outcome),
    ['not run', 'not run'],
  );
  t.match(late.stdout, /go on with: bench\/gpu\/run\.sh --from bits/);
});

t.test('there are no tables of a rehearsal', { skip }, async (t) => {
  const { rehearse } = checkout(t, 'echo \'{"op":"x","us":3}\' >>"$RESULTS"');
  const { folder: name } = rehearse(['measure']);
  const results = join(t.testdirName, 'build/gpu-rehearsal/results', name);
  const table = (...args: string[]) =>
    spawnSync(process.execPath, [join(folder, 'table.mjs'), ...args], { encoding: 'utf8' });
  const refused = table(results);
  t.equal(refused.status, 2);
  t.match(refused.stderr, /a rehearsal measured nothing/);
  t.equal(refused.stdout, '');
  const forced = table('--rehearsal', results);
  t.equal(forced.status, 0, forced.stderr);
  for (const stage of stages) t.match(forced.stdout, `| ${stage} | `);
  const nowhere = table(join(results, 'none'));
  t.equal(nowhere.status, 2);
  t.match(nowhere.stderr, /none: no run\.json/);
});

t.test('tables of two cards: each fraction is of its own ceilings', { skip }, async (t) => {
  // Invented figures: both cards copy and multiply; the second one's run was killed in `thresholds`.
  const runOf = (gpu: string, copy: number, stages: object[]) => ({
    ...{ date: '2026-01-02T03:04:05.000Z', command: `run on ${gpu}`, rehearsal: false },
    machine: { gpu, driver: '1', toolkit: '2', processors: 3, processor: 'x', node: 'v0' },
    stages: [
      { stage: 'measure', outcome: 'ok', seconds: 1, results: [
        { who: 'ours', op: 'copy', bytes: 1e6, us: copy },
        { who: 'cublaslt', op: 'product bf16', operations: 1e8, us: 1 },
      ] },
      ...stages,
    ],
  }); // prettier-ignore
  const head = (us: number) => [
    { who: 'ours', op: 'head', model: 'xl', rows: 1, bytes: 1e6, operations: 1e6, us },
  ];
  const times: [rows: number, ours: number, library: number][] = [
    [64, 1, 3],
    [128, 2, 1.9],
    [160, 4, 4.5],
    [192, 5, 4],
    [256, 6, 4],
  ];
  const products = times.flatMap(([rows, ours, library]) => [
    { who: 'ours', op: 'threshold', shape: 's', rows, us: ours },
    { who: 'ours, deterministic: false', op: 'threshold', shape: 's', rows, us: library },
  ]);
  const one = runOf('One', 1, [
    { stage: 'bench-head', outcome: 'ok', seconds: 1, results: head(2) },
  ]);
  const two = runOf('Two', 4, [
    { stage: 'bench-head', outcome: 'not run', seconds: null, results: [] },
    {
      stage: 'bench-attention',
      outcome: 'ok',
      seconds: 1,
      results: [{ who: 'ours', op: 'attention', model: 'xl', bytes: 1e6, operations: 1e6, us: 5 }],
    },
  ]);
  const killed = `${products.map((line) => JSON.stringify(line)).join('\n')}\n{"who":"cut o`;
  const root = t.testdir({
    one: { 'run.json': JSON.stringify(one) },
    two: { 'run.json': JSON.stringify(two), 'thresholds.jsonl': killed },
  });
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(folder, 'table.mjs'), join(root, 'one'), join(root, 'two')],
    { encoding: 'utf8' },
  );
  t.equal(status, 0, stderr);
  t.match(stdout, /`run on One`.*One.*driver 1, CUDA 2/);
  t.match(stdout, /^\| xl \| 1 \| 2\.0 µs \| 50 % \|/m, 'of the first card');
  t.match(stdout, /^\| xl \| .*\| 5\.0 µs \| 80 % \|/m, 'of the second');
  t.match(stdout, /^\| thresholds \| killed \|/m);
  t.match(stdout, /^\| s \| 192 \|$/m, 'from 192 rows on the library always wins');
  t.match(stdout, /^\| jobs-xl \| not measured \|/m);
});
