/**
 * Sequences that are read for their own sake, at the token level: candidates for masks against the fixtures, embeddings
 * against the final states they were computed with, logits and classes against the model in double precision; the same
 * bits alone, together, beside running targets and on any number of threads; what a model lacks, it says.
 *
 * On the device that MASK_PREDICT_DEVICE names, by default the CPU; in float32.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Engine } from '../lib/token/engine.js';
import { Source } from '../lib/token/sequences.js';
import { nativeRunner } from '../lib/scheduling/passes.js';
import {
  baseConfig,
  baseTensors,
  directory,
  withFiles,
  withTensors,
  type Files,
} from './model-directories.js';
import { relativeBound } from './reference/bounds.js';
import { closeness, rootMeanSquare, sameBits } from './reference/closeness.js';
import { readFillCases, readFixture } from './reference/fixtures.js';
import { ReferenceModel } from './reference/model.js';
import { logSumExp } from './reference/prediction.js';
import { Random } from './reference/random.js';
import { safetensorsOf, type StoredTensor } from './safetensors-writer.js';

const options = { threads: 2, precision: 'fp32' } as const;
const same = (a: Float32Array[], b: Float32Array[]) =>
  a.length === b.length && a.every((values, i) => sameBits(values, b[i]!));

for (const name of ['tiny-base', 'tiny-xl']) {
  t.test(name, async (t) => {
    const { directory, cases } = readFixture(name);
    await using engine = await Engine.load(directory, options);
    const { layers, feedForward, maskTokenId, hidden, vocabulary } = engine.config;
    const relative = relativeBound(layers, feedForward);
    const reference = new ReferenceModel(directory);

    await t.test('fillMask', async (t) => {
      const fills = readFillCases(name, maskTokenId);
      t.ok(fills.some(({ best }) => best.length > 1));
      const sources = fills.map(({ ids }) => ids);
      const filled = await engine.fillMask(sources);
      filled.forEach((masks, i) => {
        const { ids, best } = fills[i]!;
        const positions = Array.from(ids.keys()).filter((p) => ids[p] === maskTokenId);
        t.same(
          masks.map(({ position }) => position),
          positions,
        );
        // A log-probability is the difference of a logit and a mean of logits.
        const logits = reference.logits(reference.encode(ids).states);
        const bound = 2 * relative * rootMeanSquare(logits);
        masks.forEach(({ ids, logProbs }, mask) => {
          t.same(ids, best[mask]!.ids, `source ${i}, mask ${mask}: the same pieces`);
          const { worst, where } = closeness(logProbs, best[mask]!.logProbs, bound);
          t.ok(worst <= 1, `${worst} of the bound (${where})`);
        });
      });
      for (const [i, one] of sources.entries()) {
        const [alone] = await engine.fillMask([one]);
        alone!.forEach(({ ids, logProbs }, mask) => {
          const together = filled[i]![mask]!;
          t.ok(sameBits(ids, together.ids) && sameBits(logProbs, together.logProbs), `${i} alone`);
        });
      }
      const [all] = await engine.fillMask(sources.slice(0, 1), { count: 1000 });
      t.equal(all![0]!.ids.length, maskTokenId - 3, 'never <s>, <pad>, </s> or <mask>');
      t.equal(new Set(all![0]!.ids).size, maskTokenId - 3);
      t.notOk([0, 1, 2, maskTokenId].some((id) => all![0]!.ids.includes(id)));
      t.ok(sameBits(all![0]!.logProbs, all![0]!.logProbs.slice().sort().reverse()), 'best first');
      t.same(await engine.fillMask([Int32Array.of(0, 17, 2)]), [[]], 'no mask, no answer');
      t.same(await engine.fillMask([]), []);
    });

    await t.test('logits of sources', async (t) => {
      const sources = cases.map(({ sourceIds }) => sourceIds);
      const logits = await engine.logits(sources);
      logits.forEach((values, i) => {
        const expected = reference.logits(cases[i]!.sourceStates);
        t.equal(values.length, sources[i]!.length * vocabulary);
        const { worst, where } = closeness(values, expected, relative * rootMeanSquare(expected));
        t.ok(worst <= 1, `source ${i}: ${worst} of the bound (${where})`);
      });
      const alone = (await Promise.all(sources.map((one) => engine.logits([one])))).flat();
      t.ok(same(alone, logits), 'one by one');
    });

    await t.test('embed', async (t) => {
      const sources = cases.map(({ sourceIds }) => sourceIds);
      for (const pooling of ['mean', 'first'] as const) {
        const embedded = await engine.embed(sources, { pooling });
        const scaled = await engine.embed(sources, { pooling, normalize: true });
        cases.forEach(({ sourceIds, sourceStates }, i) => {
          const rows = pooling === 'mean' ? sourceIds.length : 1;
          const expected = new Float64Array(hidden);
          for (let at = 0; at < rows * hidden; at++)
            expected[at % hidden]! += sourceStates[at]! / rows;
          const bound = relative * rootMeanSquare(sourceStates);
          const { worst, where } = closeness(embedded[i]!, expected, bound);
          t.ok(worst <= 1, `${pooling} of source ${i}: ${worst} of the bound (${where})`);
          const length = Math.sqrt(embedded[i]!.reduce((sum, x) => sum + x * x, 0));
          const unit = embedded[i]!.map((x) => x / length);
          t.ok(sameBits(scaled[i]!, unit), 'normalised: divided by its length');
        });
        const alone = (
          await Promise.all(sources.map((one) => engine.embed([one], { pooling })))
        ).flat();
        t.ok(same(alone, embedded), `${pooling}: one by one`);
        await using single = await Engine.load(directory, { ...options, threads: 1 });
        t.ok(same(await single.embed(sources, { pooling }), embedded), `${pooling}: one thread`);
        // More rows than one pass has.
        const many = Array.from({ length: 200 }, (_, i) => sources[i % sources.length]!);
        const repeated = await engine.embed(many, { pooling });
        t.ok(repeated.every((one, i) => sameBits(one, embedded[i % sources.length]!)));
      }
    });

    await t.test('beside targets at work', async (t) => {
      const runner = nativeRunner(Engine.native(engine));
      const full = await engine.encode(cases.map(({ sourceIds }) => sourceIds));
      const given = () => full.map((source, i) => source.target(cases[i]!.targetIds));
      const expected = given();
      await engine.predict(expected);
      const fill = readFillCases(name, maskTokenId)[0]!;
      const candidates = [fill.best.map(({ ids }) => ids[0]!), fill.best.map(({ ids }) => ids[3]!)];
      const [ids] = cases.map(({ sourceIds }) => sourceIds) as [Int32Array];
      const plans = [
        { ids, states: false, reading: { kind: 'mean' } },
        { ids: fill.ids, states: false, reading: { kind: 'best', count: 5 } },
        { ids, states: true },
        { ids, states: false, reading: { kind: 'scoreAt', position: 2 } },
        {
          ids: fill.ids,
          states: false,
          reading: { kind: 'score', candidates: candidates.map((one) => Int32Array.from(one)) },
        },
        { ids, states: false, reading: { kind: 'first' } },
        { ids, states: false },
      ] as const;
      const run = async (some: readonly (typeof plans)[number][], targets = given()) => {
        const passes = targets.map((target) => ({
          plan: { target, iterations: 1 },
          passed: 0,
          until: 1,
          watched: false,
        }));
        const { sources } = await runner.start([...some], passes).promise;
        return { sources: sources as Source[], targets };
      };
      const { sources, targets } = await run(plans);
      for (const [i, plan] of plans.entries()) {
        if (!('reading' in plan)) continue;
        const { sources: alone } = await run([plan], []);
        const [a, b] = [Source.answer(alone[0]!), Source.answer(sources[i]!)];
        t.ok(same([a.values], [b.values]) && sameBits(a.ids, b.ids), `${plan.reading.kind}`);
        t.equal(sources[i]!.bytes, 0, 'nothing is kept');
        t.throws(() => sources[i]!.target(4), { code: 'ERR_INVALID_ARGUMENT' });
      }
      t.ok(sameBits(sources[2]!.states(), full[0]!.states()), 'states of a source beside them');
      t.ok(
        targets.every(
          ({ tokens, scores }, i) =>
            sameBits(tokens, expected[i]!.tokens) && sameBits(scores, expected[i]!.scores),
        ),
        'the targets are what they are alone',
      );

      // Log-probabilities of given ids are those of the best ids, and of the masked position.
      const best = Source.answer(sources[1]!);
      const scored = Source.answer(sources[4]!);
      const masks = fill.best.length;
      const at = (candidate: number, mask: number) => scored.values[candidate * masks + mask]!;
      for (let mask = 0; mask < masks; mask++) {
        const bound = 1e-4; // two kernels, sums of the same products in another order
        t.ok(Math.abs(at(0, mask) - best.values[5 * mask]!) < bound);
        t.ok(Math.abs(at(1, mask) - best.values[5 * mask + 3]!) < bound);
      }
      const masked = ids.slice();
      masked[2] = maskTokenId;
      const row = reference
        .logits(reference.encode(masked).states)
        .subarray(2 * vocabulary, 3 * vocabulary);
      const score = Source.answer(sources[3]!).values;
      t.equal(score.length, 1);
      const off = score[0]! - (row[ids[2]!]! - logSumExp(row, maskTokenId));
      t.ok(Math.abs(off) <= 2 * relative * rootMeanSquare(row), `scored: off by ${off}`);
    });
  });
}

t.test('a vocabulary of some ids', async (t) => {
  const { directory } = readFixture('tiny-base');
  const allowedIds = Int32Array.from({ length: 20 }, (_, i) => 10 + 7 * i);
  await using engine = await Engine.load(directory, { ...options, vocabulary: { allowedIds } });
  await using full = await Engine.load(directory, options);
  const sources = readFillCases('tiny-base', engine.maskTokenId).map(({ ids }) => ids);
  const some = (await engine.fillMask(sources, { count: 1000 })).flat();
  const all = (await full.fillMask(sources, { count: 1000 })).flat();
  some.forEach(({ ids }, mask) => {
    const expected = all[mask]!.ids.filter((id) => allowedIds.includes(id));
    t.same(ids, expected, 'the same order among them');
  });
  t.ok(same(await engine.logits(sources), await full.logits(sources)), 'raw logits are of all ids');
});

function stored(random: Random, shape: number[], deviation: number): StoredTensor {
  const count = shape.reduce((product, n) => product * n, 1);
  const values = Float32Array.from(random.normals(count, deviation));
  return { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) };
}

/** tiny-base with a classifier of sequences, of tokens, or both. */
function classifying(sequences: number, tokens: number): Files {
  return withTensors((tensors) => {
    const random = new Random(5);
    if (sequences > 0) {
      tensors.set('classifier.dense.weight', stored(random, [128, 128], 0.1));
      tensors.set('classifier.dense.bias', stored(random, [128], 0.1));
      tensors.set('classifier.out_proj.weight', stored(random, [sequences, 128], 0.1));
      tensors.set('classifier.out_proj.bias', stored(random, [sequences], 0.1));
    }
    if (tokens > 0) {
      tensors.set('classifier.weight', stored(random, [tokens, 128], 0.1));
      tensors.set('classifier.bias', stored(random, [tokens], 0.1));
    }
  });
}

t.test('classifiers', async (t) => {
  const path = t.testdir(classifying(3, 5)());
  await using engine = await Engine.load(path, options);
  t.match(engine.config, { classes: 3, tokenClasses: 5 });
  const reference = new ReferenceModel(path);
  const relative = relativeBound(engine.config.layers, engine.config.feedForward);
  const sources = readFixture('tiny-base').cases.map(({ sourceIds }) => sourceIds);
  const classes = await engine.classify(sources);
  const tokens = await engine.classifyTokens(sources);
  sources.forEach((ids, i) => {
    const { states } = reference.encode(ids);
    for (const [values, expected] of [
      [classes[i]!, reference.classLogits(states)],
      [tokens[i]!, reference.tokenLogits(states)],
    ] as const) {
      // The classifier's own layers are no worse than one more layer of the stack.
      const { worst, where } = closeness(values, expected, 2 * relative);
      t.ok(worst <= 1, `${worst} of the bound (${where})`);
    }
  });
  const alone = (await Promise.all(sources.map((one) => engine.classify([one])))).flat();
  t.ok(same(alone, classes), 'one by one');

  if (process.env.MASK_PREDICT_DEVICE) return;
  await using int8 = await Engine.load(path, { device: 'cpu', precision: 'int8' });
  const saved = join(t.testdirName, 'saved');
  mkdirSync(saved);
  await int8.save(saved, { overwrite: true });
  await using mapped = await Engine.load(saved, { device: 'cpu' });
  t.ok(same(await mapped.classify(sources), await int8.classify(sources)), 'saved as int8');
  t.ok(same(await mapped.classifyTokens(sources), await int8.classifyTokens(sources)));
});

t.test('an encoder alone', async (t) => {
  const { cases } = readFixture('tiny-base');
  const sources = cases.map(({ sourceIds }) => sourceIds);
  await using whole = await Engine.load(readFixture('tiny-base').directory, options);
  const headless = withTensors(
    (tensors) => new Map([...tensors].filter(([name]) => !name.startsWith('lm_head'))),
  );
  const without = (name: string) => name.replace('roberta.', '');
  const bare = directory(() => {
    const tensors = [...baseTensors].filter(([name]) => !name.startsWith('lm_head'));
    return safetensorsOf(new Map(tensors.map(([name, tensor]) => [without(name), tensor])));
  });
  for (const [what, files] of Object.entries({ 'with prefix': headless, without: bare })) {
    const path = t.testdir(
      withFiles(files, () => ({
        'config.json': JSON.stringify({ ...baseConfig, tie_word_embeddings: false }),
      }))(),
    );
    await using engine = await Engine.load(path, options);
    t.equal(engine.config.head, false, what);
    t.ok(engine.config.parameters < whole.config.parameters);
    t.ok(same(await engine.embed(sources), await whole.embed(sources)), 'the same embeddings');
    const [source] = await engine.encode(sources.slice(0, 1));
    t.same(source!.lengthLogits, (await whole.encode(sources.slice(0, 1)))[0]!.lengthLogits);
    const target = source!.target(5);
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message: /no language-model head/ };
    await t.rejects(engine.fillMask(sources), refusal);
    await t.rejects(engine.logits(sources), refusal);
    await t.rejects(engine.logits([target]), refusal);
    await t.rejects(engine.predict([target]), refusal);
    await t.rejects(engine.decode([target], 2), refusal);
    await t.rejects(engine.logProbs([target], [[target.tokens]]), refusal);
    await t.rejects(Engine.load(path, { vocabulary: { allowedIds: Int32Array.of(7) } }), refusal);
  }
});

t.test('what is refused', async (t) => {
  await using engine = await Engine.load(readFixture('tiny-base').directory, options);
  const ids = Int32Array.of(0, 508, 2);
  const refused = async (call: Promise<unknown>, message: RegExp) =>
    t.rejects(call, { code: 'ERR_INVALID_ARGUMENT', message });
  await refused(engine.fillMask([ids], { count: 0 }), /count must be an integer from 1 to 1000/);
  await refused(engine.fillMask([ids], { best: 1 } as never), /no option 'best'/);
  await refused(engine.fillMask([[0, 508, 2]] as never), /source 0/);
  await refused(engine.fillMask(ids as never), /sources must be an array/);
  await refused(engine.embed([Int32Array.of(0, 509, 2)]), /source 0 has id 509/);
  await refused(engine.embed([ids], { pooling: 'max' as never }), /pooling must be 'mean' or/);
  await refused(engine.embed([ids], { normalize: 1 as never }), /normalize must be true or false/);
  await refused(engine.classify([ids]), /no sequence classifier/);
  await refused(engine.classifyTokens([ids]), /no token classifier/);
  await t.rejects(engine.embed([ids], { signal: AbortSignal.abort(new Error('enough')) }), {
    message: 'enough',
  });
  const closed = await Engine.load(readFixture('tiny-base').directory, options);
  await closed.close();
  await t.rejects(closed.embed([ids]), { code: 'ERR_DISPOSED' });
});

t.test('weights that are not numbers', async (t) => {
  const path = t.testdir(
    withTensors((tensors) => {
      const name = 'roberta.encoder.layer.1.output.dense.bias';
      const values = new Float32Array(128).fill(NaN);
      tensors.set(name, { dtype: 'F32', shape: [128], bytes: new Uint8Array(values.buffer) });
    })(),
  );
  await using engine = await Engine.load(path, options);
  const ids = Int32Array.of(0, 508, 2);
  const damaged = { code: 'ERR_MODEL_FORMAT', message: /not numbers/ };
  await t.rejects(engine.fillMask([ids]), damaged);
  await t.rejects(engine.embed([ids]), damaged);
  await t.rejects(engine.logits([ids]), damaged);
});

t.test('long sequences', async (t) => {
  const architecture = {
    layers: 2,
    hidden: 64,
    heads: 2,
    feedForward: 64,
    vocabulary: 300,
    norm: 'post',
  };
  await using engine = await Engine.random(
    { ...architecture, maxPositions: 8194, lengths: 0 } as never,
    { ...options, seed: 3 },
  );
  const long = Int32Array.from({ length: 8192 }, (_, i) => 4 + (i % 250));
  long[0] = 0;
  long[8191] = 2;
  long[4000] = engine.maskTokenId;
  const [embedded] = await engine.embed([long]);
  t.ok(embedded!.every(Number.isFinite));
  const [filled] = await engine.fillMask([long]);
  t.equal(filled![0]!.position, 4000);
  const [together] = await engine.embed([long, Int32Array.of(0, 7, 2)]);
  t.ok(sameBits(together!, embedded!), 'in any batch');
  await t.rejects(engine.embed([new Int32Array(8193)]), { code: 'ERR_INVALID_ARGUMENT' });
});
