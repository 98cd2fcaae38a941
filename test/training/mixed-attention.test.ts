/**
 * Training with plain mixed attention, eq. (6): losses and every gradient against the slopes of a loss in double precision
 * that knows nothing of a way back; what must not change a bit; and that a model remembers how it was trained.
 */
import t, { type Test } from 'tap';
import { Engine } from '../../lib/token/engine.js';
import { native } from '../../lib/token/native.js';
import type { StepPart } from '../../lib/training/step.js';
import { Trainer } from '../../lib/training/trainer.js';
import type { TrainerLoadOptions } from '../../lib/training/trainer-options.js';
import { sameBits } from '../reference/closeness.js';
import { mixedAttentionLoss } from '../reference/mixed-attention-loss.js';
import { Random } from '../reference/random.js';
import { referenceStep, type TrainingModel } from '../reference/training-model.js';
import { wrong } from './golden.js';
import { directoryOf, tinyModel, tinyPart, type TinyShape } from './tiny.js';

async function load(t: Test, directory: string, options: TrainerLoadOptions = {}) {
  const attention = 'mixed';
  const trainer = await Trainer.load(directory, { attention, dropout: 0, threads: 2, ...options });
  t.teardown(() => trainer.close());
  return trainer;
}

/** Central differences of fourth order, of every weight. */
function slopes(model: TrainingModel, loss: () => number): Map<string, Float64Array> {
  const step = 1e-4;
  return new Map(
    [...model.weights].map(([name, weight]) => {
      const slope = weight.map((before, i) => {
        const at = (steps: number) => {
          weight[i] = before + steps * step;
          return loss();
        };
        const value = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
        weight[i] = before;
        return value;
      });
      return [name, slope] as const;
    }),
  );
}

/** Mean over the predicted positions, by the engine. */
async function negativeLogLikelihood(engine: Engine, part: StepPart): Promise<number> {
  const sources = await engine.encode(part.sources);
  const targets = part.targets.map((ids, i) => sources[part.sourceOf![i]!]!.target(ids));
  const golds = part.golds.map((gold) => [gold]);
  let [sum, count] = [0, 0];
  (await engine.logProbs(targets, golds)).forEach(([logProbs], i) =>
    part.targets[i]!.forEach((id, p) => {
      if (id !== engine.config.maskTokenId) return;
      sum -= logProbs![p]!;
      count++;
    }),
  );
  return sum / count;
}

const sizes = { vocabulary: 11, positions: 10, lengths: 9 };

for (const norm of ['pre', 'post'] as const) {
  const small: TinyShape = { ...sizes, layers: 2, hidden: 6, heads: 2, feedForward: 7, norm };

  t.test(`${norm}-LN: the losses, and every gradient is the loss's slope`, async (t) => {
    const model = tinyModel(small, 41);
    const part = tinyPart(new Random(42), small, 3);
    const directory = directoryOf(t, small, model);
    const loss = () => mixedAttentionLoss(model, part).loss;
    const [losses, expected] = [mixedAttentionLoss(model, part), slopes(model, loss)];
    for (const instructionSet of native.instructionSets()) {
      process.env.MASK_PREDICT_ISA = instructionSet;
      const trainer = await load(t, directory);
      delete process.env.MASK_PREDICT_ISA;
      const result = await trainer.step(part, { update: false });
      for (const name of ['loss', 'nll', 'lengthLoss'] as const)
        t.ok(Math.abs(result[name] - losses[name]) < 1e-5, `${name} ${result[name]}`);
      const gradients = await trainer.gradients();
      t.equal(gradients.size, expected.size, 'all tensors');
      t.same(wrong(gradients, expected), [], instructionSet);
      // The same weights with eq. (7) are another model.
      const dynamic = referenceStep(model, part).gradients;
      t.ok(wrong(gradients, dynamic).length > 10, 'the gradients are not those of eq. (7)');
    }
  });

  t.test(`${norm}-LN: threads and recomputation change no bit`, async (t) => {
    const shape = { ...small, layers: 3, hidden: 64, heads: 4, feedForward: 200, vocabulary: 300 };
    const model = tinyModel(shape, 43);
    const part = tinyPart(new Random(44), shape, 40);
    const directory = directoryOf(t, shape, model);
    const trained = async (options: TrainerLoadOptions) => {
      const trainer = await load(t, directory, { dropout: 0.1, learningRate: 1e-2, ...options });
      const losses = [];
      for (let i = 0; i < 3; i++) losses.push((await trainer.step(part)).loss);
      return { losses, gradients: await trainer.gradients() };
    };
    const alone = await trained({ threads: 1 });
    const others: TrainerLoadOptions[] = [
      { threads: 3 },
      { recompute: 'gelu' },
      { recompute: 'layer' },
    ];
    for (const options of others) {
      const { losses, gradients } = await trained(options);
      t.same(losses, alone.losses, JSON.stringify(options));
      for (const [name, values] of alone.gradients)
        if (!sameBits(values, gradients.get(name)!)) t.fail(`${JSON.stringify(options)}: ${name}`);
    }
  });

  t.test(`${norm}-LN: what is saved and resumed says how it was trained`, async (t) => {
    const model = tinyModel(small, 45);
    const part = tinyPart(new Random(46), small, 3);
    const trainer = await load(t, directoryOf(t, small, model));
    t.equal(trainer.config.attention, 'mixed');
    await trainer.step(part);
    const directory = t.testdir();
    await trainer.save(`${directory}/model`);
    await trainer.checkpoint(`${directory}/checkpoint`);
    const { loss } = await trainer.step(part);

    const resumed = await Trainer.resume(`${directory}/checkpoint`);
    t.teardown(() => resumed.close());
    t.equal(resumed.config.attention, 'mixed');
    t.equal((await resumed.step(part)).loss, loss, 'a resumed training goes on with the same bits');

    const again = await Trainer.load(`${directory}/model`, { dropout: 0 });
    t.teardown(() => again.close());
    t.equal(again.config.attention, 'mixed');
    const after = await again.evaluate([part]);
    t.equal((await again.step(part)).loss, loss, 'a saved model is trained on as it was');
    const other = await Trainer.load(`${directory}/model`, { attention: 'dynamic' });
    t.teardown(() => other.close());
    t.equal(other.config.attention, 'dynamic');

    const engine = await Engine.load(`${directory}/model`);
    t.teardown(() => engine.close());
    t.equal(engine.config.attention, 'mixed');
    const nll = await negativeLogLikelihood(engine, part);
    t.ok(Math.abs(nll - after.nll) < 1e-5, `the engine predicts what the trainer does: ${nll}`);
  });
}

t.test('another word is refused', async (t) => {
  const shape: TinyShape = {
    ...sizes,
    layers: 1,
    hidden: 4,
    heads: 1,
    feedForward: 4,
    norm: 'pre',
  };
  const directory = directoryOf(t, shape, tinyModel(shape, 47));
  const attention = 'plain' as 'mixed';
  const expected = {
    code: 'ERR_INVALID_ARGUMENT',
    message: /attention must be 'dynamic' or 'mixed'/,
  };
  await t.rejects(Trainer.load(directory, { attention }), expected);
  await t.rejects(Engine.load(directory, { attention }), expected);
});
