/** An encoder without a language-model head: refused by the trainer, until a new head is asked for, and trained then. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t, { type Test } from 'tap';
import { run } from '../../lib/cli/run.js';
import { embeddedModel, Engine, MaskPredict, Trainer } from '../../lib/index.js';
import { readTensors, safetensorsOf, type Tensors } from '../safetensors-writer.js';
import { jsonLines } from './imitated-runner.js';

const tokenizer = 'sentencepiece.bpe.model';
const ten = ['null', 'eins', 'zwei', 'drei', 'vier', 'fünf', 'sechs', 'sieben', 'acht', 'neun'].map(
  (word, number) => ({ instruction: `Write the number ${number} in German words.`, output: word }),
);

const tensorsOf = (directory: string) =>
  readTensors(readFileSync(join(directory, 'model.safetensors')));

/** The embedded model as an embedding checkpoint has it: without head and length predictor, its names without `roberta.`. */
function encoder(t: Test, config: object = {}): string {
  const kept = [...tensorsOf(embeddedModel)].filter(([name]) => name.startsWith('roberta.'));
  const tensors: Tensors = new Map(kept.map(([name, tensor]) => [name.slice(8), tensor]));
  const given = JSON.parse(readFileSync(join(embeddedModel, 'config.json'), 'utf8')) as object;
  const directory = t.testdir({
    'config.json': JSON.stringify({ ...given, length_vocab_size: undefined, ...config }),
    'model.safetensors': safetensorsOf(tensors),
    'ten.jsonl': jsonLines(ten),
  });
  copyFileSync(join(embeddedModel, tokenizer), join(directory, tokenizer));
  return directory;
}

t.test('a new head learns, and is saved with the model', async (t) => {
  const directory = encoder(t);
  const engine = await Engine.load(directory, { device: 'cpu', threads: 1 });
  t.equal(engine.config.head, false);
  await engine.close();
  await t.rejects(Trainer.load(directory), {
    code: 'ERR_MODEL_FORMAT',
    message: /without a language-model head.*lm_head\.dense\.weight.*head: 'new'.*--new-head/,
  });

  const trainer = await Trainer.load(directory, {
    head: 'new',
    dropout: 0,
    learningRate: 3e-3,
    labelSmoothing: 0.05,
    seed: 1,
  });
  t.teardown(() => trainer.close());
  const before = await trainer.validate(ten, { answers: 0 });
  const guess = Math.log(trainer.config.vocabulary);
  t.ok(before.nll > guess / 2, `a head that knows nothing yet: ${before.nll} beside ${guess}`);
  for await (const { loss } of trainer.train(ten, { steps: 60, warmup: 10, sourceMask: 0 }))
    t.ok(Number.isFinite(loss));
  const after = await trainer.validate(ten, { answers: 10 });
  t.ok(after.loss < before.loss / 3, `${before.loss} to ${after.loss}`);

  const out = join(directory, 'out');
  await trainer.save(out);
  const model = await MaskPredict.load(out, { device: 'cpu' });
  t.teardown(() => model.close());
  t.match(model.engine.config, { head: true, tieWordEmbeddings: true });
  const answers = await model.generate(ten.map(({ instruction }) => instruction));
  const right = answers.filter(({ text }, i) => text === ten[i]!.output).length;
  t.ok(right >= 9, `${right} of 10`);
});

t.test('the seed decides the head, and nothing else does', async (t) => {
  // A decoder of its own that is not there: the new head is the word embeddings.
  const directory = encoder(t, { tie_word_embeddings: false });
  const saved = async (name: string, options: object) => {
    const trainer = await Trainer.load(directory, { head: 'new', ...options });
    await trainer.save(join(directory, name));
    await trainer.close();
    return tensorsOf(join(directory, name));
  };
  const one = await saved('one', { seed: 7, threads: 1 });
  const same = await saved('same', { seed: 7, threads: 2 });
  const other = await saved('other', { seed: 8, threads: 1 });
  for (const [name, { bytes }] of one) {
    t.ok(
      same.get(name)!.bytes.every((byte, i) => byte === bytes[i]),
      name,
    );
    const drawn = name === 'lm_head.dense.weight' || name === 'embed_length.weight';
    t.equal(
      other.get(name)!.bytes.every((byte, i) => byte === bytes[i]),
      !drawn,
      name,
    );
  }
  const floats = (name: string) => {
    const { bytes } = one.get(name)!;
    return new Float32Array(new Uint8Array(bytes).buffer);
  };
  t.ok(floats('lm_head.layer_norm.weight').every((gain) => gain === 1));
  for (const name of ['lm_head.dense.bias', 'lm_head.layer_norm.bias', 'lm_head.bias'])
    t.ok(
      floats(name).every((value) => value === 0),
      name,
    );
  const dense = floats('lm_head.dense.weight');
  const deviation = Math.sqrt(dense.reduce((sum, x) => sum + x * x, 0) / dense.length);
  // The measured deviation of n normal numbers has itself a deviation of 1 / sqrt(2 n) of its size; five of these are allowed.
  t.ok(Math.abs(deviation / 0.02 - 1) < 5 / Math.sqrt(2 * dense.length), String(deviation));
});

t.test('where it has no place', async (t) => {
  await t.rejects(Trainer.load(embeddedModel, { head: 'new' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /has a language-model head.*leave the option head: 'new'/,
  });
  await t.rejects(Trainer.load(embeddedModel, { head: 'old' as 'new' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /head must be 'new' or left out, not "old"/,
  });

  // A head with a part missing is damaged, not absent.
  const tensors = tensorsOf(embeddedModel);
  tensors.delete('lm_head.layer_norm.bias');
  const directory = t.testdir({ 'model.safetensors': safetensorsOf(tensors) });
  for (const name of ['config.json', tokenizer])
    copyFileSync(join(embeddedModel, name), join(directory, name));
  await t.rejects(Trainer.load(directory), { message: /no tensor "lm_head\.layer_norm\.bias"/ });
  await t.rejects(Trainer.load(directory, { head: 'new' }), { code: 'ERR_INVALID_ARGUMENT' });
});

t.test('--new-head', async (t) => {
  const directory = encoder(t);
  const call = async (...given: string[]) => {
    let text = '';
    const output = () => new PassThrough().on('data', (chunk: Buffer) => (text += String(chunk)));
    const { signal } = new AbortController();
    const streams = { stdin: new PassThrough(), stdout: output(), stderr: output() };
    const code = await run(['train', ...given], { ...streams, environment: {}, signal });
    return { code, text };
  };
  const out = join(directory, 'out');
  const end = `--steps 2 --warmup 1 --rows 128 --threads 1 --cache ${join(directory, 'cache')}`;
  const rest = [...end.split(' '), '--out', out, join(directory, 'ten.jsonl')];
  const refused = await call('--model', directory, ...rest);
  t.match(refused, { code: 1, text: /without a language-model head.*--new-head/ });
  const misused = await call('--new-head', '--new', '1x64', '--tokenizer', 'x', ...rest);
  t.match(misused, { code: 2, text: /--new-head is for --model/ });
  const trained = await call('--model', directory, '--new-head', ...rest);
  t.equal(trained.code, 0, trained.text);
  const model = await MaskPredict.load(join(out, 'last'), { device: 'cpu' });
  t.type((await model.generate('Write the number 3 in German words.')).text, 'string');
  await model.close();
});
