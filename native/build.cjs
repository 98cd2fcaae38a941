'use strict';
// Builds the addon into build/Release. Plain CommonJS: it runs before anything is compiled. Needs no network.
//   node native/build.cjs [--if-needed] [--strict] [--gyp] [--prebuild]
//     --if-needed  nothing if a binary that loads is there
//     --strict     compiles into build/strict with warnings as errors; the binary in use stays
//     --gyp        node-gyp even where CMake is there
//     --prebuild   copies the binary into prebuilds/, which the package's tarball contains
// Environment: JOBS, parallel compilers; MASK_PREDICT_PORTABLE=1, static libstdc++.
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

function cmake(folder, strict) {
  const on = (value) => (value ? 'ON' : 'OFF');
  return run(process.execPath, [
    require.resolve('cmake-js/bin/cmake-js'),
    'rebuild',
    '--out',
    path.join(root, 'build', folder),
    '--parallel',
    process.env.JOBS ?? String(os.availableParallelism()),
    `--CDMASK_PREDICT_STRICT=${on(strict)}`,
    `--CDMASK_PREDICT_PORTABLE=${on(process.env.MASK_PREDICT_PORTABLE)}`,
  ]);
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

function loads() {
  // In a process of its own: a binary that crashes must not take the installation with it.
  const script = `require('node-gyp-build')(${JSON.stringify(root)})`;
  return spawnSync(process.execPath, ['-e', script], { cwd: root, stdio: 'ignore' }).status === 0;
}

function main() {
  if (flags.has('--strict')) return works('cmake') && cmake('strict', true);
  const forced = process.env.npm_config_build_from_source === 'true';
  if (flags.has('--if-needed') && !forced && loads()) return true;
  const built = (!flags.has('--gyp') && works('cmake') && cmake('cmake', false)) || gyp();
  if (!built)
    say(
      'build failed; a C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make)',
    );
  if (built && flags.has('--prebuild')) prebuild();
  return built;
}

process.exit(main() ? 0 : 1);
