'use strict';
// Builds the addon into build/Release. Plain CommonJS: it runs before anything is compiled. Needs no network.
//   node native/build.cjs [--if-needed] [--strict] [--simt] [--simt-sanitized] [--thread-sanitized] [--gyp] [--prebuild]
//     --if-needed  nothing if a binary that loads is there
//     --strict     compiles into build/strict with warnings as errors; the binary in use stays
//     --simt       into build/simt: the CUDA kernels on an emulated device, for tests (native/simt)
//     --simt-sanitized  the same with AddressSanitizer and UndefinedBehaviorSanitizer, into build/simt-sanitized
//     --thread-sanitized  the CPU kernels with ThreadSanitizer, into build/thread-sanitized
//     --gyp        node-gyp even where CMake is there
//     --prebuild   copies the binary into prebuilds/, which the package's tarball contains
// Environment: JOBS, parallel compilers; MASK_PREDICT_CUDA=on|off, CUDA kernels (default: where nvcc works);
// CUDACXX, CUDA_PATH, CUDAARCHS; MASK_PREDICT_PORTABLE=1, static libstdc++.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');
const flags = new Set(process.argv.slice(2));
const say = (message) => console.error(`mask-predict: ${message}`);
const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
const run = (command, args) =>
  spawnSync(command, args, { stdio: 'inherit', cwd: root }).status === 0;

function cmake(folder, options) {
  const all = { PORTABLE: !!process.env.MASK_PREDICT_PORTABLE, ...options };
  return run(process.execPath, [
    require.resolve('cmake-js/bin/cmake-js'),
    flags.has('--clean') ? 'rebuild' : 'compile',
    '--out',
    path.join(root, 'build', folder),
    '--parallel',
    process.env.JOBS ?? String(os.availableParallelism()),
    ...Object.entries(all).map(
      ([name, value]) =>
        `--CDMASK_PREDICT_${name}=${value === true ? 'ON' : value === false ? 'OFF' : value}`,
    ),
  ]);
}

function nvcc() {
  const dirs = [
    process.env.CUDA_PATH,
    process.env.CUDA_HOME,
    '/usr/local/cuda',
    '/opt/cuda',
  ].filter(Boolean);
  const candidates = [
    process.env.CUDACXX,
    'nvcc',
    ...dirs.map((dir) => path.join(dir, 'bin', 'nvcc')),
  ];
  return candidates.find((candidate) => candidate && works(candidate));
}

// With CUDA kernels where nvcc is; without them if they do not compile, unless they were asked for by name.
function build() {
  if (flags.has('--gyp') || !works('cmake')) return gyp();
  const asked = process.env.MASK_PREDICT_CUDA ?? '';
  const compiler = /^(0|off|false|no)$/i.test(asked) ? undefined : nvcc();
  const must = /^(1|on|true|yes)$/i.test(asked);
  if (must && !compiler) say('MASK_PREDICT_CUDA asks for CUDA kernels, but there is no nvcc');
  if (compiler) {
    process.env.CUDACXX = compiler;
    if (cmake('cmake', { CUDA: true })) return true;
    say(
      'the CUDA kernels could not be built (see above)' +
        (must ? '' : '; building the CPU kernels only'),
    );
  }
  return !must && (cmake('cmake', { CUDA: false }) || gyp());
}

function gyp() {
  // Node's own headers, where the installation has them, instead of a download.
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  const own = fs.existsSync(path.join(prefix, 'include/node/common.gypi')) ? prefix : undefined;
  const nodedir = process.env.npm_config_nodedir ?? own;
  const args = ['rebuild', ...(nodedir ? [`--nodedir=${nodedir}`] : [])];
  const npms = process.env.npm_config_node_gyp;
  return npms ? run(process.execPath, [npms, ...args]) : run('npx', ['node-gyp', ...args]);
}

function prebuild() {
  const libc =
    process.platform === 'linux'
      ? process.report.getReport().header.glibcVersionRuntime
        ? '.glibc'
        : '.musl'
      : '';
  const folder = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  fs.mkdirSync(folder, { recursive: true });
  fs.copyFileSync(
    path.join(root, 'build/Release/mask_predict.node'),
    path.join(folder, `mask-predict${libc}.node`),
  );
}

// A build for tests. MASK_PREDICT_PREBUILD=build/FOLDER then loads it instead: the loader looks for a package of that
// name there.
function testBuild(folder, options) {
  if (!cmake(folder, { ...options, OUTPUT: `build/${folder}/build/Release` })) return false;
  fs.copyFileSync(
    path.join(root, 'package.json'),
    path.join(root, 'build', folder, 'package.json'),
  );
  return true;
}

const testBuilds = {
  '--simt': { SIMT: true },
  '--simt-sanitized': { SIMT: true, SANITIZE: 'address,undefined' },
  '--thread-sanitized': { SANITIZE: 'thread' },
};

function loads() {
  // In a process of its own: a binary that crashes must not take the installation with it.
  const script = `require('node-gyp-build')(${JSON.stringify(root)})`;
  return spawnSync(process.execPath, ['-e', script], { cwd: root, stdio: 'ignore' }).status === 0;
}

function main() {
  if (flags.has('--strict')) return cmake('strict', { STRICT: true, OUTPUT: 'build/strict/out' });
  for (const [flag, options] of Object.entries(testBuilds))
    if (flags.has(flag)) return testBuild(flag.slice(2), options);
  const forced = process.env.npm_config_build_from_source === 'true';
  if (flags.has('--if-needed') && !forced && loads()) return true;
  const built = build();
  if (!built)
    say(
      'build failed; a C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make)',
    );
  if (built && flags.has('--prebuild')) prebuild();
  return built;
}

process.exit(main() ? 0 : 1);
