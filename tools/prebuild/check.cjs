#!/usr/bin/env node
'use strict';
// node tools/prebuild/check.cjs: fails unless prebuilds/ has a binary for every target, from the sources as they are, that needs
// no newer C library than the targets' floor and nothing that a machine may lack, and the licences of what is linked into them.
// With --present (npm pack): only of the binaries that are there; without any the package is compiled where it is installed.
const fs = require('node:fs');
const path = require('node:path');
const { describe, higher } = require('./binary.cjs');
const { sourcesDigest } = require('./digest.cjs');
const { floor, targets } = require('./targets.cjs');

const folder = path.join(__dirname, '../../prebuilds');
const cudaFolder = path.join(__dirname, '../../prebuilds-cuda');
/** Of what Zig links into the binaries. */
const licencesFile = 'LICENSES.txt';

const formats = { Linux: 'elf', Darwin: 'mach-o', Windows: 'pe' };
/** Libraries that are there wherever Node.js is. */
const usual = {
  glibc: /^(lib(c|m|pthread|dl|rt)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$/,
  musl: /^libc\.(so|musl-[a-z0-9_]+\.so\.1)$/,
  Darwin: /^\/usr\/lib\/libSystem\.B\.dylib$/,
  Windows:
    /^(node\.exe|kernel32\.dll|ntdll\.dll|advapi32\.dll|shell32\.dll|msvcrt\.dll|ucrtbase\.dll|api-ms-win-crt-[a-z0-9-]+\.dll)$/i,
};

/** The faults of a target's binary. */
function faults({ name, system, file }) {
  const full = path.join(folder, file);
  if (!fs.existsSync(full)) return ['is missing'];
  const found = describe(full);
  const libc = /musl/.test(name) ? 'musl' : system === 'Linux' ? 'glibc' : system;
  const all = [];
  if (found.format !== formats[system] || found.machine !== name.split('-')[1])
    all.push(`is ${found.format} for ${found.machine}`);
  for (const library of found.libraries)
    if (!usual[libc].test(library)) all.push(`needs ${library}`);
  for (const [library, version] of Object.entries(found.versions))
    if (floor[library] && higher(version, floor[library]) !== floor[library])
      all.push(`needs ${library}_${version}; the floor is ${library}_${floor[library]}`);
  if (found.symbols) all.push('is not stripped');
  if (system === 'Darwin' && found.machine === 'arm64' && found.signature !== 'valid')
    all.push(`has no valid signature: ${found.signature}`);
  return all;
}

function builtFrom() {
  const file = path.join(folder, 'built-from.json');
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {};
}

/** Every fault of what is in prebuilds/, a line each. */
function check(wanted = targets) {
  const from = builtFrom();
  const now = sourcesDigest();
  const licences = wanted.length === 0 || fs.existsSync(path.join(folder, licencesFile));
  const missing = licences ? [] : [`prebuilds/${licencesFile} is missing`];
  if (fs.existsSync(cudaFolder) && !fs.existsSync(path.join(cudaFolder, 'LICENSE-NVIDIA.txt')))
    missing.push(
      'prebuilds-cuda/LICENSE-NVIDIA.txt is missing; `npm run prebuild -- --cuda` writes it',
    );
  return missing.concat(
    wanted.flatMap((target) => [
      ...faults(target).map((fault) => `prebuilds/${target.file} ${fault}`),
      ...(from[target.name] === now
        ? []
        : [`prebuilds/${target.file} was not built from these sources by --all`]),
    ]),
  );
}

if (require.main === module) {
  const isThere = ({ file }) => fs.existsSync(path.join(folder, file));
  const found = check(process.argv.includes('--present') ? targets.filter(isThere) : targets);
  for (const fault of found) console.error(`mask-predict: ${fault}`);
  if (found.length > 0)
    console.error(
      'mask-predict: `npm run prebuild -- --all` builds them, on Linux x64; for a tarball of your own machine: npm pack --ignore-scripts',
    );
  process.exitCode = found.length > 0 ? 1 : 0;
}

module.exports = { builtFrom, check, folder, licencesFile };
