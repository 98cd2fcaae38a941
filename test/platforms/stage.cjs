'use strict';
// Lays out a package that another system's Node.js can test: lib/ and the tests as plain JavaScript, the part of tap beside
// this file instead of tap, the models, and the binaries of prebuilds/.
const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');

const root = path.join(__dirname, '../..');

function transpile(from, to) {
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const source = path.join(from, entry.name);
    const target = path.join(to, entry.name);
    if (entry.isDirectory()) {
      if (!/^(fixtures|simt|native|browser|fuzz|platforms)$/.test(entry.name))
        transpile(source, target);
    } else if (/\.ts$/.test(entry.name) && !/\.d\.ts$/.test(entry.name)) {
      const { outputText } = ts.transpileModule(fs.readFileSync(source, 'utf8'), {
        compilerOptions: { target: 'es2022', module: 'esnext' },
      });
      fs.mkdirSync(to, { recursive: true });
      fs.writeFileSync(target.replace(/\.ts$/, '.js'), outputText);
    }
  }
}

/** Makes the package anew in a folder, with the prebuilt binary of one target. */
function stage(folder, { file }) {
  const binary = path.join(root, 'prebuilds', file);
  if (!fs.existsSync(binary))
    throw new Error(`prebuilds/${file} is missing; \`npm run prebuild -- --all\` makes it`);
  fs.rmSync(folder, { recursive: true, force: true });
  const copy = (name, to = name) =>
    fs.cpSync(path.join(root, name), path.join(folder, to), { recursive: true, dereference: true });
  transpile(path.join(root, 'lib'), path.join(folder, 'lib'));
  fs.cpSync(path.join(folder, 'lib'), path.join(folder, 'dist'), { recursive: true });
  transpile(path.join(root, 'test'), path.join(folder, 'test'));
  for (const name of ['package.json', 'models', 'test/fixtures', 'native/binding.cjs']) copy(name);
  for (const name of fs.readdirSync(__dirname).filter((file) => file.endsWith('.test.mjs')))
    copy(`test/platforms/${name}`);
  for (const name of ['node-gyp-build', 'sentencepiece-js', 'app-root-path'])
    copy(`node_modules/${name}`);
  const tap = path.join(folder, 'node_modules/tap');
  fs.mkdirSync(tap, { recursive: true });
  fs.copyFileSync(path.join(__dirname, 'tap.mjs'), path.join(tap, 'tap.mjs'));
  fs.writeFileSync(
    path.join(tap, 'package.json'),
    '{"name":"tap","type":"module","exports":"./tap.mjs"}',
  );
  const target = path.join(folder, 'prebuilds', file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.copyFileSync(binary, target);
  fs.writeFileSync(
    path.join(folder, 'run.mjs'),
    "import { pathToFileURL } from 'node:url';\nimport { runFile } from 'tap';\nawait runFile(pathToFileURL(process.argv[2]));\n",
  );
  return folder;
}

module.exports = { root, stage };
