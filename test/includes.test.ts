/**
 * The order of the native code's folders: an include stays in its folder or goes down, and files do not include each other
 * in a circle.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const native = fileURLToPath(new URL('../native', import.meta.url));

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

/** True if `path` may include `other`. */
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
