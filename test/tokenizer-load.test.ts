/**
 * Loading tokenizers: sharing, no traces in the process, and model files of other models.
 */
import { copyFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { loadSentencePiece } from '../lib/text/sentencepiece.js';
import { Tokenizer } from '../lib/text/tokenizer.js';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const file = path('fixtures/tokenizer/sentencepiece.bpe.model');
const numbersFile = path('../models/numbers/sentencepiece.bpe.model');

const ids = (tokenizer: Tokenizer, text: string) => [...tokenizer.encode(text).ids];

function processListeners(): Record<string, Function[]> {
  return {
    uncaughtException: process.listeners('uncaughtException'),
    unhandledRejection: process.listeners('unhandledRejection'),
  };
}

t.test('a model that is used is shared, one that changed is not', async (t) => {
  const directory = t.testdir();
  const copy = join(directory, 'a.model');
  copyFileSync(numbersFile, copy);
  symlinkSync(copy, join(directory, 'link.model'));
  const [first, second, linked] = await Promise.all([
    loadSentencePiece(copy),
    loadSentencePiece(join(directory, '.', 'a.model')),
    loadSentencePiece(join(directory, 'link.model')),
  ]);
  t.equal(second, first);
  t.equal(linked, first);
  t.equal(await loadSentencePiece(copy), first);
  copyFileSync(file, copy);
  const changed = await loadSentencePiece(copy);
  t.not(changed, first);
  t.equal(changed.model.pieces, 8000);
  t.equal(first!.model.pieces, 400);

  // Damaged in place: as large as before, and of the same time.
  const { atime, mtime, size } = statSync(copy);
  writeFileSync(copy, Buffer.alloc(size));
  utimesSync(copy, atime, mtime);
  await t.rejects(loadSentencePiece(copy), { code: 'ERR_TOKENIZER' });
});

t.test('several models load at the same time and do not mix', async (t) => {
  const [large, small, again] = await Promise.all([
    Tokenizer.load(file),
    Tokenizer.load(numbersFile),
    Tokenizer.load(file, { vocabulary: 8064 }),
  ]);
  t.equal(large.pieces, 8000);
  t.equal(small.pieces, 400);
  t.same(ids(large, 'Hello World!'), [0, 3883, 1208, 37, 739, 18, 2]);
  t.same(ids(again, 'Hello World!'), [0, 3883, 1208, 37, 739, 18, 2]);
  t.not(ids(small, 'two').join(), ids(large, 'two').join());
});

t.test('loading leaves no listeners on the process, and takes none away', async (t) => {
  const directory = t.testdir();
  const before = processListeners();
  const watching = process.listeners('newListener' as never);
  const own = () => {};
  const loads = Promise.all(
    Array.from({ length: 3 }, (_, index) => {
      const copy = join(directory, `${index}.model`);
      copyFileSync(numbersFile, copy);
      return Tokenizer.load(copy);
    }),
  );
  let finished = false;
  void loads.then(() => (finished = true));
  while (!finished) {
    t.same(processListeners(), before, 'nor while it loads');
    await new Promise(setImmediate);
  }
  const duringLoad = Tokenizer.load(file).then(() => process.on('unhandledRejection', own));
  process.on('uncaughtException', own);
  await duringLoad;
  t.ok(process.listeners('uncaughtException').includes(own));
  t.ok(process.listeners('unhandledRejection').includes(own));
  process.off('uncaughtException', own);
  process.off('unhandledRejection', own);
  t.same(processListeners(), before);
  t.same(process.listeners('newListener' as never), watching);
});

t.test('the memory of a model nobody uses is given back', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const copy = join(t.testdir(), 'a.model');
  copyFileSync(numbersFile, copy);
  const instance = new WeakRef(await loadSentencePiece(copy));
  for (let round = 0; round < 50 && instance.deref(); round++) {
    await new Promise(setImmediate);
    collect();
  }
  t.equal(instance.deref(), undefined);
  t.equal((await Tokenizer.load(copy)).pieces, 400, 'and it can be loaded again');
});

t.test('a model of another tokenizer is refused', async (t) => {
  await t.rejects(Tokenizer.load(file, { vocabulary: 8001 }), {
    code: 'ERR_TOKENIZER',
    message: /8000 pieces need 8002 rows.*8001/,
  });
  await t.rejects(Tokenizer.load(file, { maskTokenId: 250001 }), {
    code: 'ERR_TOKENIZER',
    message: /<mask> is 8001.*250001/,
  });
  t.equal((await Tokenizer.load(file, { vocabulary: 8002, maskTokenId: 8001 })).vocabulary, 8002);
});

t.test('files that cannot be read', async (t) => {
  const directory = t.testdir();
  const refused = { name: 'MaskPredictError', code: 'ERR_TOKENIZER' };
  await t.rejects(Tokenizer.load(join(directory, 'none.model')), {
    ...refused,
    message: /none\.model: .*ENOENT/,
  });
  await t.rejects(Tokenizer.load(directory), { ...refused, message: /not a file/ });
  await t.rejects(Tokenizer.load('/dev/zero'), { ...refused, message: /not a file/ });
  await t.rejects(Tokenizer.load('a\0b'), refused);
});
