'use strict';
// Loads the addon: build/Release first, then a prebuilt binary of the package, where there is an NVIDIA driver the one
// with CUDA kernels. MASK_PREDICT_PREBUILD names another root. `loadedFrom` of what is exported is its path, `refused`
// why the binary with CUDA kernels did not load, if it was tried.
const fs = require('node:fs');
const path = require('node:path');
const nodeGypBuild = require('node-gyp-build');

const root = path.join(__dirname, '..');

/** Why there is no addon, and the way out. */
function failure(cause, file) {
  const [reason] = cause.message.split('\n');
  const build = path.join(__dirname, 'build.cjs');
  if (cause.code === 'ERR_DLOPEN_DISABLED') {
    return [
      `mask-predict's kernels are a native addon, and this Node.js may load none: ${reason}`,
      'Start it without --no-addons, and where it runs with --permission, with --allow-addons too.',
    ];
  }
  if (cause.code === 'ERR_ACCESS_DENIED') {
    return [
      `mask-predict may not read its own files: ${reason}`,
      `Where Node.js runs with --permission it needs --allow-addons and --allow-fs-read=${root}${path.sep}*`,
    ];
  }
  if (file !== undefined) {
    return [
      `mask-predict's native addon ${file} cannot be loaded by Node.js ${process.version} on ${process.platform}-${process.arch}: ${reason}`,
      'It was built for another system or is damaged. To build it here:',
      `  node ${build}`,
      'A C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make).',
    ];
  }
  return [
    `mask-predict has no native addon for ${process.platform}-${process.arch}, Node.js ${process.version}: ${reason}`,
    'It is built when the package is installed, unless install scripts are blocked. To build it now:',
    '  npm 12:    npm install-scripts approve mask-predict && npm rebuild mask-predict',
    '  npm <= 11: npm rebuild mask-predict',
    '  pnpm:      pnpm approve-builds',
    `  anywhere:  node ${build}`,
    'A C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make).',
  ];
}

/** The prebuilt binary with CUDA kernels, where there is a driver for it and nobody built or named another. */
function cudaBinary() {
  const folder = path.join(root, 'prebuilds-cuda');
  const drivers = ['/proc/driver/nvidia/version', '/dev/dxg']; // the latter in Windows' Linux
  const wanted =
    !process.env.MASK_PREDICT_PREBUILD &&
    !fs.existsSync(path.join(root, 'build/Release')) &&
    fs.existsSync(folder) &&
    drivers.some((driver) => fs.existsSync(driver));
  return wanted ? nodeGypBuild.path(folder) : undefined;
}

let file;
let refused;
try {
  try {
    const cuda = cudaBinary();
    if (cuda !== undefined) module.exports = require(cuda);
    file = cuda;
  } catch (cause) {
    // It needs the C library of the machine that built it, which may be newer than what the others need.
    refused = cause.message.split('\n')[0];
  }
  if (file === undefined) {
    file = nodeGypBuild.path(root);
    module.exports = nodeGypBuild(root);
  }
} catch (cause) {
  const error = new Error(failure(cause, file).join('\n'), { cause });
  error.code = 'ERR_DEVICE';
  throw error;
}
module.exports.loadedFrom = file;
module.exports.refused = refused;
