'use strict';
// Builds the addon into build/Release, with CMake from the object files in build/cmake: only what has changed is compiled.
// Plain CommonJS: it runs before anything is compiled. Needs no network.
//   node native/build.cjs [--if-needed] [--clean] [--prebuild] [--strict | --debug | --gyp | --simt | …]
//     --if-needed  nothing if a binary that loads is there
//     --clean      compiles everything anew
//     --prebuild   copies the binary into prebuilds/, which the package's tarball contains
//     --prebuild-cuda  builds one with CUDA kernels and a C++ library inside, into prebuilds-cuda/, likewise
// Builds in folders of their own; the binary in use stays:
//     --strict     warnings are errors; into build/strict
//     --debug      with symbols, for a debugger or profiler; into build/debug
//     --gyp        with node-gyp, as where CMake is missing; into build/gyp
//     --simt       the CUDA kernels on an emulated device, for tests (native/simt); into build/simt
//     --simt-sanitized  the same with AddressSanitizer and UndefinedBehaviorSanitizer, into build/simt-sanitized
//     --thread-sanitized  the CPU kernels with ThreadSanitizer, into build/thread-sanitized
// MASK_PREDICT_PREBUILD=$PWD/build/debug lets the package load that one instead; the path must be absolute.
//
// node-gyp builds only where there is no CMake. Where CMake is there and the compiler fails, node-gyp would fail too.
// Environment: JOBS, parallel compilers; MASK_PREDICT_CUDA=on|off, CUDA kernels (default: where nvcc works);
// CUDACXX, CUDA_PATH, CUDAARCHS; MASK_PREDICT_PORTABLE=1, static libstdc++. ccache is used where it is installed.
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

/** CMake is there, and not too old for CMakeLists.txt. */
function hasCmake() {
  const { stdout } = spawnSync('cmake', ['--version'], { encoding: 'utf8' });
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout ?? '') ?? [];
  return major > 3 || (major == 3 && minor >= 24);
}

function cmake(folder, options) {
  const out = path.join(root, 'build', folder);
  const all = { PORTABLE: !!process.env.MASK_PREDICT_PORTABLE, ...options };
  const cmakeJs = (command, ...args) =>
    run(process.execPath, [
      require.resolve('cmake-js/bin/cmake-js'),
      command,
      '--out',
      out,
      ...args,
    ]);
  const configure = () =>
    cmakeJs(
      'configure',
      ...Object.entries(all).map(
        ([name, value]) =>
          `--CDMASK_PREDICT_${name}=${value === true ? 'ON' : value === false ? 'OFF' : value}`,
      ),
    );
  const configured = fs.existsSync(path.join(out, 'CMakeCache.txt'));
  if (flags.has('--clean')) fs.rmSync(out, { recursive: true, force: true });
  if (!configure()) {
    // An earlier call may have configured the folder for another compiler or generator.
    if (!configured || flags.has('--clean')) return false;
    fs.rmSync(out, { recursive: true, force: true });
    if (!configure()) return false;
  }
  return cmakeJs('build', '--parallel', process.env.JOBS ?? String(os.availableParallelism()));
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
  if (!hasCmake()) return gyp() && replaceBinary('gyp');
  const asked = process.env.MASK_PREDICT_CUDA ?? '';
  const compiler = /^(0|off|false|no)$/i.test(asked) ? undefined : nvcc();
  const must = /^(1|on|true|yes)$/i.test(asked);
  if (must && !compiler) say('MASK_PREDICT_CUDA asks for CUDA kernels, but there is no nvcc');
  if (compiler) {
    process.env.CUDACXX = compiler;
    if (cmake('cmake', { CUDA: true })) return exportCommands();
    say(
      'the CUDA kernels could not be built (see above)' +
        (must ? '' : '; building the CPU kernels only'),
    );
  }
  return !must && cmake('cmake', { CUDA: false }) && exportCommands();
}

/** The compiler's commands where an editor's language server looks for them. */
function exportCommands() {
  const commands = path.join(root, 'build/cmake/compile_commands.json');
  if (fs.existsSync(commands))
    fs.copyFileSync(commands, path.join(root, 'build/compile_commands.json'));
  return true;
}

// node-gyp empties the folder build/ of where it works: it is given one of its own, with links to what it compiles.
function gyp() {
  const folder = buildFolder('gyp');
  fs.copyFileSync(path.join(root, 'binding.gyp'), path.join(folder, 'binding.gyp'));
  const sources = path.join(folder, 'native');
  if (!fs.existsSync(sources)) fs.symlinkSync(__dirname, sources, 'junction');
  // Node's own headers, where the installation has them, instead of a download.
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  const own = fs.existsSync(path.join(prefix, 'include/node/common.gypi')) ? prefix : undefined;
  const nodedir = process.env.npm_config_nodedir ?? own;
  const args = ['rebuild', '-C', folder, ...(nodedir ? [`--nodedir=${nodedir}`] : [])];
  const npms = process.env.npm_config_node_gyp;
  return npms ? run(process.execPath, [npms, ...args]) : run('npx', ['node-gyp', ...args]);
}

/** Takes the binary of another folder into use. By renaming: a process that has the old one keeps it. */
function replaceBinary(folder) {
  const used = path.join(root, 'build/Release/mask_predict.node');
  fs.mkdirSync(path.dirname(used), { recursive: true });
  fs.copyFileSync(
    path.join(root, 'build', folder, 'build/Release/mask_predict.node'),
    `${used}.new`,
  );
  fs.renameSync(`${used}.new`, used);
  return true;
}

/** Copies a binary to where node-gyp-build looks for it below `folder`. */
function prebuild(binary, folder) {
  const libc =
    process.platform === 'linux'
      ? process.report.getReport().header.glibcVersionRuntime
        ? '.glibc'
        : '.musl'
      : '';
  const own = path.join(root, folder, `${process.platform}-${process.arch}`);
  fs.mkdirSync(own, { recursive: true });
  fs.copyFileSync(path.join(root, binary), path.join(own, `mask-predict${libc}.node`));
}

/** NVIDIA's licence of the runtime that is linked in, as the toolkit brings it. */
function cudaLicence(compiler) {
  // It may be a link or a script: it says itself where it is.
  const dry = spawnSync(compiler, ['--dryrun', '-E', '-x', 'cu', os.devNull], { encoding: 'utf8' });
  const here = /^#\$ _HERE_=(.*)$/m.exec(dry.stderr)?.[1];
  if (!here) return undefined;
  const toolkit = path.join(here, '..');
  const information = path.join(toolkit, 'dist-info');
  const packages = fs.existsSync(information) ? fs.readdirSync(information) : [];
  const runtime = packages.find((name) => name.startsWith('nvidia_cuda_runtime-')) ?? '';
  return [
    path.join(toolkit, 'EULA.txt'),
    path.join(information, runtime, 'licenses/License.txt'),
  ].find((file) => fs.existsSync(file));
}

function prebuildCuda() {
  const compiler = nvcc();
  if (!compiler) return say('there is no nvcc');
  const licence = cudaLicence(compiler);
  if (!licence) return say(`the toolkit of ${compiler} has no licence text to publish with it`);
  process.env.CUDACXX = compiler;
  const output = 'build/prebuild/cuda/out';
  if (!cmake('prebuild/cuda/cmake', { CUDA: true, PORTABLE: true, OUTPUT: output })) return false;
  prebuild(path.join(output, 'mask_predict.node'), 'prebuilds-cuda/prebuilds');
  fs.copyFileSync(licence, path.join(root, 'prebuilds-cuda/LICENSE-NVIDIA.txt'));
  return true;
}

// MASK_PREDICT_PREBUILD=…/build/FOLDER loads the binary of a folder: the loader looks for a package of that name there.
function buildFolder(name) {
  const folder = path.join(root, 'build', name);
  fs.mkdirSync(folder, { recursive: true });
  fs.copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
  return folder;
}

function separateBuild(name, options) {
  const built = cmake(name, { ...options, OUTPUT: `build/${name}/build/Release` });
  return built && buildFolder(name) !== undefined;
}

const separateBuilds = {
  '--debug': { DEBUG: true },
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
  if (flags.has('--gyp')) return gyp();
  if (flags.has('--prebuild-cuda')) return prebuildCuda();
  if (flags.has('--strict')) return cmake('strict', { STRICT: true, OUTPUT: 'build/strict/out' });
  for (const [flag, options] of Object.entries(separateBuilds))
    if (flags.has(flag)) return separateBuild(flag.slice(2), options);
  const forced = process.env.npm_config_build_from_source === 'true';
  if (flags.has('--if-needed') && !forced && loads()) return true;
  const built = build();
  if (!built)
    say(
      hasCmake()
        ? 'build failed (see above); a C++20 compiler is needed, and the binary in use is the one from before'
        : 'build failed; a C++20 compiler and CMake 3.24 or later are needed (without CMake: Python 3 and make)',
    );
  if (built && flags.has('--prebuild')) prebuild('build/Release/mask_predict.node', 'prebuilds');
  return built;
}

process.exit(main() ? 0 : 1);
