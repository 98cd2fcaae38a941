/** Node.js under flags and limits that mask-predict cannot work with: the error says so, and not that a file is damaged. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { native } from '../lib/token/native.js';
import { built } from './built-package.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const script = `
  const error = await import(${JSON.stringify(built)})
    .then(async ({ MaskPredict }) => {
      const model = await MaskPredict.load();
      const { text } = await model.generate('Write the number 3 in English words.');
      await model.close();
      return { code: text };
    })
    .catch((reason) => reason);
  console.log(error.code, error.message ?? '');`;

const file = join(t.testdir({ 'script.mjs': script }), 'script.mjs');

/**
 * The output of the script under these flags, and after this command of the shell; tap adds a module to every program.
 */
function run(flags: string[], before = ':') {
  const node = [process.execPath, ...flags, file];
  const { status, stdout } = spawnSync(
    '/bin/sh',
    ['-c', `unset NODE_OPTIONS; ${before}; exec "$@"`, 'sh', ...node],
    {
      env: { ...process.env, MASK_PREDICT_DEVICE: 'cpu' },
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  return { status, stdout };
}

const permission =
  Number(process.versions.node.split('.')[0]) < 24 ? '--experimental-permission' : '--permission';

for (const [name, flags, expected] of [
  ['no addons', ['--no-addons'], /^ERR_DEVICE .* may load none: .*\n.* without --no-addons/],
  [
    'no addons by permission',
    [permission, '--allow-fs-read=*'],
    /^ERR_DEVICE .*\n.*--allow-addons too/,
  ],
  ['no WebAssembly', ['--jitless'], /^ERR_TOKENIZER .* needs WebAssembly, .* without --jitless/],
  [
    'no code made of strings',
    ['--disallow-code-generation-from-strings'],
    /^ERR_TOKENIZER .* without --disallow-code-generation-from-strings/,
  ],
  ['what it needs is allowed', [permission, '--allow-addons', '--allow-fs-read=*'], /^three/],
] as const) {
  t.test(name, async (t) => t.match(run([...flags]), { status: 0, stdout: expected }));
}

const linux = process.platform === 'linux' ? false : 'ulimit -v is of Linux';
t.test('too few addresses', { skip: linux }, async (t) => {
  // Node.js itself begins with less than 1.5 GiB of them.
  t.match(run([], 'ulimit -v 2000000'), {
    status: 0,
    stdout: /^ERR_OUT_OF_MEMORY .*ulimit -v/,
  });
});

t.test('a binary of another system', { skip: linux }, async (t) => {
  const directory = t.testdir({ build: { Release: { 'mask_predict.node': 'not a library' } } });
  const error = execFileSync(
    process.execPath,
    [
      '-e',
      `try { require('./native/binding.cjs') } catch ({ code, message }) { console.log(code, message) }`,
    ],
    { cwd: root, encoding: 'utf8', env: { ...process.env, MASK_PREDICT_PREBUILD: directory } },
  );
  t.match(
    error,
    /^ERR_DEVICE .*mask_predict\.node cannot be loaded by Node\.js v.*\n.*another system or is damaged/,
  );
});

t.test(
  'a binary with CUDA kernels is loaded where there is a driver',
  { skip: linux },
  async (t) => {
    const here = `${process.platform}-${process.arch}`;
    const libc = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
    const name = `mask-predict.${libc.header?.glibcVersionRuntime ? 'glibc' : 'musl'}.node`;
    const addon = readFileSync(native.loadedFrom);
    const { NODE_OPTIONS: _, MASK_PREDICT_PREBUILD: __, ...environment } = process.env;
    /** The addon that a package with these binaries loads. With `driver`, the file of NVIDIA's driver seems to exist. */
    const loads = (binaries: object, driver: boolean) => {
      const directory = t.testdir({
        native: { 'binding.cjs': readFileSync(join(root, 'native/binding.cjs')) },
        node_modules: {
          'node-gyp-build': t.fixture('symlink', join(root, 'node_modules/node-gyp-build')),
        },
        prebuilds: { [here]: { [name]: addon } },
        ...binaries,
        'driver.cjs': `
        const fs = require('node:fs');
        const { existsSync } = fs;
        fs.existsSync = (path) => path === '/proc/driver/nvidia/version' ? ${driver} : existsSync(path);`,
      });
      const output = execFileSync(
        process.execPath,
        [
          '-r',
          './driver.cjs',
          '-p',
          `const { loadedFrom, refused } = require('./native/binding.cjs'); JSON.stringify([loadedFrom, refused])`,
        ],
        { cwd: directory, encoding: 'utf8', env: environment },
      );
      const [file, refused] = JSON.parse(output) as [string, string | null];
      return [file.slice(directory.length + 1), refused];
    };
    const ordinary = `prebuilds/${here}/${name}`;
    const cuda = { 'prebuilds-cuda': { prebuilds: { [here]: { [name]: addon } } } };
    t.same(loads(cuda, true), [`prebuilds-cuda/${ordinary}`, null]);
    t.same(loads(cuda, false), [ordinary, null], 'no driver');
    t.same(loads({}, true), [ordinary, null], 'no such binary');
    const newer = { 'prebuilds-cuda': { prebuilds: { [here]: { [name]: 'of another system' } } } };
    const [file, refused] = loads(newer, true);
    t.equal(file, ordinary);
    t.match(refused, /prebuilds-cuda.*node: (file too short|invalid ELF)/);
    const elsewhere = { 'prebuilds-cuda': { prebuilds: { 'linux-mips': { [name]: addon } } } };
    t.match(loads(elsewhere, true), [ordinary, /No native build/]);
  },
);
