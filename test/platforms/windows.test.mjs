/**
 * Behaviour that differs on Windows: paths, files that are mapped while others replace them, locks, processors, and the
 * messages.
 */
import {
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  closeSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict, quantize } from '../../lib/index.js';
import { native } from '../../lib/token/native.js';

const answer = 'viertausendzweihundertsiebzehn';
const prompt = 'Write the number 4217 in German words.';
const files = ['config.json', 'model.safetensors', 'sentencepiece.bpe.model'];

function copyModel(directory) {
  mkdirSync(directory, { recursive: true });
  for (const file of files) copyFileSync(join(embeddedModel, file), join(directory, file));
  return directory;
}

t.test('paths beyond the code page', async (t) => {
  const directory = copyModel(join(t.testdir({}), 'модель 模型 ñ 🙂'));
  const model = await MaskPredict.load(directory);
  t.equal((await model.generate(prompt)).text, answer);
  await model.close();
  const saved = join(directory, 'größe int8 ß');
  await quantize(directory, saved);
  const loaded = await MaskPredict.load(saved);
  t.equal(loaded.engine.precision, 'int8');
  t.equal((await loaded.generate(prompt)).text, answer);
  await loaded.close();
});

t.test('what is missing or damaged is named', async (t) => {
  const directory = join(t.testdir({}), 'нет');
  await t.rejects(Engine.load(directory), {
    code: 'ERR_MODEL_FORMAT',
    message: /нет.*no such directory/,
  });
  copyModel(directory);
  writeFileSync(join(directory, 'model.safetensors'), '');
  await t.rejects(Engine.load(directory), {
    code: 'ERR_MODEL_FORMAT',
    message: /нет.model\.safetensors.*truncated|нет.model\.safetensors/,
  });
  rmSync(join(directory, 'model.safetensors'));
  mkdirSync(join(directory, 'model.safetensors'));
  await t.rejects(Engine.load(directory), {
    code: 'ERR_MODEL_FORMAT',
    message: /model\.safetensors: Is a directory/,
  });
});

t.test('files are mapped or read, with the same answer', async (t) => {
  const directory = copyModel(t.testdir({}));
  for (const map of [true, false]) {
    const model = await MaskPredict.load(directory, { map });
    t.equal((await model.generate(prompt)).text, answer, `map: ${map}`);
    await model.close();
  }
  // Nothing holds them any more.
  for (const file of files)
    t.doesNotThrow(() => rmSync(join(directory, file)), `${file} can be removed`);
});

t.test('a changed file is another model', async (t) => {
  const directory = copyModel(t.testdir({}));
  const before = await Engine.load(directory);
  await before.close();
  const config = readFileSync(join(directory, 'config.json'), 'utf8');
  writeFileSync(
    join(directory, 'config.json'),
    config.replace(/"num_hidden_layers": *\d+/, '"num_hidden_layers": 99'),
  );
  await t.rejects(Engine.load(directory), { code: 'ERR_MODEL_FORMAT' });
});

t.test('locks', async (t) => {
  const path = join(t.testdir({}), 'lock');
  const [first, second] = [openSync(path, 'a'), openSync(path, 'a')];
  t.equal(native.lockFile(first), 'locked');
  t.equal(native.lockFile(second), 'busy');
  writeFileSync(path, 'others may write');
  closeSync(first);
  t.equal(native.lockFile(second), 'locked', 'closing gives it back');
  closeSync(second);
  t.throws(() => native.lockFile(second), { message: /not an open file/ });
});

t.test('threads and instruction sets', async (t) => {
  t.ok(native.instructionSets().includes('portable'), native.instructionSets().join(', '));
  const engine = await Engine.load(embeddedModel);
  t.ok(engine.threads >= 1, `${engine.threads} threads`);
  t.ok(engine.memory().limit > 2 ** 20, 'memory is known');
  await engine.close();
  const many = await Engine.load(embeddedModel, { threads: 16 });
  t.equal(many.threads, 16);
  await many.close();
});
