'use strict';
// Builds the test programs of this folder (CMakeLists.txt), each flavour in a folder of its own under build/native-tests.
const { spawnSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');
const { include_dir } = require('node-api-headers');

const root = path.join(__dirname, '../..');

const flavours = {
  plain: { compiler: 'g++', sanitizers: '' },
  simt: { compiler: 'g++', sanitizers: '', simt: true },
  thread: { compiler: 'g++', sanitizers: 'thread' },
  address: { compiler: 'g++', sanitizers: 'address,undefined' },
  fuzz: { compiler: 'clang++', sanitizers: 'fuzzer,address,undefined' },
};

const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/** Why a flavour cannot be built here, or undefined. */
function missing(flavour) {
  const { compiler } = flavours[flavour];
  return [compiler, 'cmake'].find((tool) => !works(tool));
}

/** Builds programs of one flavour; the folder they are in. Throws with the compiler's words if that fails. */
function build(flavour, programs) {
  const { compiler, sanitizers, simt } = flavours[flavour];
  const folder = path.join(root, 'build/native-tests', flavour);
  const run = (args) => {
    const { status, stdout, stderr } = spawnSync('cmake', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cmake ${args.join(' ')}\n${stdout}${stderr}`);
  };
  const options = {
    CMAKE_CXX_COMPILER: compiler,
    SANITIZERS: sanitizers,
    NODE_API: include_dir,
    SIMT: simt ? 'ON' : 'OFF',
  };
  const defined = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
  run(['-S', __dirname, '-B', folder, ...defined]);
  const jobs = process.env.JOBS ?? String(os.availableParallelism());
  run(['--build', folder, '--parallel', jobs, '--target', ...programs]);
  return folder;
}

module.exports = { build, missing };
