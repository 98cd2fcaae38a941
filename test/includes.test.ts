/**
 * The order of the native code's folders: an include stays in its folder or goes down, files do not include each other in
 * a circle, and a header needs no other before it.
 */
import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const native = fileURLToPath(new URL('../native', import.meta.url));
const compiler = process.env['CXX'] ?? 'g++';

/** The folders from the ground up; those of one floor do not know each other. */
const floors = [
  ['base'],
  ['cpu', 'cuda', 'simt'],
  ['ops'],
  ['model'],
  ['engine', 'training'],
  ['addon'],
];

const files = readdirSync(native, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => /\.(h|cuh|cpp|cu)$/.test(path));
/** The native files that each file includes, in its order. */
const includes = new Map(
  files.map((path) => {
    const text = readFileSync(join(native, path), 'utf8');
    return [path, [...text.matchAll(/^\s*#include "([^"]+)"/gm)].map(([, name]) => name!)];
  }),
);

function floorOf(path: string): number {
  return floors.findIndex((folders) => folders.includes(path.split('/')[0]!));
}

/** Whether `path` may include `other`. */
function allowed(path: string, other: string): boolean {
  const [from, to] = [path, other].map((name) => name.split('/')[0]!);
  // The emulated device takes the place of CUDA's own headers.
  return from === to || floorOf(other) < floorOf(path) || (from === 'cuda' && to === 'simt');
}

t.test('every file is in a folder that has a floor', async (t) => {
  t.ok(files.length > 100, `${files.length} files`);
  t.same(
    files.filter((path) => floorOf(path) === -1),
    [],
  );
});

t.test('no include runs upwards', async (t) => {
  const upwards = [...includes].flatMap(([path, others]) =>
    others.filter((other) => !allowed(path, other)).map((other) => `${path} includes ${other}`),
  );
  t.same(upwards, []);
});

t.test('what is included is there, under its full path', async (t) => {
  const missing = [...includes].flatMap(([path, others]) =>
    others.filter((other) => !includes.has(other)).map((other) => `${path} includes ${other}`),
  );
  t.same(missing, []);
});

t.test('no circle', async (t) => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (path: string, above: string[]) => {
    if (above.includes(path)) circles.push([...above.slice(above.indexOf(path)), path].join(' > '));
    if (done.has(path) || above.includes(path)) return;
    for (const other of includes.get(path) ?? []) visit(other, [...above, path]);
    done.add(path);
  };
  for (const path of files) visit(path, []);
  t.same(circles, []);
});

// A header that a source file includes before everything else is compiled alone by every build.
const first = new Set(
  [...includes].filter(([path]) => /\.(cpp|cu)$/.test(path)).map(([path]) => firstInclude(path)),
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
