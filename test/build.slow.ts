/**
 * native/build.cjs over a few files of its own: an edit compiles what it touched, a mistake leaves the binary in use as it
 * was, and other builds have folders of their own. Skipped without CMake.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const root = fileURLToPath(new URL('..', import.meta.url));
const missing = spawnSync('cmake', ['--version']).status !== 0;
const skip = missing && 'CMake is not here';
const project = t.testdir({ native: {} });
const all = ['avx2', 'avx512', 'cpu', 'other', 'posix', 'system'];
const binary = join(project, 'build/Release/mask_predict.node');

for (const file of [
  'CMakeLists.txt',
  'package.json',
  'native/build.cjs',
  'native/exports.map',
  'native/sources.cmake',
]) {
  copyFileSync(join(root, file), join(project, file));
}
write('sources.json', JSON.stringify(sources()));
write('shared.h', 'int answer();\n');
for (const name of all) {
  write(`${name}.cpp`, name === 'cpu' ? '#include "shared.h"\nint answer() { return 1; }\n' : '\n');
}

function sources() {
  const file = (name: string) => `native/${name}.cpp`;
  return {
    cpu: [file('cpu'), file('other')],
    posix: [file('posix')],
    linux: [file('system')],
    macos: [file('system')],
    windows: [file('system')],
    avx2: [file('avx2')],
    avx512: [file('avx512')],
    cuda: ['native/none.cu'],
  };
}

function write(name: string, text: string) {
  mkdirSync(join(project, 'native'), { recursive: true });
  writeFileSync(join(project, 'native', name), text);
}

/** Checks that a build succeeds, and what it compiles. */
function compiles(t: Test, names: string[], what: string, ...flags: string[]) {
  const { status, output, compiled } = build(...flags);
  t.equal(status, 0, status === 0 ? what : output);
  t.same(compiled, names, what);
}

/** Runs a build to its end; `compiled`: the files it compiled. */
function build(...flags: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(project, 'native/build.cjs'), ...flags],
    {
      cwd: project,
      encoding: 'utf8',
      env: { ...process.env, MASK_PREDICT_CUDA: 'off', JOBS: '1' },
    },
  );
  const output = stdout + stderr;
  const compiled = [...output.matchAll(/Building CXX object \S*\/(\w+)\.cpp\.o/g)];
  return { status, output, compiled: compiled.map(([, name]) => name).sort() };
}

t.test('an edit compiles what it touched', { skip }, async (t) => {
  compiles(t, all, 'everything is new');
  t.ok(existsSync(binary));
  compiles(t, [], 'nothing has changed');
  write('shared.h', 'int answer();\nint question();\n');
  compiles(t, ['cpu'], 'what includes the header');
  compiles(t, all, '--clean', '--clean');
});

t.test('the compiler commands are written', { skip }, async (t) => {
  const text = readFileSync(join(project, 'build/compile_commands.json'), 'utf8');
  const files = (JSON.parse(text) as { file: string }[]).map(({ file }) => file);
  t.same(
    files.sort(),
    all.map((name) => join(project, `native/${name}.cpp`)),
  );
});

t.test('a mistake leaves the binary as it was', { skip }, async (t) => {
  const before = readFileSync(binary);
  write('other.cpp', 'this is no C++\n');
  const failed = build();
  t.match(failed, { status: 1, output: /build failed \(see above\)/ });
  t.notMatch(failed.output, /gyp/, 'node-gyp would fail too, and empty build/ before');
  t.equal(failed.output.match(/error: /g)?.length, 1, 'compiled once');
  t.same(readFileSync(binary), before);
  write('other.cpp', '\n');
  compiles(t, ['other'], 'the others need not be compiled again');
});

t.test('--debug: symbols, in a folder of its own', { skip }, async (t) => {
  const before = readFileSync(binary);
  compiles(t, all, 'has objects of its own', '--debug');
  const debug = readFileSync(join(project, 'build/debug/build/Release/mask_predict.node'));
  t.ok(debug.includes('.debug_info'), 'symbols');
  t.ok(existsSync(join(project, 'build/debug/package.json')), 'MASK_PREDICT_PREBUILD finds it');
  t.notOk(before.includes('.debug_info'), 'none in the binary in use');
  t.same(readFileSync(binary), before);
});
