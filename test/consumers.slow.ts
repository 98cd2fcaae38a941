/**
 * Programs that use an installed package: TypeScript 5.4 to 6, from ES modules and CommonJS, with every module setting and
 * without skipLibCheck; tests under Vitest, in threads and in vm contexts of their own, and under Jest. Needs a registry or
 * npm's cache.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { addPrebuild, install, pack, run } from './packed-package.js';

const project = t.testdir({ 'package.json': '{ "private": true }' });
const compilers = ['5.4.5', '6.0.3'];
install(project, [
  join(project, pack(project).filename),
  ...compilers.map((version) => `typescript-${version}@npm:typescript@${version}`),
  'vitest@3.2.4',
  'jest@30.5.2',
  '@types/node@20',
]);
addPrebuild(join(project, 'node_modules/mask-predict'));

const program = `
  const model: MaskPredict = await MaskPredict.load(embeddedModel);
  const answer: Generation = await model.generate('x');
  const tokens: Int32Array = answer.tokens;
  const { ids } = lmHeadArgmax({} as never) as unknown as { ids: Int32Array };
  // @ts-expect-error no such option
  await model.generate('x', { iteration: 4 });
  export { bleu, ids, tokens };`;
const imports = `
  import { embeddedModel, MaskPredict, type Generation } from 'mask-predict';
  import { lmHeadArgmax } from 'mask-predict/operations';
  import { bleu } from 'mask-predict/evaluation';`;
const inFunction = `
  export async function main() {${program.replace(/export .*;/, '')}
    return { bleu, ids, tokens };
  }`;

t.test('TypeScript', async (t) => {
  mkdirSync(join(project, 'types'));
  writeFileSync(join(project, 'types/es.mts'), imports + program);
  writeFileSync(join(project, 'types/common.cts'), imports + inFunction);
  writeFileSync(join(project, 'types/bundled.ts'), imports + inFunction);
  const settings = [
    { module: 'node16', files: ['es.mts', 'common.cts'] },
    { module: 'nodenext', files: ['es.mts', 'common.cts'] },
    { module: 'esnext', moduleResolution: 'bundler', files: ['es.mts', 'bundled.ts'] },
  ];
  for (const version of compilers) {
    for (const { files, ...options } of settings) {
      const compilerOptions = {
        ...options,
        target: 'es2022',
        lib: ['es2022', 'esnext.disposable'],
        types: ['node'],
        strict: true,
        skipLibCheck: false,
        noEmit: true,
      };
      writeFileSync(
        join(project, 'types/tsconfig.json'),
        JSON.stringify({ compilerOptions, files }),
      );
      const compiler = join(project, `node_modules/typescript-${version}/bin/tsc`);
      const compiled = run(process.execPath, [compiler, '-p', 'types'], project);
      t.match(compiled, { status: 0, stdout: '' }, `${version}, ${JSON.stringify(options)}`);
    }
  }
});

/** A test for runners that have describe-less `test` and Jest's `expect`. */
const checks = `
  const model = await MaskPredict.load(embeddedModel);
  const prompt = 'Write the number 3 in English words.';
  const { text, tokens, tokenScores } = await model.generate(prompt, { iterations: 1 });
  expect(text).toBe('three');
  expect(tokens).toBeInstanceOf(Int32Array);
  expect(tokens).toStrictEqual(Int32Array.from([...tokens]));
  expect(tokenScores).toEqual(Float32Array.from([...tokenScores]));
  const [embedding] = await model.embed([prompt]);
  expect(embedding).toStrictEqual(new Float32Array(embedding));
  expect(await model.predictLength(prompt, 1)).toStrictEqual([{ length: expect.any(Number), logProb: expect.any(Number) }]);
  await expect(model.generate('')).rejects.toBeInstanceOf(MaskPredictError);
  const scores = await model.engine.encode([Int32Array.of(0, 7, 2)]).then(async ([source]) => {
    const target = source.target(3);
    await model.engine.predict([target]);
    return [source.lengthLogits, target.scores, target.masked];
  });
  expect(scores[0]).toStrictEqual(new Float32Array(scores[0]));
  expect(scores[1]).toStrictEqual(new Float32Array(scores[1]));
  expect(scores[2]).toStrictEqual(new Uint8Array(scores[2]));
  const failed = await model.engine.encode([Int32Array.of(0, 999999, 2)]).catch((error) => error);
  expect(failed).toBeInstanceOf(MaskPredictError);
  expect(failed.code).toBe('ERR_INVALID_ARGUMENT');
  await model.close();`;

t.test('Vitest', async (t) => {
  mkdirSync(join(project, 'vitest'));
  writeFileSync(
    join(project, 'vitest/answers.test.mjs'),
    `import { expect, test } from 'vitest';
    import { embeddedModel, MaskPredict, MaskPredictError } from 'mask-predict';
    test('answers', async () => {${checks}});`,
  );
  for (const pool of ['threads', 'forks', 'vmThreads']) {
    const cli = join(project, 'node_modules/vitest/vitest.mjs');
    const tested = run(
      process.execPath,
      [cli, 'run', '--root', 'vitest', `--pool=${pool}`],
      project,
    );
    t.match(tested, { status: 0, stdout: /1 passed/ }, pool);
  }
});

t.test('Jest', async (t) => {
  mkdirSync(join(project, 'jest'));
  writeFileSync(join(project, 'jest/package.json'), '{ "jest": { "transform": {} } }');
  writeFileSync(
    join(project, 'jest/module.test.mjs'),
    `import { expect, test } from '@jest/globals';
    import { embeddedModel, MaskPredict, MaskPredictError } from 'mask-predict';
    test('answers', async () => {${checks}});`,
  );
  writeFileSync(
    join(project, 'jest/dynamic.test.cjs'),
    `test('answers', async () => {
      const { embeddedModel, MaskPredict, MaskPredictError } = await import('mask-predict');${checks}
    });`,
  );
  writeFileSync(
    join(project, 'jest/required.test.cjs'),
    `test('is refused', () => {
      expect(() => require('mask-predict')).toThrow(/ES module.*--experimental-vm-modules/s);
    });`,
  );
  const cli = join(project, 'node_modules/jest/bin/jest.js');
  const files = ['--testMatch', '**/*.test.mjs', '--testMatch', '**/*.test.cjs'];
  const options = ['--rootDir', 'jest', '--ci', '--runInBand', ...files];
  const tested = run(process.execPath, ['--experimental-vm-modules', cli, ...options], project);
  t.match(tested, { status: 0, stderr: /3 passed/ }, 'with --experimental-vm-modules');
  const plain = run(process.execPath, [cli, 'required', ...options], project);
  t.match(plain, { status: 0, stderr: /1 passed/ }, 'without');
});
