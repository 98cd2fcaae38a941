/**
 * Bundlers and file tracers on an installed package: esbuild and webpack leave it out of the bundle, @vercel/nft (which
 * Next.js's standalone output uses) finds the binary, the embedded model and the page, and nothing of the builder's home.
 * Needs a registry or npm's cache.
 */
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { addPrebuild, install, pack, run } from './packed-package.js';

const project = t.testdir({
  'package.json': '{ "private": true, "type": "module" }',
  'app.js': `
    import { MaskPredict } from 'mask-predict';
    const model = await MaskPredict.load();
    console.log((await model.generate('Write the number 3 in English words.')).text);
    await model.close();`,
});
const tools = ['esbuild@0.28.2', 'webpack@5.113.0', '@vercel/nft@1.11.5'];
install(project, [join(project, pack(project).filename), ...tools]);
const own = join(project, 'node_modules/mask-predict');
addPrebuild(own);

const script = (name: string, text: string) => {
  writeFileSync(join(project, name), text);
  return run(process.execPath, [name], project);
};
const answers = { status: 0, stderr: '', stdout: 'three\n' };

t.test('esbuild', async (t) => {
  const built = script(
    'esbuild.js',
    `import { build } from 'esbuild';
    await build({ entryPoints: ['app.js'], bundle: true, platform: 'node', format: 'esm',
      external: ['mask-predict'], outfile: 'esbuild/app.js' });`,
  );
  t.match(built, { status: 0 });
  t.match(run(process.execPath, ['esbuild/app.js'], project), answers);
  // Bundled after all, the error says what to do.
  script(
    'esbuild-all.js',
    `import { build } from 'esbuild';
    await build({ entryPoints: ['app.js'], bundle: true, platform: 'node', format: 'esm', outfile: 'elsewhere/deep/app.js' });`,
  );
  t.match(run(process.execPath, ['elsewhere/deep/app.js'], project), {
    status: 1,
    stderr: /mask-predict is in a bundle .* esbuild --external:mask-predict/,
  });
});

t.test('webpack', async (t) => {
  const built = script(
    'webpack.js',
    `import webpack from 'webpack';
    const configuration = { mode: 'production', target: 'node', entry: './app.js', experiments: { outputModule: true },
      externals: { 'mask-predict': 'module mask-predict' }, externalsType: 'module',
      output: { path: process.cwd() + '/webpack', filename: 'app.js', module: true } };
    webpack(configuration, (error, stats) => {
      if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString());
    });`,
  );
  t.match(built, { status: 0 });
  t.match(run(process.execPath, ['webpack/app.js'], project), answers);
});

t.test('@vercel/nft', async (t) => {
  const traced = (file: string) => {
    const { status, stdout, stderr } = script(
      'trace.js',
      `import { nodeFileTrace } from '@vercel/nft';
      const { fileList } = await nodeFileTrace([${JSON.stringify(file)}], { base: '/' });
      console.log(JSON.stringify([...fileList]));`,
    );
    if (status !== 0) throw new Error(stderr);
    return (JSON.parse(stdout) as string[]).map((path) => `/${path}`);
  };
  const files = traced('app.js');
  const outside = files.filter((file) => !file.startsWith(project) && file.startsWith(homedir()));
  t.same(
    outside.filter((file) => !file.startsWith(dirname(project))),
    [],
    'nothing of the home directory',
  );
  const needed = [
    'models/numbers/model.safetensors',
    'models/translate/model.safetensors',
    'native/binding.cjs',
    'package.json',
  ];
  for (const file of needed) t.ok(files.includes(join(own, file)), file);
  t.ok(
    files.some((file) => file.startsWith(own) && file.endsWith('.node')),
    'the binary',
  );
  const served = traced('node_modules/mask-predict/dist/cli/main.js');
  t.ok(served.includes(join(own, 'page/index.html')), 'the page');

  // The traced files answer in a place of their own, as in a container.
  const alone = join(t.testdir(), 'alone');
  for (const file of files) {
    if (!existsSync(file)) continue;
    const copy = join(alone, file.slice(project.length));
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(file, copy, { recursive: true, dereference: true });
  }
  t.match(run(process.execPath, ['app.js'], alone), answers);
});
