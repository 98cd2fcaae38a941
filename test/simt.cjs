#!/usr/bin/env node
'use strict';
// The CUDA kernels on the emulated device (native/simt), on machines without a GPU.
//   node test/simt.cjs           everything: the emulator's own test with planted errors, the kernels' native tests,
//                                the operations' tests and the fixtures' decodes, under AddressSanitizer and
//                                UndefinedBehaviorSanitizer, under three schedules. About 25 minutes on two cores.
//   node test/simt.cjs --quick   a part in under 4 minutes, without sanitizers: what npm test runs
// Environment: CXX.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const native = path.join(root, 'native');
const quick = process.argv.includes('--quick');
const output = path.join(root, 'build/simt-tests');
const compiler = process.env.CXX ?? 'g++';
const seed = Math.floor(Date.now() / 1000) % 100000;
const schedules = quick ? ['ahead'] : ['round-robin', 'ahead', `random:${seed}`];
const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];
let failed = 0;

function run(what, command, args, env = {}) {
  const begun = Date.now();
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const seconds = ((Date.now() - begun) / 1000).toFixed(0);
  console.log(`${status === 0 ? 'ok' : 'NOT OK'} - ${what} (${seconds} s)`);
  if (status === 0) return stdout;
  failed++;
  const lines = `${stdout}\n${stderr}`.split('\n');
  const telling = lines.filter((line) => /not ok|error|ERROR|failed/.test(line)).slice(0, 20);
  console.log([...telling, `… ended with ${signal ?? status}`, ...lines.slice(-15)].join('\n'));
  return stdout;
}

/** A stand-in for NVIDIA's library, for `deterministic: false`. */
function buildStandIn() {
  const library = path.join(output, 'libcublasLt-stand-in.so');
  const source = path.join(native, 'simt/test/cublaslt_stand_in.cpp');
  run('build the stand-in for cuBLASLt', compiler, [
    ...['-std=c++20', '-O2', '-shared', '-fPIC', '-Wall', '-Wextra', '-DMASK_PREDICT_SIMT'],
    ...['-I', native, source, '-o', library],
  ]);
  process.env.MASK_PREDICT_CUBLASLT = library;
}

/** Compiles and runs native/simt/test/NAME.cu with the operations it tests, under every schedule. */
function nativeTest(name, sources, plain = []) {
  const folder = path.join(native, 'simt');
  const emulator = fs.readdirSync(folder).filter((file) => file.endsWith('.cpp'));
  const program = path.join(output, name);
  const cpp = ['ops/packed_matrix.cpp', 'engine/buffer.cpp', ...plain].map((file) =>
    path.join(native, file),
  );
  const cu = [
    ...sources.map((file) => path.join(native, file)),
    path.join(folder, 'test', `${name}.cu`),
  ];
  run(`compile ${name}`, compiler, [
    ...[
      '-std=c++20',
      '-g1',
      '-O1',
      '-DMASK_PREDICT_SIMT',
      '-DMASK_PREDICT_CUDA=1',
      '-Wall',
      '-Wextra',
      '-Wno-unknown-pragmas',
    ],
    ...(quick ? [] : sanitizers),
    ...[
      '-I',
      native,
      '-o',
      program,
      ...emulator.map((file) => path.join(folder, file)),
      ...cpp,
      '-x',
      'c++',
      ...cu,
      '-pthread',
      '-ldl',
    ],
  ]);
  for (const schedule of schedules) {
    const env = { MASK_PREDICT_SIMT_SCHEDULE: schedule, MASK_PREDICT_SIMT_REPORT: '1' };
    const report = run(`${name}, schedule ${schedule}`, program, [], env);
    if (schedule === schedules[0] && !quick) console.log((report ?? '').trimEnd());
  }
}

/** Runs a test file of the CPU on the emulated device. */
function deviceTest(file, schedule, flavour) {
  const preload =
    flavour === 'simt-sanitized'
      ? [libraryOf('libasan.so'), libraryOf('libubsan.so')].join(':')
      : '';
  run(
    `${file} on simt, schedule ${schedule}`,
    'npx',
    ['tap', '--timeout=1800', '--reporter=tap', file],
    {
      MASK_PREDICT_PREBUILD: path.join(root, 'build', flavour),
      MASK_PREDICT_DEVICE: 'simt',
      MASK_PREDICT_SIMT_SCHEDULE: schedule,
      ...(preload && { LD_PRELOAD: preload, ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0' }),
    },
  );
}

function libraryOf(name) {
  return spawnSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
}

fs.mkdirSync(output, { recursive: true });
const flavour = quick ? 'simt' : 'simt-sanitized';
buildStandIn();
run(`build ${flavour}`, process.execPath, ['native/build.cjs', `--${flavour}`]);
if (!quick) {
  run('the emulator, with planted errors', process.execPath, ['native/simt/test/run.cjs']);
  nativeTest('linear_test', ['ops/linear_cuda.cu', 'ops/pack_cuda.cu', 'cuda/cublaslt.cu']);
  nativeTest('cublaslt_test', ['ops/linear_cuda.cu', 'ops/pack_cuda.cu', 'cuda/cublaslt.cu']);
  nativeTest('mixed_attention_test', []); // includes the operation
  nativeTest('lm_head_test', ['ops/lm_head_cuda.cu']);
  nativeTest('remask_test', ['ops/remask_cuda.cu'], ['ops/remask_cpu.cpp']);
  nativeTest(
    'sample_test',
    ['ops/sample_cuda.cu'],
    ['ops/sample_cpu.cpp', 'cpu/kernels_portable.cpp', 'cpu/thread_pool.cpp'],
  );
}
const operations = fs
  .readdirSync(path.join(__dirname, 'ops'))
  .filter((file) => file.endsWith('.test.ts'));
for (const schedule of schedules) {
  for (const file of operations) {
    if (quick && file === 'sample.test.ts') continue;
    deviceTest(`test/ops/${file}`, schedule, flavour);
  }
}
deviceTest('test/simt-generate.test.ts', schedules[0], flavour);
deviceTest('test/vocabulary.test.ts', schedules[0], flavour);
deviceTest('test/deterministic.test.ts', schedules[0], flavour);
deviceTest('test/recordings.test.ts', schedules[0], flavour);
if (!quick) {
  // Thousands of passes: without sanitizers.
  run('build simt', process.execPath, ['native/build.cjs', '--simt']);
  deviceTest('test/fixtures.test.ts', schedules[0], 'simt');
}
console.log(
  failed === 0
    ? 'everything passed on the emulated device'
    : `${failed} failed on the emulated device`,
);
process.exit(failed === 0 ? 0 : 1);
