#!/usr/bin/env node
'use strict';
// The CUDA kernels on the emulated device (native/simt), on machines without a GPU.
//   node test/simt/all.cjs           everything: the emulator's own test with planted errors, the kernels' native tests,
//                                the operations' tests and the fixtures' decodes, under AddressSanitizer and
//                                UndefinedBehaviorSanitizer, under three schedules.
//   node test/simt/all.cjs --quick   a part in under 4 minutes, without sanitizers: what npm test runs
// Environment: CXX; JOBS, what runs at a time (default: as many as there are processors).
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '../..');
const native = path.join(root, 'native');
const quick = process.argv.includes('--quick');
const output = path.join(root, 'build/simt-tests');
const compiler = process.env.CXX ?? 'g++';
const jobs = Number(process.env.JOBS ?? os.availableParallelism());
const seed = Math.floor(Date.now() / 1000) % 100000;
const schedules = quick ? ['ahead'] : ['round-robin', 'ahead', `random:${seed}`];
const flavour = quick ? 'simt' : 'simt-sanitized';
const flags = [
  ...['-std=c++20', '-g1', '-O1', '-DMASK_PREDICT_SIMT', '-DMASK_PREDICT_CUDA=1'],
  ...['-Wall', '-Wextra', '-Wno-unknown-pragmas', '-Werror=narrowing', '-I', native],
  ...(quick ? [] : ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined']),
];
/** Among the operations' tests, by far. */
const slowest = 'sample.test.ts';
if (!quick) process.env.FAILING_CALLS = 'all'; // of gpu-calls.test.ts
let failed = 0;

/** Resolves to what it printed, whether or not it failed. */
function run(what, command, args, env = {}) {
  const begun = Date.now();
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += data));
  child.stderr.on('data', (data) => (stderr += data));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ status: error.message }));
    child.on('close', (status, signal) => resolve({ status: signal ?? status }));
  }).then(({ status }) => {
    const seconds = ((Date.now() - begun) / 1000).toFixed(0);
    console.log(`${status === 0 ? 'ok' : 'NOT OK'} - ${what} (${seconds} s)`);
    if (status === 0) return stdout;
    failed++;
    const lines = `${stdout}\n${stderr}`.split('\n');
    const telling = lines.filter((line) => /not ok|error|ERROR|failed/.test(line)).slice(0, 20);
    console.log([...telling, `… ended with ${status}`, ...lines.slice(-15)].join('\n'));
    return stdout;
  });
}

/** Starts the tasks in their order, at most `jobs` at a time. */
async function all(tasks) {
  const waiting = [...tasks];
  const work = async () => {
    for (let task; (task = waiting.shift()) !== undefined;) await task();
  };
  await Promise.all(Array.from({ length: Math.max(jobs, 1) }, work));
}

/** A stand-in for NVIDIA's library, for `deterministic: false`. */
async function buildStandIn() {
  const library = path.join(output, 'libcublasLt-stand-in.so');
  const source = path.join(__dirname, 'cublaslt_stand_in.cpp');
  await run('build the stand-in for cuBLASLt', compiler, [
    ...['-std=c++20', '-O2', '-shared', '-fPIC', '-Wall', '-Wextra', '-DMASK_PREDICT_SIMT'],
    ...['-I', native, source, '-o', library],
  ]);
  process.env.MASK_PREDICT_CUBLASLT = library;
}

/** The test programs of this folder, and what each is about. */
const programs = {
  linear_test: ['ops/linear/linear_cuda.cu', 'ops/weights/pack_cuda.cu'],
  cublaslt_test: ['ops/linear/linear_cuda.cu', 'ops/weights/pack_cuda.cu'],
  mixed_attention_test: [], // includes the operation
  lm_head_test: ['ops/lm_head/lm_head_cuda.cu'],
  remask_test: ['ops/remask/remask_cuda.cu'],
  sample_test: ['ops/sample/sample_cuda.cu'],
};
/** Files that all of them are linked with, beside the emulator. */
const common = [
  'cuda/cublaslt.cu', // part of every stream
  ...[
    'base/numbers.cpp',
    'ops/weights/quantize.cpp',
    'ops/remask/remask_cpu.cpp',
    'ops/sample/sample_cpu.cpp',
  ],
  ...['base/buffer.cpp', 'cpu/kernels_portable.cpp', 'cpu/thread_pool.cpp'],
  ...['base/thread_posix.cpp', 'base/host_memory_posix.cpp'],
  ...['base/host_memory_linux.cpp', 'base/control_group_linux.cpp'],
];

/** Files of this folder are named alone, those of native/ with their folder. */
const sourceOf = (file) => path.join(file.includes('/') ? native : __dirname, file);

const objectOf = (file) => path.join(output, `${file.replace(/\W/g, '_')}.o`);

const compile = (file) => () =>
  run(`compile ${file}`, compiler, [
    ...flags,
    ...['-c', '-o', objectOf(file), '-x', 'c++', sourceOf(file)],
  ]);

const link = (name, emulator) => () =>
  run(`link ${name}`, compiler, [
    ...flags,
    ...['-o', path.join(output, name)],
    ...[...emulator, ...common, ...programs[name], `${name}.cu`].map(objectOf),
    ...['-pthread', '-ldl'],
  ]);

const nativeTest = (name, schedule) => async () => {
  const env = { MASK_PREDICT_SIMT_SCHEDULE: schedule };
  const report = await run(
    `${name}, schedule ${schedule}`,
    path.join(output, name),
    ['report'],
    env,
  );
  if (schedule === schedules[0]) console.log((report ?? '').trimEnd());
};

/** Runs a test file of the CPU on the emulated device. */
const deviceTest =
  (file, schedule, build = flavour) =>
  () => {
    const sanitized = build === 'simt-sanitized';
    const preload = sanitized ? `${libraryOf('libasan.so')}:${libraryOf('libubsan.so')}` : '';
    return run(
      `${file} on ${build}, schedule ${schedule}`,
      // Without tap's runner, which tidies a folder that runs beside each other would share.
      process.execPath,
      ['--import=@tapjs/typescript/import', '--enable-source-maps', file],
      {
        TAP_TIMEOUT: '1800',
        TS_NODE_TRANSPILE_ONLY: '1', // as tap's runner has it
        MASK_PREDICT_PREBUILD: path.join(root, 'build', build),
        MASK_PREDICT_DEVICE: 'simt',
        MASK_PREDICT_SIMT_SCHEDULE: schedule,
        ...(preload && { LD_PRELOAD: preload, ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0' }),
      },
    );
  };

function libraryOf(name) {
  return spawnSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
}

async function nativeTests() {
  const folder = path.join(native, 'simt');
  const emulator = fs
    .readdirSync(folder)
    .filter((file) => file.endsWith('.cpp'))
    .map((file) => `simt/${file}`);
  const names = Object.keys(programs);
  const sources = new Set([
    ...names.flatMap((name) => [`${name}.cu`, ...programs[name]]), // the slowest first
    ...[...emulator, ...common],
  ]);
  await all([...sources].map(compile));
  await all(names.map((name) => link(name, emulator)));
  await all([
    () => run('the emulator, with planted errors', process.execPath, ['test/simt/emulator.cjs']),
    ...names.flatMap((name) => schedules.map((schedule) => nativeTest(name, schedule))),
  ]);
}

async function main() {
  fs.mkdirSync(output, { recursive: true });
  await buildStandIn();
  await run(`build ${flavour}`, process.execPath, ['native/build.cjs', `--${flavour}`]);
  if (!quick) {
    await run('build simt', process.execPath, ['native/build.cjs', '--simt']);
    await nativeTests();
  }
  const operations = fs
    .readdirSync(path.join(__dirname, '../ops'))
    .filter((file) => file.endsWith('.test.ts') && !(quick && file === slowest));
  const engine = [
    ...['simt-generate', 'vocabulary', 'deterministic', 'cuda-graphs', 'spare-memory'],
    ...['choice-of-gpu', 'gpu-faults', 'gpu-calls', 'int8', 'kernel-launches', 'gpu-limits'],
    'weight-traffic',
    // The quick part is to be short: each of these takes a sixth of it.
    ...(quick ? [] : ['mixed-attention', 'head-precision']),
  ];
  const operationTests = (files) =>
    files.flatMap((file) => schedules.map((each) => deviceTest(`test/ops/${file}`, each)));
  await all([
    ...operationTests(operations.filter((file) => file === slowest)),
    // Thousands of passes: without sanitizers.
    ...(quick ? [] : [deviceTest('test/fixtures.test.ts', schedules[0], 'simt')]),
    // The embedded model on two devices, in processes that may take a minute: without sanitizers.
    deviceTest('test/several-gpus.test.ts', schedules[0], 'simt'),
    ...engine.map((name) => deviceTest(`test/${name}.test.ts`, schedules[0])),
    ...operationTests(operations.filter((file) => file !== slowest)),
  ]);
  console.log(
    failed === 0
      ? 'everything passed on the emulated device'
      : `${failed} failed on the emulated device`,
  );
  process.exit(failed === 0 ? 0 : 1);
}

void main();
