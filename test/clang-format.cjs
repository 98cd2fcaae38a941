'use strict';
// The style of the C++ and CUDA sources (.clang-format):
//   node test/clang-format.cjs [--check]   formats them all; with --check says which are not formatted, and fails
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
// Other versions break some lines elsewhere.
const version = 14;

const program = [`clang-format-${version}`, 'clang-format'].find((name) => {
  const { stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' });
  return new RegExp(`version ${version}\\.`).test(stdout ?? '');
});
if (!program) {
  console.error(`clang-format ${version} is needed: apt-get install clang-format-${version}`);
  process.exit(1);
}

const files = ['native', 'test', 'bench'].flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true })
    .map((name) => path.join(folder, name))
    .filter((name) => /\.(h|cuh|cpp|cu)$/.test(name) && !name.split(path.sep).includes('.tap')),
);
const action = process.argv.includes('--check') ? ['--dry-run', '-Werror'] : ['-i'];
const { status } = spawnSync(program, [...action, ...files], { cwd: root, stdio: 'inherit' });
process.exit(status ?? 1);
