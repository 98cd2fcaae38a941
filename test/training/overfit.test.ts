/** The real trainer under the loop: ten examples learned by heart, answered by the saved model; and train() resumed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MaskPredict, Trainer, type TrainOptions } from '../../lib/index.js';
import { tokenizerFile } from './imitated-runner.js';

const shape = { layers: 2, hidden: 64, heads: 2, maxPositions: 66, lengths: 32 };
const ten = ['null', 'eins', 'zwei', 'drei', 'vier', 'fünf', 'sechs', 'sieben', 'acht', 'neun'].map(
  (word, number) => ({ instruction: `Write the number ${number} in German words.`, output: word }),
);

t.test('ten examples are learned to exact answers', async (t) => {
  const trainer = await Trainer.create(shape, tokenizerFile, {
    dropout: 0,
    learningRate: 3e-3,
    labelSmoothing: 0.05,
  });
  t.teardown(() => trainer.close());
  const before = await trainer.validate(ten, { answers: 10 });
  t.ok(before.answers![10].exact < 0.5);
  let last;
  for await (const step of trainer.train(ten, { steps: 150, warmup: 20, sourceMask: 0 }))
    last = step;
  t.match(last, { step: 150, progress: 1 });
  const after = await trainer.validate(ten, { answers: 10 });
  t.ok(after.loss < before.loss / 4, `${before.loss} to ${after.loss}`);
  for (const { exact } of Object.values(after.answers!)) t.equal(exact, 1);

  const directory = join(t.testdir(), 'learned');
  await trainer.save(directory, { precision: 'fp16' });
  const model = await MaskPredict.load(directory);
  t.teardown(() => model.close());
  const answers = await model.generate(ten.map(({ instruction }) => instruction));
  t.same(
    answers.map(({ text }) => text),
    ten.map(({ output }) => output),
  );
});

t.test('six steps, and three, a checkpoint and three more, are the same bits', async (t) => {
  const directory = t.testdir();
  const options: TrainOptions = { steps: 6, warmup: 1, rows: 64, partRows: 48 };
  const create = (threads: number) =>
    Trainer.create(shape, tokenizerFile, { seed: 5, learningRate: 1e-3, threads });
  const whole = await create(2);
  for await (const _ of whole.train(ten, options));
  await whole.save(join(directory, 'whole'));
  await whole.close();

  const first = await create(1);
  let steps = 0;
  for await (const _ of first.train(ten, options)) if (++steps === 3) break;
  await first.checkpoint(join(directory, 'checkpoint'));
  await first.close();
  const second = await Trainer.resume(join(directory, 'checkpoint'), { threads: 2 });
  const rest = [];
  for await (const { step } of second.train(ten, options)) rest.push(step);
  t.same(rest, [4, 5, 6]);
  await second.save(join(directory, 'resumed'));
  await second.close();
  const weights = (name: string) => readFileSync(join(directory, name, 'model.safetensors'));
  t.ok(weights('whole').equals(weights('resumed')), 'dropout included');
});

t.test('a directory without a tokenizer trains on ids alone', async (t) => {
  const trainer = await Trainer.create({ ...shape, vocabulary: 100 }, undefined);
  t.teardown(() => trainer.close());
  await t.rejects(trainer.validate(ten), { message: /has no sentencepiece\.bpe\.model/ });
  await t.rejects(
    async () => {
      for await (const _ of trainer.train(ten, { steps: 1 }));
    },
    { code: 'ERR_INVALID_ARGUMENT', message: /put it into the directory.*step\(\) needs none/ },
  );
});

t.test('a step that does not fit the memory is refused before the first', async (t) => {
  const options = { memoryLimit: 12 * 2 ** 20 };
  const trainer = await Trainer.create(shape, tokenizerFile, options);
  t.teardown(() => trainer.close());
  await t.rejects(
    async () => {
      for await (const _ of trainer.train(ten, { steps: 9, warmup: 1, rows: 65536 })) t.fail();
    },
    { code: 'ERR_OUT_OF_MEMORY' },
  );
});
