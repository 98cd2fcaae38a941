'use strict';
// npm run bench -- cuda-report: compiles every CUDA file for each architecture and prints of each kernel what ptxas says and
// how its products get their weights, as a Markdown table. Fails if anything warns, if a kernel spills registers, if its
// machine code breaks a rule of machine_code.cjs, or if it has no __launch_bounds__ or a block of so many threads needs more
// registers than a multiprocessor has. That is what the emulator takes for granted of a kernel within its bounds
// (native/simt/limits.h).
// Environment: NVCC; CUDAARCHS, e.g. "80;90" (the default); of others the machine code is not read.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { architectures: known, examine, kernelsOf } = require('./machine_code.cjs');

const native = path.join(__dirname, '../../native');
const { cuda } = JSON.parse(fs.readFileSync(path.join(native, 'sources.json'), 'utf8'));
const architectures = (process.env.CUDAARCHS ?? '80;90')
  .split(';')
  .map((name) => parseInt(name, 10));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cuda-report-'));
const nvcc = process.env.NVCC ?? 'nvcc';
/** On the tensor cores, but of queries, keys and values. */
const withoutWeights = /attention/;
const registersOfMultiprocessor = 65536;
let spills = 0;
const faults = [];

/** The bare name of a kernel from its mangled one. */
function nameOf(mangled) {
  const plain = spawnSync('c++filt', [mangled], { encoding: 'utf8' }).stdout?.trim() || mangled;
  return plain
    .replaceAll(/\(anonymous namespace\)::|mask_predict::cuda::|^void /g, '')
    .replace(/\((?!anonymous).*$/, '');
}

/** Compiles a file; what ptxas says of its kernels, and its device code. */
function compile(file, architecture) {
  const { status, stderr, error } = spawnSync(
    nvcc,
    [
      ...['-std=c++17', '-O3', `-arch=sm_${architecture}`, '-DMASK_PREDICT_CUDA=1'],
      ...['-Xptxas', '-v', '-Werror', 'all-warnings', '--keep', '--keep-dir', folder],
      ...['-I', native, '-c', path.join(native, '..', file)],
      ...['-o', path.join(folder, 'kernels.o')],
    ],
    { encoding: 'utf8' },
  );
  if (error || status !== 0) {
    console.error(`${file} does not compile for sm_${architecture}: ${error?.message ?? stderr}`);
    process.exit(1);
  }
  const cubin = path.join(folder, `${path.basename(file, '.cu')}.sm_${architecture}.cubin`);
  return { said: stderr.split(/Compiling entry function '/).slice(1), cubin };
}

console.log(
  '| kernel | architecture | registers | stack | spilled | static shared | weights of a step |\n' +
    '| --- | --- | --- | --- | --- | --- | --- |',
);
for (const architecture of architectures) {
  for (const file of cuda) {
    const { said, cubin } = compile(file, architecture);
    if (said.length === 0) continue; // no kernels
    const code = known.includes(architecture) ? kernelsOf(fs.readFileSync(cubin)) : [];
    for (const text of said) {
      const number = (pattern) => Number(text.match(pattern)?.[1] ?? 0);
      const stores = number(/(\d+) bytes spill stores/);
      const loads = number(/(\d+) bytes spill loads/);
      spills += stores + loads;
      const mangled = text.slice(0, text.indexOf("'"));
      const name = nameOf(mangled);
      const kernel = code.find((one) => one.name === mangled);
      const examined = kernel && examine(kernel);
      if (known.includes(architecture)) {
        const broken = examined?.faults ?? ['its machine code is not there'];
        if (examined?.multiplies && !examined.weights && !withoutWeights.test(name))
          broken.push('multiplies, but loads nothing with a cache policy, as weights are loaded');
        const registers = Math.ceil(number(/Used (\d+) registers/) / 8) * 8; // given out in eights
        if (kernel && !kernel.threads) broken.push('has no __launch_bounds__');
        else if (kernel?.threads * registers > registersOfMultiprocessor)
          broken.push(`${kernel.threads} threads of ${registers} registers are too many`);
        faults.push(...broken.map((fault) => `${name}, sm_${architecture}: ${fault}`));
      }
      console.log(
        `| ${name} | sm_${architecture} | ${number(/Used (\d+) registers/)} | ${number(/(\d+) bytes stack frame/)} B | ` +
          `${stores + loads} B | ${number(/(\d+) bytes smem/)} B | ${examined?.weights ?? ''} |`,
      );
    }
  }
}
fs.rmSync(folder, { recursive: true });
if (spills > 0) console.error(`kernels spill ${spills} bytes of registers`);
for (const fault of faults) console.error(fault);
if (spills > 0 || faults.length > 0) process.exit(1);
