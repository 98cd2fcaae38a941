/** Which names are paths, and which are of the hub. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { bundledModels } from '../../lib/bundled-models.js';
import { readModelName } from '../../lib/hub/model-name.js';
import { modelDirectory } from '../../lib/hub/model-directory.js';
import { MaskPredict } from '../../lib/text/mask-predict.js';

const started = process.cwd();
process.chdir(t.testdir({ models: { numbers: {} }, file: 'text' }));
t.teardown(() => process.chdir(started));

t.test('a name of the form owner/name is of the hub', async (t) => {
  for (const name of ['FacebookAI/xlm-roberta-base', 'a/b', '_x/Y.z-1', 'file/x', '0/1']) {
    t.same(readModelName(name), { repository: name });
  }
});

t.test('what looks like a path, or begins in a folder that is here, is only a path', async (t) => {
  const paths = [
    './a/b',
    '../a/b',
    '.hidden/b',
    '/a/b',
    '~/a',
    '~a/b',
    '\\a\\b',
    'C:/a',
    'c:a/b',
    'models/nubmers',
    'models/numbers',
  ];
  for (const name of paths) t.same(readModelName(name), { directory: name });
});

t.test('the models of the package have names, which a directory takes away', async (t) => {
  for (const [name, directory] of Object.entries(bundledModels)) {
    t.same(readModelName(name), { directory });
    t.equal(await modelDirectory(name), directory);
    await using model = await MaskPredict.load(name);
    t.ok(model.engine.config.lengths > 0);
  }
  t.same(readModelName('constructor'), { directory: 'constructor' });
  mkdirSync('translate');
  t.same(readModelName('translate'), { directory: 'translate' });
});

t.test('neither is what the hub does not allow', async (t) => {
  const names = ['', 'gpt2', 'a/b/c', 'a//b', 'a/b/', 'a/-b', 'a/b.', 'a--b/c', 'a/b..c'];
  for (const name of [
    ...names,
    'a/b.git',
    'a/ b',
    'a/b\n',
    'ä/b',
    `a/${'b'.repeat(95)}`,
    'a\0/b',
  ]) {
    t.same(readModelName(name), { directory: name }, JSON.stringify(name));
  }
});

t.test('an existing directory always wins', async (t) => {
  t.same(readModelName('owner/name'), { repository: 'owner/name' });
  mkdirSync(join('owner', 'name'), { recursive: true });
  t.same(readModelName('owner/name'), { directory: 'owner/name' });
  t.equal(await modelDirectory('owner/name', { offline: true }), 'owner/name');
});

t.test('a path is a path with every option of the hub but the revision', async (t) => {
  t.equal(await modelDirectory('./x', { cache: 'y', token: 'z', offline: false }), './x');
  const refused = { code: 'ERR_INVALID_ARGUMENT', message: /revision is for models of the hub/ };
  await t.rejects(modelDirectory('./x', { revision: 'main' }), refused);
  await t.rejects(MaskPredict.load(undefined, { revision: 'main' }), refused);
  await t.rejects(MaskPredict.load('./x'), {
    code: 'ERR_MODEL_FORMAT',
    message: /no model directory/,
  });
  for (const wrong of [5, null, {}]) {
    await t.rejects(modelDirectory(wrong as never), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /the model must be a string, the path of a directory or owner\/name/,
    });
  }
});
