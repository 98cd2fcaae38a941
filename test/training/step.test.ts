/**
 * Whole steps of odd models: against the double-precision reference, with each sum that is easily lost left out of it;
 * and what must not change a bit: threads, recomputation, the way a step is cut into parts.
 */
import t, { type Test } from 'tap';
import { Trainer } from '../../lib/training/trainer.js';
import type { TrainerLoadOptions } from '../../lib/training/trainer-options.js';
import type { StepPart } from '../../lib/training/step.js';
import { native } from '../../lib/token/native.js';
import { sameBits } from '../reference/closeness.js';
import { Random } from '../reference/random.js';
import { Tensors as ReadTensors } from '../reference/safetensors.js';
import { referenceStep, type EasilyLost } from '../reference/training-model.js';
import { normOf, wrong } from './golden.js';
import { directoryOf, tinyModel, tinyPart, type TinyShape } from './tiny.js';

const common = { vocabulary: 23, positions: 14, lengths: 12 };
const shapes: Record<string, TinyShape> = {
  'pre-LN, a padded vocabulary': {
    ...common,
    layers: 2,
    hidden: 15,
    heads: 3,
    feedForward: 22,
    norm: 'pre',
    padded: 4,
  },
  'post-LN': { ...common, layers: 2, hidden: 20, heads: 2, feedForward: 33, norm: 'post' },
  'one layer of width 1': {
    ...common,
    layers: 1,
    hidden: 1,
    heads: 1,
    feedForward: 1,
    norm: 'post',
  },
};

async function load(
  t: Test,
  directory: string,
  options: TrainerLoadOptions = {},
): Promise<Trainer> {
  const trainer = await Trainer.load(directory, { dropout: 0, threads: 2, ...options });
  t.teardown(() => trainer.close());
  return trainer;
}

for (const [name, shape] of Object.entries(shapes)) {
  const model = tinyModel(shape, 21);
  const part = tinyPart(new Random(22), shape, 4);

  t.test(`${name}: loss and gradients`, async (t) => {
    const directory = directoryOf(t, shape, model);
    const expected = referenceStep(model, part);
    for (const instructionSet of native.instructionSets()) {
      process.env.MASK_PREDICT_ISA = instructionSet;
      const trainer = await load(t, directory);
      delete process.env.MASK_PREDICT_ISA;
      const loops = instructionSet.startsWith('avx512')
        ? 'avx512'
        : instructionSet.replace('vnni', '2');
      t.equal(trainer.instructionSet, loops, `the loops of ${instructionSet}`);
      const result = await trainer.step(part, { update: false });
      for (const loss of ['loss', 'nll', 'lengthLoss'] as const)
        t.ok(Math.abs(result[loss] - expected[loss]) < 1e-5, `${loss} ${result[loss]}`);
      const gradients = await trainer.gradients();
      t.equal(gradients.size, expected.gradients.size, 'all tensors');
      t.same(wrong(gradients, expected.gradients), [], instructionSet);
    }
  });

  t.test(`${name}: each sum that is easily lost is found`, async (t) => {
    if (shape.hidden === 1) return t.pass('a norm over one value lets nothing through');
    const trainer = await load(t, directoryOf(t, shape, model));
    await trainer.step(part, { update: false });
    const gradients = await trainer.gradients();
    const found: Record<EasilyLost, RegExp> = {
      'source keys': /attention\.self\.(key|value)/,
      'tied head': /word_embeddings/,
      'length mean': /layer\.1|encoder\.LayerNorm/,
    };
    for (const [lose, tensor] of Object.entries(found) as [EasilyLost, RegExp][]) {
      const lost = wrong(gradients, referenceStep(model, part, { lose }).gradients);
      t.ok(
        lost.some((name) => tensor.test(name)),
        `without the sum of the ${lose}: ${lost.length} tensors`,
      );
    }
  });
}

t.test('a head with a matrix of its own', async (t) => {
  const shape = shapes['post-LN']!;
  const model = tinyModel(shape, 23);
  const own = Float64Array.from(new Random(24).normals(shape.vocabulary * shape.hidden, 0.5));
  const directory = directoryOf(t, shape, model, own);
  model.weights.set('lm_head.decoder.weight', own);
  const part = tinyPart(new Random(25), shape, 4);
  const trainer = await load(t, directory);
  await trainer.step(part, { update: false });
  t.same(wrong(await trainer.gradients(), referenceStep(model, part).gradients), []);
});

/** Three steps with dropout, then all weights' gradients. */
async function trained(t: Test, directory: string, parts: StepPart[], options: TrainerLoadOptions) {
  const trainer = await load(t, directory, {
    dropout: 0.1,
    learningRate: 1e-2,
    seed: 3,
    ...options,
  });
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) losses.push((await trainer.step(parts)).loss);
  return { losses, gradients: await trainer.gradients() };
}

type Trained = Awaited<ReturnType<typeof trained>>;

function sameTraining(t: Test, a: Trained, b: Trained, what: string): void {
  t.same(a.losses, b.losses, `${what}: losses`);
  const other = [...a.gradients].filter(
    ([name, values]) => !sameBits(values, b.gradients.get(name)!),
  );
  t.same(other, [], `${what}: gradients`);
}

for (const norm of ['pre', 'post'] as const) {
  const shape: TinyShape = {
    ...common,
    layers: 3,
    hidden: 64,
    heads: 4,
    feedForward: 200,
    norm,
    vocabulary: 700,
    positions: 34,
    lengths: 30,
  };
  const model = tinyModel(shape, 31);
  const random = new Random(32);
  const part = tinyPart(random, shape, 60);

  t.test(`${norm}-LN: threads and recomputation change no bit`, async (t) => {
    const directory = directoryOf(t, shape, model);
    const alone = await trained(t, directory, [part], { threads: 1 });
    for (const threads of [2, 3, 7])
      sameTraining(
        t,
        await trained(t, directory, [part], { threads }),
        alone,
        `${threads} threads`,
      );
    for (const recompute of ['gelu', 'layer'] as const)
      sameTraining(t, await trained(t, directory, [part], { recompute }), alone, recompute);
  });

  t.test(`${norm}-LN: a step in parts is the step in one`, async (t) => {
    const directory = directoryOf(t, shape, model);
    const parts = [
      tinyPart(random, shape, 5),
      tinyPart(random, shape, 20),
      tinyPart(random, shape, 1),
    ];
    let first = 0;
    const one: StepPart = { sources: [], targets: [], golds: [], sourceOf: new Int32Array() };
    for (const { sources, targets, golds, sourceOf } of parts) {
      one.sources.push(...sources);
      one.targets.push(...targets);
      one.golds.push(...golds);
      const from = first;
      one.sourceOf = Int32Array.of(...one.sourceOf!, ...sourceOf!.map((s) => s + from));
      first += sources.length;
    }
    const options = { dropout: 0.1, seed: 3 };
    const [whole, cut] = [await load(t, directory, options), await load(t, directory, options)];
    const [a, b] = [
      await whole.step(one, { update: false }),
      await cut.step(parts, { update: false }),
    ];
    t.equal(a.maskedTokens, b.maskedTokens);
    t.equal(a.examples, b.examples);
    t.ok(Math.abs(a.loss - b.loss) < 1e-5, `${a.loss} and ${b.loss}`);
    const expected = new Map(
      [...(await whole.gradients())].map(([name, g]) => [name, Float64Array.from(g)] as const),
    );
    t.same(wrong(await cut.gradients(), expected), [], 'the same gradients, with the same dropout');
    const result = await whole.evaluate([one]);
    const evaluated = await cut.evaluate(parts);
    t.ok(Math.abs(result.loss - evaluated.loss) < 1e-5, 'and the same loss without dropout');
  });

  t.test(`${norm}-LN: frozen embeddings`, async (t) => {
    const directory = directoryOf(t, shape, model);
    const free = await load(t, directory);
    const frozen = await load(t, directory, { freeze: ['embeddings'] });
    await free.step(part, { update: false });
    await frozen.step(part);
    const gradients = await frozen.gradients();
    const isEmbedding = (name: string) => name.startsWith('roberta.embeddings.');
    t.notOk([...gradients.keys()].some(isEmbedding), 'have no gradients');
    for (const [name, values] of await free.gradients())
      if (!isEmbedding(name) && !sameBits(gradients.get(name)!, values)) t.fail(name);
    t.ok((await frozen.memory()).moments < (await free.memory()).moments, 'and no moments');
    const saved = t.testdir();
    await frozen.save(`${saved}/model`);
    const after = await load(t, `${saved}/model`);
    await after.close();
    const tensors = ReadTensors.checkpoint(`${saved}/model`);
    for (const [name, values] of model.weights) {
      const kept = tensors.get(name).values.every((value, i) => value === values[i]);
      if (isEmbedding(name)) t.ok(kept, `${name} is as it was`);
      else if (kept && normOf(gradients.get(name)!) > 0) t.fail(`${name} was not trained`);
    }
  });
}
