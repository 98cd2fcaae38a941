#!/usr/bin/env node
'use strict';
// npm run prebuild: binaries for the package's tarball, in prebuilds/.
//   npm run prebuild                            this machine's own, for itself and machines that are no older
//   npm run prebuild -- --all                   every system's, of targets.cjs, on Linux x64; CPU kernels only
//   npm run prebuild -- --target linux-arm64    one of them; as often as wanted
//   npm run prebuild -- --cuda                  this machine's own with CUDA kernels, in prebuilds-cuda/; needs nvcc
// Environment: JOBS, parallel compilers; MASK_PREDICT_TOOLS, where the compiler is kept.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { builtFrom, check, folder, licencesFile } = require('./check.cjs');
const { crossBuild, works } = require('./cross.cjs');
const { sourcesDigest } = require('./digest.cjs');
const { packageFolder } = require('./package-cache.cjs');
const { targets } = require('./targets.cjs');

const say = (message) => console.error(`mask-predict: ${message}`);

function own(flag) {
  const build = path.join(__dirname, '../../native/build.cjs');
  return spawnSync(process.execPath, [build, flag], { stdio: 'inherit' }).status ?? 1;
}

/** The licences of the libraries that Zig links in: LLVM's C++ library, its own runtime, and Windows' start-up code. */
function writeLicences() {
  const zig = packageFolder('zig');
  const texts = [
    ['Zig: compiler-rt', 'LICENSE'],
    ['LLVM: libc++', 'lib/libcxx/LICENSE.TXT'],
    ['LLVM: libc++abi', 'lib/libcxxabi/LICENSE.TXT'],
    ['LLVM: libunwind', 'lib/libunwind/LICENSE.TXT'],
    ['mingw-w64 (Windows)', 'lib/libc/mingw/COPYING'],
  ].map(([name, file]) => `==== ${name} ====\n\n${fs.readFileSync(path.join(zig, file), 'utf8')}`);
  const head =
    'Libraries that are linked into the binaries beside this file, and their licences.\n\n';
  fs.writeFileSync(path.join(folder, licencesFile), head + texts.join('\n'));
}

/** The targets of these names; undefined, and a message, if one is unknown. */
function named(names) {
  const unknown = names.find((name) => !targets.some((target) => target.name === name));
  if (unknown === undefined) return targets.filter(({ name }) => names.includes(name));
  say(`there is no target ${unknown}; there are ${targets.map(({ name }) => name).join(', ')}`);
  return undefined;
}

function keep(target, binary, digest) {
  const file = path.join(folder, target.file);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.copyFileSync(binary, file);
  const from = { ...builtFrom(), [target.name]: digest };
  fs.writeFileSync(path.join(folder, 'built-from.json'), `${JSON.stringify(from, null, 2)}\n`);
}

function all(wanted) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    say(
      `the other systems' binaries are built on linux-x64; this is ${process.platform}-${process.arch}`,
    );
    return 1;
  }
  if (!works('cmake')) {
    say('there is no cmake (Debian: apt-get install cmake)');
    return 1;
  }
  const digest = sourcesDigest();
  for (const target of wanted) {
    say(`building ${target.name}`);
    keep(target, crossBuild(target), digest);
  }
  writeLicences();
  const found = check(wanted);
  found.forEach(say);
  for (const { file } of wanted)
    say(
      `prebuilds/${file}, ${(fs.statSync(path.join(folder, file)).size / 2 ** 20).toFixed(1)} MiB`,
    );
  return found.length > 0 ? 1 : 0;
}

function main() {
  const { values } = parseArgs({
    options: {
      all: { type: 'boolean' },
      cuda: { type: 'boolean' },
      target: { type: 'string', multiple: true },
    },
  });
  if (values.cuda) return own('--prebuild-cuda');
  if (!values.all && !values.target) return own('--prebuild');
  const wanted = values.all ? targets : named(values.target);
  return wanted ? all(wanted) : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}
