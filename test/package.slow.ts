/**
 * The tarball that npm publishes: what is in it and what is not, and that it works once installed into an
 * empty project, from ES modules, CommonJS and TypeScript and by its program. Needs dist/, build/ and a
 * registry (or npm's cache) that has the dependencies.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { addPrebuild, install, pack, run } from './packed-package.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const project = t.testdir({ 'package.json': '{ "private": true }' });

const packed = pack(project);
const paths = packed.files.map(({ path }) => path);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
  main: string;
  dependencies: Record<string, string>;
  exports: Record<string, string | { import: { types: string }; require: { types: string } }>;
};

t.test('what is in the tarball', async (t) => {
  for (const model of [/^models\/numbers\//, /^models\/translate\//])
    t.same(readdir(model), [
      'README.md',
      'config.json',
      'model.safetensors',
      'sentencepiece.bpe.model',
    ]);
  for (const path of [
    'package.json',
    'README.md',
    'LICENSE',
    'binding.gyp',
    'CMakeLists.txt',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/token/operations.js',
    'dist/token/operations.d.ts',
    'dist/evaluation/index.js',
    'dist/evaluation/index.d.ts',
    'page/index.html',
    'page/style.css',
    'page/script.js',
    'page/event-stream.js',
    'native/binding.cjs',
    'native/binding.d.cts',
    'native/build.cjs',
    'native/addon/addon.cpp',
    ...Object.values(manifest.bin),
  ]) {
    t.ok(paths.includes(path), path);
  }
  const sources = JSON.parse(readFileSync(join(root, 'native/sources.json'), 'utf8')) as unknown;
  for (const source of strings(sources).filter((text) => /\.(cpp|cu)$/.test(text))) {
    t.ok(paths.includes(source), `${source}, which is compiled`);
  }
  const strangers = paths.filter((path) =>
    /^(test|build|bench|lib(?!\/require\/)|node_modules|\.)|\.test\.|fixtures|\.(tgz|o|log)$|(^|\/)\.[^/]/.test(
      path,
    ),
  );
  t.same(strangers, [], 'no tests, no build output, nothing hidden');
  const forTests = paths.filter((path) =>
    /^native\/(?!(base|cpu|cuda|ops|model|engine|training|addon)\/|(binding|build)\.cjs$|binding\.d\.cts$|sources\.|exports\.map$)/.test(
      path,
    ),
  );
  t.same(forTests, [], 'of native/ what the addon is built from: no emulated device, no report');
  t.ok(paths.includes(manifest.main.slice(2)), 'main, for resolvers that know no exports');
  t.ok(packed.size < 25 * 2 ** 20, `${(packed.size / 2 ** 20).toFixed(1)} MiB`);
});

t.test('declarations show what is exported and nothing internal', async (t) => {
  const exported = new Set<string>();
  const entries = Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [entry.import.types.slice(2)],
  );
  const declarations = reachable(...entries);
  for (const entry of entries) {
    for (const [, names] of declarations.get(entry)!.matchAll(/^export (?:type )?\{([^}]*)\}/gms)) {
      for (const name of names!.split(',')) exported.add(name.replace(/^\s*type /, '').trim());
    }
  }
  t.ok(declarations.size > 10, `${declarations.size} files`);
  for (const [path, text] of declarations) {
    t.notMatch(path, /binding|native/, 'the surface of the addon');
    t.notMatch(text, /@internal|\bNative[A-Z]/, `${path}: nothing internal`);
    if (entries.includes(path)) continue;
    const names = text.matchAll(
      /^export (?:declare )?(?:class|interface|type|function|const|let) (\w+)/gm,
    );
    for (const [, name] of names) t.ok(exported.has(name!), `${path}: ${name} is exported`);
  }
});

t.test('the declarations for CommonJS name every value', async (t) => {
  for (const entry of Object.values(manifest.exports)) {
    if (typeof entry === 'string') continue;
    const text = readFileSync(join(root, entry.require.types), 'utf8');
    const declared = [...text.matchAll(/^export declare const (\w+)/gm)].map(([, name]) => name!);
    const [file] = /\.\.\/\.\.\/dist\/[\w/]+\.js/.exec(text)!;
    const module = (await import(join(root, 'lib/require', file))) as object;
    t.same(declared.sort(), Object.keys(module).sort(), entry.require.types);
    for (const name of declared.filter((one) => /^[A-Z]/.test(one)))
      t.match(text, `export type ${name} = api.${name};`);
  }
});

/** The declarations that a program reads which imports one of these, by path. */
function reachable(...paths: string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
    if (found.has(path)) continue;
    const text = readFileSync(join(root, path), 'utf8');
    found.set(path, text);
    for (const [, other] of text.matchAll(/from '(\.[^']+)'/g)) {
      paths.push(join(dirname(path), other!).replace(/\.(c?)js$/, '.d.$1ts'));
    }
  }
  return found;
}

function readdir(folder: RegExp): string[] {
  return paths
    .filter((path) => folder.test(path))
    .map((path) => path.replace(folder, ''))
    .sort();
}

/** All strings inside a value. */
function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(strings);
}

t.test('installed', async (t) => {
  install(project, [join(project, packed.filename)]);
  const own = join(project, 'node_modules/mask-predict');
  const node = (file: string, text: string) => {
    writeFileSync(join(project, file), text);
    return run(process.execPath, [file], project);
  };

  const prebuilds = join(own, 'prebuilds');
  if (existsSync(prebuilds)) renameSync(prebuilds, `${prebuilds}-of-the-tarball`);
  const without = node(
    'without.mjs',
    `const error = await import('mask-predict').catch((reason) => reason);
    console.log(error.code, error.message);`,
  );
  t.match(without, {
    status: 0, // the error was caught
    stdout: /^ERR_DEVICE mask-predict has no native addon for .*npm rebuild mask-predict/s,
  });
  const measures = node(
    'measures.mjs',
    `import { accuracy, bleu } from 'mask-predict/evaluation';
    console.log(bleu(['It is one of two.'], [['It is one of two.']]).score.toFixed(6), accuracy(['C.'], ['C']).score);`,
  );
  t.match(
    measures,
    { status: 0, stderr: '', stdout: '100.000000 1\n' },
    'the measures need no addon',
  );
  if (existsSync(`${prebuilds}-of-the-tarball`)) {
    renameSync(`${prebuilds}-of-the-tarball`, prebuilds);
  } else {
    addPrebuild(own);
  }

  const answer = `
    const model = await MaskPredict.load();
    const { text } = await model.generate('Write the number 4217 in German words.');
    await model.close();
    const rows = operations.meanRows({
      input: Float32Array.of(1, 2, 3, 4), offsets: Int32Array.of(0, 2), width: 2,
    });
    const { score } = chrf([text], [[text]]);
    console.log(text, [...rows].join(' '), manifest.name, score);`;
  const expected = {
    status: 0,
    stderr: '',
    stdout: 'viertausendzweihundertsiebzehn 2 3 mask-predict 100\n',
  };
  t.match(
    node(
      'module.mjs',
      `import { MaskPredict } from 'mask-predict';
      import * as operations from 'mask-predict/operations';
      import { chrf } from 'mask-predict/evaluation';
      import manifest from 'mask-predict/package.json' with { type: 'json' };
      process.removeAllListeners('warning'); // JSON modules are experimental in Node 20
      ${answer}`,
    ),
    expected,
    'from an ES module',
  );
  t.match(
    node(
      'common.cjs',
      `const { MaskPredict } = require('mask-predict');
      const operations = require('mask-predict/operations');
      const { chrf } = require('mask-predict/evaluation');
      const manifest = require('mask-predict/package.json');
      (async () => {${answer}})();`,
    ),
    expected,
    'from CommonJS',
  );
  const inner = node(
    'inner.mjs',
    `const error = await import('mask-predict/dist/token/engine.js').catch(({ code }) => code);
    console.log(error);`,
  );
  t.match(inner, { status: 0, stdout: 'ERR_PACKAGE_PATH_NOT_EXPORTED\n' }, 'nothing else');

  for (const [name, path] of Object.entries(manifest.bin)) {
    t.match(readFileSync(join(own, path), 'utf8'), /^#!\/usr\/bin\/env node\n/, name);
    const help = run(join(project, 'node_modules/.bin', name), ['--help'], project);
    t.match(help, { status: 0, stdout: new RegExp(name) }, `${name} --help`);
  }

  writeFileSync(join(project, 'program.ts'), program);
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        lib: ['es2022', 'esnext.disposable'],
        module: 'nodenext',
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
      },
      files: ['program.ts'],
    }),
  );
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const compiled = run(process.execPath, [compiler, '-p', '.'], project);
  t.match(compiled, { status: 0, stdout: '' }, 'from TypeScript');
});

/** Uses every part of the API; a line marked as wrong has to be an error. */
const program = `
import {
  Engine, MaskPredict, MaskPredictError, Tokenizer, embeddedModel,
  Source, Target, type EngineConfig, type ErrorCode, type Generation, type RefinementStep,
} from 'mask-predict';
import { lmHeadArgmax, packWeight, type PackedWeight } from 'mask-predict/operations';
import { bleu, bleuStatistics, bootstrap, rouge, type BleuScore } from 'mask-predict/evaluation';

export async function main(): Promise<void> {
  await using model: MaskPredict = await MaskPredict.load(embeddedModel, {
    device: 'auto', precision: 'fp32', threads: 2, memoryLimit: 2 ** 30,
    onProgress: (fraction: number) => void fraction,
    logger: (level, message) => console.error(level, message),
  });
  const one: Generation = await model.generate('x', { length: { candidates: 3 }, iterations: 4 });
  const many: Generation[] = await model.generate(['x', 'y'] as const, { sampling: { seed: 1n } });
  for await (const step of model.refine('x', { length: 3 })) {
    const { iteration, text, tokens }: RefinementStep = step;
    console.log(iteration, text, tokens.map(({ piece, masked }) => (masked ? '_' : piece)));
  }
  const { label, logProbs } = await model.choose('x', ['a', 'b']);
  const { mean } = await model.score('x', 'y');
  const lengths: { length: number; logProb: number }[] = await model.predictLength('x', 3);
  const engine: Engine = model.engine;
  const config: EngineConfig = engine.config;
  const tokenizer: Tokenizer = model.tokenizer;
  const [source]: Source[] = await engine.encode([tokenizer.encode('x').ids]);
  const target: Target = source!.target(5);
  const passes: number[] = await engine.decode([target], 10, { signal: AbortSignal.timeout(1000) });
  const weight: PackedWeight = packWeight(new Float32Array(16), 'fp32', 8, 2);
  const best = lmHeadArgmax({
    states: new Float32Array(2), weight, bias: new Float32Array(8), maskTokenId: 7,
  });
  console.log(one.text, many.length, label, logProbs, mean, lengths, config.layers, passes, best.ids);
  const random = await Engine.random('xlm-r-base', { seed: 1 });
  await random.close();
  const { score, precisions }: BleuScore = bleu(['x'], [['x'], [null]], { smooth: 'floor' });
  const [first] = bootstrap([bleuStatistics(['x'], [['x']]), [0.5]], { seed: 1n });
  console.log(score, precisions, first?.difference?.pValue, rouge(['x'], [['x']]).rougeL.fmeasure);
  try {
    // @ts-expect-error there is no such option
    await model.generate('x', { iteration: 3 });
    // @ts-expect-error there is no such device
    await Engine.load('x', { device: 'abacus' });
    // @ts-expect-error nor such an architecture
    await Engine.random('xlm-r-tiny');
    // @ts-expect-error the engine makes sources
    new Source();
    // @ts-expect-error and they make targets
    new Target();
    // @ts-expect-error this is for the package alone
    Engine.native(engine);
    // @ts-expect-error a list of texts is no list of reference sets
    bleu(['x'], ['x']);
  } catch (error) {
    if (error instanceof MaskPredictError) {
      const code: ErrorCode = error.code;
      console.error(code);
    }
  }
}
`;
