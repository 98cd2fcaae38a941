'use strict';
// npm run bench -- cuda-report: compiles every CUDA file for each architecture and prints what ptxas says of each kernel, as a
// Markdown table. Fails if a kernel spills registers or anything warns.
// Environment: NVCC; CUDAARCHS, e.g. "80;90" (the default).
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const native = path.join(__dirname, '../../native');
const { cuda } = JSON.parse(fs.readFileSync(path.join(native, 'sources.json'), 'utf8'));
const architectures = (process.env.CUDAARCHS ?? '80;90')
  .split(';')
  .map((name) => parseInt(name, 10));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cuda-report-'));
const nvcc = process.env.NVCC ?? 'nvcc';
let spills = 0;

/** The bare name of a kernel from its mangled one. */
function nameOf(mangled) {
  const plain = spawnSync('c++filt', [mangled], { encoding: 'utf8' }).stdout?.trim() || mangled;
  return plain
    .replaceAll(/\(anonymous namespace\)::|mask_predict::cuda::|^void /g, '')
    .replace(/\((?!anonymous).*$/, '');
}

console.log(
  '| kernel | architecture | registers | stack | spilled | static shared |\n| --- | --- | --- | --- | --- | --- |',
);
for (const architecture of architectures) {
  for (const file of cuda) {
    const { status, stderr, error } = spawnSync(
      nvcc,
      [
        ...[
          '-std=c++17',
          '-O3',
          `-arch=sm_${architecture}`,
          '-DMASK_PREDICT_CUDA=1',
          '-Xptxas',
          '-v',
          '-Werror',
          'all-warnings',
        ],
        ...[
          '-I',
          native,
          '-c',
          path.join(native, '..', file),
          '-o',
          path.join(folder, 'kernels.o'),
        ],
      ],
      { encoding: 'utf8' },
    );
    if (error || status !== 0) {
      console.error(`${file} does not compile for sm_${architecture}: ${error?.message ?? stderr}`);
      process.exit(1);
    }
    const kernels = stderr.split(/Compiling entry function '/).slice(1);
    for (const text of kernels) {
      const number = (pattern) => Number(text.match(pattern)?.[1] ?? 0);
      const stores = number(/(\d+) bytes spill stores/);
      const loads = number(/(\d+) bytes spill loads/);
      spills += stores + loads;
      const name = nameOf(text.slice(0, text.indexOf("'")));
      console.log(
        `| ${name} | sm_${architecture} | ${number(/Used (\d+) registers/)} | ${number(/(\d+) bytes stack frame/)} B | ` +
          `${stores + loads} B | ${number(/(\d+) bytes smem/)} B |`,
      );
    }
  }
}
fs.rmSync(folder, { recursive: true });
if (spills > 0) {
  console.error(`kernels spill ${spills} bytes of registers`);
  process.exit(1);
}
