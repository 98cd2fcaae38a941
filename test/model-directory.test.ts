/** Things that are easily taken for a model directory, and the forms in which a directory may be named. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict } from '../lib/index.js';
import {
  base,
  baseConfig,
  bits,
  refusesAt,
  withConfig,
  withConfigText,
} from './model-directories.js';

t.test('what is no model is named', async (t) => {
  const directories = t.testdir({
    adapter: { 'adapter_config.json': '{}', 'adapter_model.safetensors': '' },
    tokenizer: { 'tokenizer.json': '{}' },
    'models--owner--name': { blobs: {}, refs: { main: 'abc' }, snapshots: { abc: {} } },
    'models--owner--unfinished': { blobs: {}, snapshots: {} },
    hub: { 'models--owner--name': { snapshots: {} }, '.locks': {} },
    pointer: { 'config.json': 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n' },
    empty: {},
  });
  const expected: Record<string, RegExp> = {
    adapter: /adapter is an adapter of PEFT.*merge_and_unload/,
    tokenizer: /tokenizer is a tokenizer \(tokenizer\.json\) without a model/,
    'models--owner--name': /top folder.*models--owner--name.snapshots.abc$/,
    'models--owner--unfinished': /top folder.*no snapshot.*download/,
    hub: /cache of many models.*models--owner--name.snapshots/,
    pointer: /LFS pointer.*git lfs pull/,
    empty: /config\.json/,
  };
  for (const [name, message] of Object.entries(expected)) {
    await refusesAt(t, join(directories, name), [message]);
    if (/pointer|empty/.test(name)) continue;
    await t.rejects(MaskPredict.load(join(directories, name)), {
      code: 'ERR_MODEL_FORMAT',
      message,
    });
  }
});

t.test('a model with tokenizer.json only', async (t) => {
  const path = t.testdir({
    'config.json': JSON.stringify(baseConfig),
    'model.safetensors': t.fixture('symlink', join(base, 'model.safetensors')),
    'tokenizer.json': '{}',
  });
  await t.rejects(MaskPredict.load(path), {
    code: 'ERR_TOKENIZER',
    message: /tokenizer\.json.*no sentencepiece\.bpe\.model/,
  });
  t.same(await bits(path), await bits(base), 'the token level needs none');
});

t.test('a file: URL', async (t) => {
  const options = { device: 'cpu', threads: 1 } as const;
  for (const url of [
    pathToFileURL(base),
    pathToFileURL(base).href,
    `${pathToFileURL(base).href}/`,
  ]) {
    await using engine = await Engine.load(url, options);
    t.equal(engine.config.vocabulary, 509);
  }
  const model = await MaskPredict.load(pathToFileURL(embeddedModel), options);
  t.ok(model.tokenizer.pieces > 0);
  await model.close();
  const wrongs: unknown[] = [new URL('https://example.com/model'), 7];
  // On Windows it is a directory of the machine `elsewhere`.
  if (process.platform !== 'win32') wrongs.push('file://elsewhere/model');
  for (const wrong of wrongs) {
    const loading = Engine.load(wrong as string, options);
    await t.rejects(loading, { code: 'ERR_INVALID_ARGUMENT', message: /model directory/ });
  }
});

t.test('a config.json with a byte-order mark', async (t) => {
  const path = t.testdir(withConfigText(`\ufeff${JSON.stringify(baseConfig)}`)());
  t.equal(readFileSync(join(path, 'config.json'))[0], 0xef);
  t.same(await bits(path), await bits(base));
  await refusesAt(t, t.testdir(withConfigText('\ufeff\ufeff{}')()), [/config\.json.*JSON/]);
});

t.test('a decoder is another model', async (t) => {
  await refusesAt(t, t.testdir(withConfig({ is_decoder: true })()), [/is_decoder is true.*false/]);
  await refusesAt(t, t.testdir(withConfig({ is_decoder: 1 })()), [/is_decoder is 1/]);
  t.same(await bits(t.testdir(withConfig({ is_decoder: false })())), await bits(base));
});
