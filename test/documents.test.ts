/** Documents name only what there is: commands of package.json, benchmarks of bench/main.mjs, files of the map. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const folders = ['bench', 'docs', 'examples', 'lib', 'models', 'native', 'page', 'test', 'tools'];
const files = [
  '.ci/run',
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((name) => !name.includes('node_modules')),
  ),
];
const written = files
  .filter((name) => /\.(md|[cm]?[jt]s|sh|py)$|^\.ci/.test(name))
  // The change log names commands that are gone.
  .filter((name) => name !== 'CHANGELOG.md' && name !== 'test/documents.test.ts')
  .map((name) => ({ name, text: read(name) }));

/** Everything that a pattern's first group finds in the repository's documents and comments, with the file. */
function mentions(pattern: RegExp): { name: string; found: string }[] {
  return written.flatMap(({ name, text }) =>
    [...text.matchAll(pattern)].map(([, found]) => ({ name, found: found! })),
  );
}

const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

t.test('every command that is mentioned is a script of package.json', async (t) => {
  const found = mentions(/\bnpm run[ \n*/]+([a-z][a-z0-9-]*(?::[a-z0-9-]+)?)/g);
  t.ok(found.length > 40, `${found.length} mentions`);
  t.same(
    found.filter(({ found }) => !Object.hasOwn(scripts, found)),
    [],
  );
});

t.test('every benchmark that is mentioned has a line in bench/main.mjs', async (t) => {
  const listed = execFileSync(process.execPath, [join(root, 'bench/main.mjs'), '--list'], {
    encoding: 'utf8',
  });
  const benchmarks = listed.trimEnd().split('\n');
  const names = benchmarks.map((line) => line.split(' ')[0]);
  for (const line of benchmarks) {
    const file = line.slice(line.indexOf('bench/'));
    t.ok(existsSync(join(root, file)), file);
  }
  const found = mentions(/\bbench -- ([a-z][a-z0-9-]*)/g);
  t.ok(found.length > 20, `${found.length} mentions`);
  t.same(
    found.filter(({ found }) => !names.includes(found)),
    [],
  );
});

t.test('every file that a script runs exists', async (t) => {
  for (const [name, command] of Object.entries(scripts))
    for (const [file] of command.matchAll(/(?:native|test|bench|tools|\.ci)\/[\w./-]+/g))
      t.ok(existsSync(join(root, file)), `${name}: ${file}`);
});

t.test('every path in ARCHITECTURE.md exists', async (t) => {
  const named = [...read('ARCHITECTURE.md').matchAll(/`([\w./*-]+)`/g)].map(([, path]) => path!);
  const isPath = (text: string) => text.includes('/') || /\.(h|cpp|cuh?|[cm]?[jt]s|md)$/.test(text);
  const paths = [...new Set(named.filter(isPath))].filter(
    (path) => !/^(mask-predict\/|NAME)/.test(path),
  );
  t.ok(paths.length > 40, `${paths.length} paths`);
  for (const path of paths) t.ok(exists(path), path);
});

/** A path from the root, or, where it has no folder, a file's name anywhere; `*` is any part of one name. */
function exists(path: string): boolean {
  const pattern = path.replaceAll('.', '\\.').replaceAll('*', '[^/]*').replace(/\/$/, '');
  const whole = new RegExp(`^${pattern}$`);
  return files.some(
    (file) => whole.test(path.includes('/') ? file : basename(file)) || whole.test(dirname(file)),
  );
}

t.test(
  'every environment variable that is read is in CONTRIBUTING.md or docs/hub.md',
  async (t) => {
    const sources = files
      .filter((name) => /^(native|lib|test|bench|tools)\/.*\.([cm]?[jt]s|cpp|cu|h)$/.test(name))
      .map(read);
    const name = '([A-Z][A-Z0-9_]+|npm_config_\\w+)';
    const pattern = new RegExp(
      `(?:process\\.env\\.|(?:process\\.env|environment)\\['|getenv\\("|given\\(')${name}`,
      'g',
    );
    const variables = new Set(
      sources.flatMap((source) => [...source.matchAll(pattern)].map(([, found]) => found!)),
    );
    t.ok(variables.size > 25, `${variables.size} variables`);
    const documents = read('CONTRIBUTING.md') + read('docs/hub.md');
    // The older names of the hub's variables are in the code that reads them.
    for (const variable of variables) t.ok(documents.includes(`\`${variable}`), variable);
  },
);
