'use strict';
// Compiles the addon for another system on Linux x64, with CMakeLists.txt and Zig's Clang, which has every target's headers
// and C library and links its C++ library into the addon.
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { cacheFolder, packageFolder, packages } = require('./package-cache.cjs');

const root = path.join(__dirname, '../..');
const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

function script(file, line) {
  const text = `#!/bin/sh\nexec ${line} "$@"\n`;
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text)
    fs.writeFileSync(file, text, { mode: 0o755 });
  return file;
}

/** Runs a program; throws if it fails. Zig's own library, compiled once for each target, goes into the cache. */
function run(command, args, target) {
  const { status, error } = spawnSync(command, args, {
    stdio: 'inherit',
    cwd: root,
    env: {
      ...process.env,
      ZIG_GLOBAL_CACHE_DIR: path.join(cacheFolder, 'zig-library'),
      ZIG_LOCAL_CACHE_DIR: path.join(root, 'build/prebuild/zig'),
      // Compiled once: ccache asks the compiler's own list of headers instead of preprocessing first.
      CCACHE_DEPEND: '1',
      CCACHE_COMPILERTYPE: 'clang',
      CCACHE_COMPILERCHECK: `string:zig ${packages.zig.version} ${target.zig}`,
    },
  });
  if (status !== 0)
    throw new Error(`${target.name}: ${command} failed${error ? `: ${error.message}` : ''}`);
}

/** Windows binds a function to the program that has it: Node.js. */
function importLibrary(zig, folder, target) {
  const library = path.join(folder, 'node_api.lib');
  const definitions = require('node-api-headers').def_paths.node_api_def;
  run(zig, ['dlltool', '-m', 'i386:x86-64', '-d', definitions, '-l', library], target);
  return library;
}

/** Builds one target; the path of the addon. Compiles only what changed since the last time. */
function crossBuild(target) {
  const folder = path.join(root, 'build/prebuild', target.name);
  fs.mkdirSync(folder, { recursive: true });
  const zig = path.join(packageFolder('zig'), 'zig');
  const output = path.join('build/prebuild', target.name, 'out');
  const includes = [
    require('node-addon-api').include_dir,
    require('node-api-headers').include_dir,
  ].map((include) => path.resolve(root, include));
  const options = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_SYSTEM_NAME: target.system,
    CMAKE_SYSTEM_PROCESSOR: target.processor,
    CMAKE_CXX_COMPILER: script(path.join(folder, 'clang++'), `${zig} c++ -target ${target.zig}`),
    CMAKE_AR: script(path.join(folder, 'ar'), `${zig} ar`),
    CMAKE_RANLIB: script(path.join(folder, 'ranlib'), `${zig} ranlib`),
    // CMake would find this out by linking programs, for which Zig compiles its C and C++ libraries once more.
    CMAKE_CXX_COMPILER_FORCED: 'ON',
    CMAKE_CXX_COMPILER_ID_RUN: 'ON',
    CMAKE_CXX_COMPILER_ID: 'Clang',
    CMAKE_CXX_COMPILER_VERSION: '16.0.6',
    CMAKE_CXX_COMPILER_FRONTEND_VARIANT: 'GNU',
    CMAKE_CXX_STANDARD_COMPUTED_DEFAULT: '17',
    CMAKE_CXX_COMPILE_FEATURES: 'cxx_std_20',
    CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
    // Nothing to link for threads: they are in every target's C library, and on Windows in the system's own.
    CMAKE_HAVE_LIBC_PTHREAD: 'ON',
    CMAKE_OSX_SYSROOT: '',
    CMAKE_OSX_DEPLOYMENT_TARGET: '',
    CMAKE_JS_INC: includes.join(';'),
    CMAKE_JS_SRC: /-gnu\.2/.test(target.zig) ? path.join(__dirname, 'old_glibc_stat.cpp') : '',
    CMAKE_JS_LIB: target.system === 'Windows' ? importLibrary(zig, folder, target) : '',
    MASK_PREDICT_OUTPUT: output,
  };
  const defined = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
  const generator = works('ninja') ? ['-G', 'Ninja'] : [];
  run('cmake', [...generator, '-S', root, '-B', path.join(folder, 'cmake'), ...defined], target);
  const jobs = process.env.JOBS ?? String(os.availableParallelism());
  run('cmake', ['--build', path.join(folder, 'cmake'), '--parallel', jobs], target);
  return path.join(root, output, 'mask_predict.node');
}

module.exports = { crossBuild, run, works };
