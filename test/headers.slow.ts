/** A native header needs no other before it: each is compiled alone. */
import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const native = fileURLToPath(new URL('../native', import.meta.url));
const compiler = process.env['CXX'] ?? 'g++';
const files = readdirSync(native, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => /\.(h|cuh|cpp|cu)$/.test(path));

// A header that a source file includes before everything else is compiled alone by every build.
const first = new Set(
  files.filter((path) => /\.(cpp|cu)$/.test(path)).map((path) => firstInclude(path)),
);
const headers = files.filter(
  (path) => /\.(h|cuh)$/.test(path) && !first.has(path) && path !== 'cuda/ptx.cuh', // nvcc's
);

function firstInclude(path: string): string | undefined {
  return /^\s*#include ["<]([^">]+)/m.exec(readFileSync(join(native, path), 'utf8'))?.[1];
}

/** The compiler's complaint about a header by itself, if it has one. */
function complaint(path: string): Promise<string | undefined> {
  // Kernels are compiled over the vectors of an instruction set, which a source file chooses.
  const vectors = /^cpu\/(kernels|training)_/.test(path)
    ? '#include "cpu/vector_portable.h"\n'
    : '';
  const emulated = /^(cuda|simt)\/|\.cuh$/.test(path);
  const defined = emulated ? ['-DMASK_PREDICT_CUDA=1', '-DMASK_PREDICT_SIMT'] : [];
  const flags = ['-x', 'c++', '-std=c++20', '-fsyntax-only', '-Wno-unknown-pragmas'];
  return new Promise((resolve) => {
    const child = execFile(
      compiler,
      [...flags, ...defined, '-I', native, '-'],
      (error, _stdout, stderr) =>
        resolve(error ? `${path}: ${stderr.slice(0, 2000) || error.message}` : undefined),
    );
    child.stdin!.end(`${vectors}#include "${path}"\n`);
  });
}

const works = spawnSync(compiler, ['--version']).status === 0;
const skip = !works && `there is no ${compiler}`;
t.test('every header stands alone', { skip, timeout: 600_000 }, async (t) => {
  const left = [...headers];
  const complaints: (string | undefined)[] = [];
  const work = async () => {
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      complaints.push(await complaint(path));
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  t.equal(complaints.length, headers.length);
  t.same(
    complaints.filter((text) => text !== undefined),
    [],
  );
});
