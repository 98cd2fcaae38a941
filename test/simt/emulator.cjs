'use strict';
// Tests the emulator: compiles native/simt and its test with the C++ compiler, plainly and with AddressSanitizer and
// UndefinedBehaviorSanitizer, and runs both.
//   node test/simt/emulator.cjs [--nvcc]
//     --nvcc  also compiles the kernels of the test for sm_80 and sm_90, warnings as errors
// Environment: CXX, NVCC.
//
// The errors are planted here, each in a copy of skinny_linear.cu with a name space of its own.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const native = path.join(__dirname, '../../native');
const output = path.join(native, '../build/simt');

// name: what is replaced by what (must occur exactly once), and how the copy must show. `passes`: it must not.
const copies = {
  missing_barrier_after_the_wait: [
    "    __syncthreads();     // the other threads' copies are there too\n",
    '',
  ],
  missing_barrier_before_reuse: [
    '    __syncthreads();  // before the next copies write where this tile was\n',
    '',
  ],
  missing_wait: ['    cp_async_wait<1>();', '    //'],
  wait_for_one_group_too_few: [
    'cp_async_wait<1>();',
    'if (tile + 1 < tiles) cp_async_wait<2>(); else cp_async_wait<0>();',
  ],
  missing_commit: ['    cp_async_commit();\n    cp_async_wait', '    cp_async_wait'],
  copy_beyond_shared_memory: ['tile + i / chunks * stride', 'tile + (i / chunks + 1) * stride'],
  plain_write_beyond_shared_memory: [
    '  float sums[',
    '  if (threadIdx.x == 0) shared[stages * stage_elements] = to_bfloat16(0.0f);\n  float sums[',
  ],
  load_off_by_one: ['weights + lane % 16 * stride', 'weights + (lane % 16 + 1) * stride'],
  unwritten_output: ['row < rows && out < outputs', 'row < rows - 1 && out < outputs'],
  output_beyond_the_end: ['row < rows && out < outputs', 'row <= rows && out < outputs'],
  plain_output_beyond_the_end: [
    '  float sums[',
    '  if (threadIdx.x == 0) output[static_cast<int64_t>(rows) * outputs] = 0;\n  float sums[',
  ],
  barrier_not_for_all: [
    '    __syncthreads();     //',
    '    if (threadIdx.x != 77) __syncthreads();     //',
  ],
  warp_function_not_for_all: [
    '        uint32_t b[2];',
    '        if (lane == 5 && row == 8) continue;\n        uint32_t b[2];',
  ],
  thread_ends_early: [
    '  float sums[',
    '  if (threadIdx.x >= 96 && blockIdx.x == 1) return;\n  float sums[',
  ],
  dependent_without_wait: ['stream, "skinny_linear"}', 'stream, "skinny_linear", true}'],
  too_much_shared_memory: ['dim3(threads), shared_bytes', 'dim3(threads), 300 * 1024'],
  no_padding: ['constexpr int padding = 8;', 'constexpr int padding = 0;', 'passes'],
};

function plant() {
  const source = fs.readFileSync(path.join(__dirname, 'skinny_linear.cu'), 'utf8');
  const names = Object.keys(copies);
  const texts = names.map((name) => {
    const [from, to] = copies[name];
    if (source.split(from).length !== 2)
      throw new Error(`${name}: "${from}" must occur once in skinny_linear.cu`);
    const copy = source
      .replace(from, () => to)
      .replaceAll('namespace mask_predict::cuda', `namespace mask_predict::cuda::${name}`);
    return copy;
  });
  const rows = names.map(
    (name) => `  {"${name}", cuda::${name}::skinny_linear, ${copies[name][2] !== 'passes'}},\n`,
  );
  fs.writeFileSync(
    path.join(output, 'planted.inc'),
    `${texts.join('\n')}\nnamespace mask_predict {\nconstexpr Copy copies[] = {\n${rows.join('')}};\n}\n`,
  );
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) {
    console.error(`failed: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}

const warnings = ['-Wall', '-Wextra', '-Wconversion', '-Werror', '-Wno-unknown-pragmas'];
fs.mkdirSync(output, { recursive: true });
plant();
const emulator = fs
  .readdirSync(path.join(native, 'simt'))
  .filter((name) => name.endsWith('.cpp'))
  .map((name) => path.join(native, 'simt', name));
const compiler = process.env.CXX ?? 'g++';
for (const [name, options] of [
  ['emulator_test', ['-O2']],
  [
    'emulator_test_sanitized',
    ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
  ],
]) {
  const program = path.join(output, name);
  const flags = [
    '-std=c++20',
    '-g1',
    '-DMASK_PREDICT_SIMT',
    ...options,
    ...warnings,
    '-I',
    native,
    '-I',
    output,
  ];
  run(compiler, [
    ...flags,
    '-o',
    program,
    ...emulator,
    '-x',
    'c++',
    path.join(__dirname, 'emulator_test.cu'),
    '-pthread',
  ]);
  run(program, []);
}
if (process.argv.includes('--nvcc')) {
  for (const architecture of ['sm_80', 'sm_90']) {
    for (const name of ['skinny_linear', 'device_functions']) {
      run(process.env.NVCC ?? 'nvcc', [
        ...[
          '-std=c++17',
          `-arch=${architecture}`,
          '-O3',
          '-Werror',
          'all-warnings',
          '-Xcompiler',
          '-Wall,-Wextra',
        ],
        ...['-I', native, '-c', path.join(__dirname, `${name}.cu`)],
        ...['-o', path.join(output, `${name}_${architecture}.o`)],
      ]);
    }
  }
}
