/**
 * The trainer as an object: checkpoints go on with the same bits, saved models load, an abort changes nothing, memory is
 * refused before it is tried, wrong arguments say so.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  Engine,
  MaskPredict,
  Trainer,
  quantize,
  type TrainerLoadOptions,
} from '../../lib/index.js';
import { embeddedModel } from '../../lib/bundled-models.js';
import { sameBits } from '../reference/closeness.js';
import { Random } from '../reference/random.js';
import { directoryOf, readGolden } from './golden.js';

const { part } = readGolden('tiny-xl');
const directory = directoryOf('tiny-xl');

async function opened(t: Test, trainer: Promise<Trainer>): Promise<Trainer> {
  const made = await trainer;
  t.teardown(() => made.close());
  return made;
}
const load = (t: Test, options: TrainerLoadOptions = {}) =>
  opened(t, Trainer.load(directory, { threads: 2, learningRate: 1e-3, seed: 9, ...options }));

const weightsOf = async (t: Test, trainer: Trainer) => {
  const to = join(t.testdir(), 'weights');
  await trainer.save(to);
  return readFile(join(to, 'model.safetensors'));
};

/** The values of a model.safetensors in float32. */
const floatsOf = (file: Buffer) => {
  const values = file.subarray(8 + Number(file.readBigUInt64LE()));
  return Array.from({ length: values.length / 4 }, (_, i) => values.readFloatLE(4 * i));
};

t.test('three steps, a checkpoint and three steps are six', async (t) => {
  const folder = t.testdir();
  const whole = await load(t);
  const losses: number[] = [];
  for (let i = 0; i < 6; i++) losses.push((await whole.step(part)).loss);

  const first = await load(t, { threads: 1 });
  for (let i = 0; i < 3; i++) t.equal((await first.step(part)).loss, losses[i]);
  first.state = { position: 3, seed: '9' };
  const checkpoint = join(folder, 'checkpoint');
  await first.checkpoint(checkpoint);
  await first.step(part);
  await first.close();

  for (const threads of [1, 3]) {
    const second = await opened(t, Trainer.resume(checkpoint, { threads }));
    t.same(second.state, { position: 3, seed: '9' });
    t.equal(second.updates, 3);
    t.equal(second.seed, 9n);
    t.equal(second.learningRate, 1e-3);
    for (let i = 3; i < 6; i++) t.equal((await second.step(part)).loss, losses[i], `step ${i}`);
    for (const [name, gradient] of await whole.gradients())
      if (!sameBits(gradient, (await second.gradients()).get(name)!)) t.fail(name);
    await second.save(join(folder, `second-${threads}`));
    await whole.save(join(folder, 'whole'));
    t.ok(
      (await readFile(join(folder, 'whole/model.safetensors'))).equals(
        await readFile(join(folder, `second-${threads}/model.safetensors`)),
      ),
      'the same weights',
    );
  }
});

t.test('an average of the weights is what is saved and validated, and goes on too', async (t) => {
  const plain = await load(t);
  const averaging = await load(t, { average: 0.3, freeze: ['embeddings'] });
  const frozen = await load(t, { freeze: ['embeddings'] });
  t.equal((await plain.memory()).average, 0);
  t.equal((await averaging.memory()).average, (await averaging.memory()).weights);
  const before = await weightsOf(t, averaging);
  t.ok(before.equals(await weightsOf(t, plain)), 'before the first step it is the model');
  let expected = floatsOf(before);
  for (let step = 1; step <= 3; step++) {
    await frozen.step(part);
    await averaging.step(part);
    const kept = Math.min(0.3, (1 + step) / (10 + step));
    const weights = floatsOf(await weightsOf(t, frozen));
    expected = expected.map((a, i) => kept * a + (1 - kept) * weights[i]!);
  }
  const saved = await weightsOf(t, averaging);
  const off = floatsOf(saved).reduce((most, a, i) => Math.max(most, Math.abs(a - expected[i]!)), 0);
  t.ok(off < 1e-6, `the average is off by ${off}`);
  t.notOk(saved.equals(await weightsOf(t, frozen)));
  const model = await opened(t, Trainer.load(join(t.testdirName, 'weights'), { threads: 1 }));
  await averaging.save(join(t.testdirName, 'weights'));
  const again = await opened(t, Trainer.load(join(t.testdirName, 'weights'), { threads: 1 }));
  t.equal((await averaging.evaluate([part])).loss, (await again.evaluate([part])).loss);
  t.not((await averaging.evaluate([part])).loss, (await model.evaluate([part])).loss);

  const checkpoint = join(t.testdir(), 'checkpoint');
  await averaging.checkpoint(checkpoint);
  const resumed = await opened(t, Trainer.resume(checkpoint));
  t.ok((await weightsOf(t, resumed)).equals(saved), 'the same average');
  await t.rejects(load(t, { average: 1 }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /average must be a number of at least 0 and below 1/,
  });
});

t.test('a checkpoint with frozen embeddings and untied options goes on', async (t) => {
  const options = { freeze: ['embeddings'], recompute: 'layer', dropout: 0.3 } as const;
  const whole = await load(t, options);
  await whole.step(part);
  const to = join(t.testdir(), 'checkpoint');
  await whole.checkpoint(to, null);
  const second = await opened(t, Trainer.resume(to));
  t.equal(second.state, null);
  t.equal((await second.step(part)).loss, (await whole.step(part)).loss);
  t.notOk((await second.gradients()).has('roberta.embeddings.word_embeddings.weight'));
});

t.test('a checkpoint is replaced, and a crash in between is put right', async (t) => {
  const folder = t.testdir();
  const to = join(folder, 'checkpoint');
  const trainer = await load(t);
  await trainer.checkpoint(to, { step: 0 });
  await trainer.step(part);
  await trainer.checkpoint(to, { step: 1 });
  t.same(readdirSync(folder), ['checkpoint'], 'nothing is left beside it');
  const state = async () => {
    const resumed = await Trainer.resume(to);
    await resumed.close();
    return resumed.state;
  };
  t.same(await state(), { step: 1 });
  // Killed while the next one was written.
  mkdirSync(`${to}.partial`);
  writeFileSync(join(`${to}.partial`, 'training.safetensors.partial'), 'half');
  t.same(await state(), { step: 1 });
  // Killed between the two renames.
  renameSync(to, `${to}.replaced`);
  t.same(await state(), { step: 1 });
  t.ok(existsSync(to));
  await trainer.checkpoint(to, { step: 2 });
  t.same(await state(), { step: 2 });
  t.same(readdirSync(folder), ['checkpoint']);

  writeFileSync(join(to, 'notes.txt'), 'mine');
  await t.rejects(trainer.checkpoint(to), { code: 'ERR_INVALID_ARGUMENT', message: /notes\.txt/ });
});

t.test('what is no checkpoint', async (t) => {
  const folder = t.testdir({
    empty: {},
    text: { 'training.safetensors': 'hello' },
    model: { 'training.safetensors': await readFile(join(directory, 'model.safetensors')) },
  });
  for (const name of ['missing', 'empty', 'text', 'model'])
    await t.rejects(
      Trainer.resume(join(folder, name)),
      { code: 'ERR_MODEL_FORMAT', message: /training\.safetensors/ },
      name,
    );
  const trainer = await load(t);
  await trainer.checkpoint(join(folder, 'cut'));
  const file = join(folder, 'cut/training.safetensors');
  writeFileSync(file, (await readFile(file)).subarray(0, -1000));
  await t.rejects(Trainer.resume(join(folder, 'cut')), { code: 'ERR_MODEL_FORMAT' });
});

t.test('a saved model is the trained one', async (t) => {
  const folder = t.testdir();
  const trainer = await load(t, { dropout: 0 });
  await trainer.step(part);
  const { nll } = await trainer.evaluate([part]);
  for (const precision of ['fp32', 'fp16', 'bf16'] as const) {
    const to = join(folder, precision);
    await trainer.save(to, { precision });
    const engine = await Engine.load(to, { device: 'cpu', threads: 1 });
    t.teardown(() => engine.close());
    t.equal(engine.precision, precision);
    t.same(engine.config.lengths, trainer.lengths);
    const sources = await engine.encode(part.sources);
    const mask = engine.maskTokenId;
    const targets = sources.map((source, i) => source.target(part.targets[i]!));
    const logits = await engine.logits(targets);
    let sum = 0;
    let count = 0;
    part.golds.forEach((gold, i) =>
      gold.forEach((id, p) => {
        if (part.targets[i]![p] !== mask && part.targets[i]![p] === id) return;
        const row = logits[i]!.subarray(p * engine.config.vocabulary).subarray(0, mask + 1);
        const largest = Math.max(...row);
        sum += largest + Math.log(row.reduce((s, z) => s + Math.exp(z - largest), 0)) - row[id]!;
        count++;
      }),
    );
    // Rounding changes each weight by up to 2⁻¹¹ or 2⁻⁸ of it.
    const allowed = { fp32: 1e-4, fp16: 0.01, bf16: 0.1 }[precision];
    t.ok(Math.abs(sum / count - nll) < allowed, `${precision}: ${sum / count} for ${nll}`);
  }
  await trainer.save(join(folder, 'fp16'), { precision: 'fp32' });
  t.same(readdirSync(folder).sort(), ['bf16', 'fp16', 'fp32'], 'replaced, with nothing beside');
  const again = await opened(t, Trainer.load(join(folder, 'fp16'), { dropout: 0 }));
  t.equal((await again.evaluate([part])).nll, nll, 'loads with the same bits');
});

t.test('a directory without a length predictor gets one', async (t) => {
  const trainer = await opened(t, Trainer.load(directoryOf('tiny-odd'), { dropout: 0 }));
  t.ok(trainer.addedLengthPredictor);
  t.equal(trainer.lengths, trainer.maxIds + 1, 'a class for each length');
  const random = new Random(1);
  const ids = (inner: number) => Int32Array.of(0, ...random.integers(inner, 4, 400), 2);
  const gold = ids(5);
  const target = Int32Array.from(gold, (id, i) => (i === 2 ? trainer.maskTokenId : id));
  const first = await trainer.step({ sources: [ids(7)], targets: [target], golds: [gold] });
  // Weights of 0.02: every length is about as likely.
  t.ok(Math.abs(first.lengthLoss - Math.log(trainer.lengths)) < 1);
  const other = await opened(t, Trainer.load(directoryOf('tiny-odd'), { lengths: 40 }));
  t.equal(other.lengths, 40);
  t.notOk((await load(t)).addedLengthPredictor);
});

t.test('the embedded model keeps its tokenizer and its answers', async (t) => {
  const trainer = await opened(t, Trainer.load(embeddedModel, { dropout: 0, threads: 2 }));
  const to = join(t.testdir(), 'model');
  await trainer.save(to, { precision: 'fp16' });
  const model = await MaskPredict.load(to, { device: 'cpu' });
  t.teardown(() => model.close());
  const answer = await model.generate('Write the number 4217 in German words.');
  t.equal(answer.text, 'viertausendzweihundertsiebzehn', 'with its tokenizer');
});

t.test('int8 is refused, with the way out', async (t) => {
  const to = join(t.testdir(), 'int8');
  await quantize(directory, to);
  await t.rejects(Trainer.load(to), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /int8.*Train the directory they were quantized from/,
  });
});

t.test('an abort changes nothing', async (t) => {
  const trainer = await load(t);
  await trainer.step(part);
  const before = await weightsOf(t, trainer);
  await t.rejects(trainer.step(part, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
  // Larger steps than a timer needs to run.
  const large = Array.from({ length: 20 }, () => part);
  let aborted = 0;
  for (let i = 0; i < 5; i++) {
    const controller = new AbortController();
    const step = trainer.step(large, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('stop')), 2 * i);
    await t.rejects(step, /stop/);
    aborted++;
  }
  t.equal(aborted, 5);
  t.equal(trainer.updates, 1);
  t.ok((await weightsOf(t, trainer)).equals(before), 'the weights are as they were');
  const fresh = await load(t);
  await fresh.step(part);
  t.equal((await trainer.step(part)).loss, (await fresh.step(part)).loss, 'and so is the rest');
});

t.test('the event loop runs while a step is computed', async (t) => {
  const trainer = await load(t);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  t.teardown(() => clearInterval(timer));
  await trainer.step(Array.from({ length: 20 }, () => part));
  t.ok(turns > 2, `${turns} turns`);
});

t.test('memory', async (t) => {
  const { weights, gradients, moments, working, limit } = await (await load(t)).memory();
  t.equal(working, 0);
  t.equal(gradients, weights);
  t.equal(moments, 2 * weights);
  t.ok(limit > weights);
  await t.rejects(load(t, { memoryLimit: 1e6 }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /limit is 0\.00 GiB; raise memoryLimit/,
  });

  const trainer = await load(t, { memoryLimit: 4 * weights + 20e6 });
  const smaller = await trainer.bytesFor(100);
  t.ok(smaller < 4 * weights + 20e6);
  await trainer.reserve(100);
  t.equal(
    Object.values(await trainer.memory())
      .slice(0, 5)
      .reduce((a, b) => a + b),
    smaller,
  );
  await t.rejects(trainer.reserve(100000), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /a step of 100000 rows needs .* recompute: 'layer' needs less, as do fewer rows/,
  });
  const before = await weightsOf(t, trainer);
  const large = { ...part };
  for (let i = 0; i < 6; i++)
    for (const key of ['sources', 'targets', 'golds'] as const)
      large[key] = [...large[key], ...large[key]];
  await t.rejects(trainer.step(large), { code: 'ERR_OUT_OF_MEMORY' });
  t.ok((await weightsOf(t, trainer)).equals(before), 'and nothing has changed');
  await trainer.step(part);

  const bytes: number[] = [];
  for (const recompute of ['none', 'gelu', 'layer'] as const)
    bytes.push(await (await load(t, { recompute })).bytesFor(4096));
  t.ok(bytes[0]! > bytes[1]! && bytes[1]! > bytes[2]!, `${bytes.join(' > ')}`);
});

t.test('XLM-R base fits 8 GiB with 4096 rows', async (t) => {
  // Its sizes with two layers, and what each further layer takes: the model itself would be 4.5 GiB of zeros here.
  const shape = { hidden: 768, vocabulary: 250002, norm: 'post', layers: 1 } as const;
  const small = { hidden: 768, vocabulary: 1000, norm: 'post' } as const;
  const sizes = await Promise.all(
    [1, 2].map(async (layers) => {
      const trainer = await opened(
        t,
        Trainer.create({ ...small, layers }, undefined, { threads: 1 }),
      );
      return trainer.bytesFor(4096);
    }),
  );
  const layer = sizes[1]! - sizes[0]!;
  const embeddings = 4 * 4 * (shape.vocabulary - small.vocabulary) * shape.hidden;
  const logits = 4 * (shape.vocabulary + 16 * 2 ** 20);
  const all = sizes[0]! + 11 * layer + embeddings + logits;
  t.ok(all < 8 * 2 ** 30, `${(all / 2 ** 30).toFixed(2)} GiB`);
});

t.test('wrong arguments', async (t) => {
  const trainer = await load(t);
  const mask = trainer.maskTokenId;
  const [source, target, gold] = [
    Int32Array.of(0, 5, 2),
    Int32Array.of(0, mask, 2),
    Int32Array.of(0, 6, 2),
  ];
  const good = { sources: [source], targets: [target], golds: [gold] };
  const refused: [string, unknown, RegExp][] = [
    ['no parts', [], /at least one part/],
    ['nothing', undefined, /part of a step must be an object/],
    ['no golds', { ...good, golds: [] }, /1 targets, but 0 golds/],
    ['a gold of another length', { ...good, golds: [Int32Array.of(0, 6, 7, 2)] }, /4 ids.*3/],
    ['a masked gold', { ...good, golds: [target] }, /<mask>.*no answer/],
    ['no sources', { ...good, sources: [] }, /0 sources and 1 targets; sourceOf/],
    ['a source too many', { ...good, sources: [source, source] }, /2 sources and 1 targets/],
    [
      'a source nobody has',
      { ...good, sources: [source, source], sourceOf: Int32Array.of(0) },
      /source 1 has no target/,
    ],
    ['a source that is not there', { ...good, sourceOf: Int32Array.of(1) }, /sourceOf\[0\] is 1/],
    ['padding', { ...good, sources: [Int32Array.of(0, 1, 2)] }, /id 1 at position 1/],
    ['an id beyond <mask>', { ...good, sources: [Int32Array.of(0, mask + 1, 2)] }, /ids are 0 to/],
    ['no <s>', { ...good, sources: [Int32Array.of(5, 5, 2)] }, /begin with <s>/],
    ['no </s>', { ...good, targets: [Int32Array.of(0, mask, mask)] }, /end with <\/s>/],
    ['two ids', { ...good, sources: [Int32Array.of(0, 2)] }, /2 ids; it must have 3 to/],
    ['too long', { ...good, sources: [new Int32Array(500)] }, /500 ids/],
    ['other arrays', { ...good, sources: [[0, 5, 2]] }, /source 0 must be an Int32Array/],
    ['nothing masked', { ...good, targets: [gold] }, /nothing to predict/],
  ];
  for (const [what, given, message] of refused)
    await t.rejects(trainer.step(given as never), { code: 'ERR_INVALID_ARGUMENT', message }, what);
  for (const options of [
    { update: 1 },
    { learningRate: -1 },
    { learningRate: NaN },
    { seed: 'x' },
    { step: -1 },
    { signal: 1 },
    { rate: 1 },
  ])
    await t.rejects(
      trainer.step(good, options as never),
      { code: 'ERR_INVALID_ARGUMENT' },
      JSON.stringify(options),
    );
  await trainer.step(good);
  t.equal(trainer.updates, 1);

  for (const options of [
    { dropout: 1 },
    { dropout: '0' },
    { labelSmoothing: -0.1 },
    { lengthWeight: -1 },
    { betas: [0.9] },
    { betas: [0.9, 1] },
    { epsilon: 0 },
    { weightDecay: -1 },
    { decay: 'some' },
    { clipNorm: -1 },
    { freeze: 'embeddings' },
    { freeze: ['layers'] },
    { recompute: 'all' },
    { precision: 'int8' },
    { threads: 0 },
    { seed: 0.5 },
    { memoryLimit: -1 },
    { maskTokenId: 5 },
    { lengths: 3 },
    { smoothing: 0.1 },
  ])
    await t.rejects(
      Trainer.load(directory, options as never),
      { code: 'ERR_INVALID_ARGUMENT' },
      JSON.stringify(options),
    );
  await t.rejects(Trainer.load('/nowhere'), { code: 'ERR_MODEL_FORMAT' });
  for (const [shape, message] of [
    [{}, /needs hidden/],
    [{ layers: 1, hidden: 8 }, /tokenizer/],
    [{ layers: 1, hidden: 8, vocabulary: 5 }, /vocabulary must be/],
    [{ layers: 1, hidden: 8, vocabulary: 50, heads: 3 }, /multiple of heads/],
    [{ layers: 0, hidden: 8, vocabulary: 50 }, /layers must be/],
    [{ layers: 1, hidden: 8, vocabulary: 50, lengths: 0 }, /lengths must be/],
    [{ layers: 1, hidden: 8, vocabulary: 50, norm: 'none' }, /norm must be/],
    [{ layers: 1, hidden: 8, vocabulary: 50, depth: 1 }, /no option 'depth'/],
  ] as const)
    await t.rejects(
      Trainer.create(shape as never, undefined),
      { code: 'ERR_INVALID_ARGUMENT', message },
      JSON.stringify(shape),
    );
});

t.test('a target longer than the length predictor knows', async (t) => {
  const shape = { layers: 1, hidden: 8, vocabulary: 50, maxPositions: 20, lengths: 6 };
  const trainer = await opened(t, Trainer.create(shape, undefined));
  const ids = (inner: number, id: number) => Int32Array.of(0, ...new Array(inner).fill(id), 2);
  const of = (inner: number) => ({
    sources: [ids(3, 9)],
    targets: [ids(inner, 49)],
    golds: [ids(inner, 8)],
  });
  await trainer.step(of(3));
  await t.rejects(trainer.step(of(4)), { message: /6 ids.*longest is 5/ });
});

t.test('a step that is no number changes nothing', async (t) => {
  const trainer = await load(t, { clipNorm: 0, dropout: 0 });
  await trainer.step(part, { learningRate: 1e30 });
  const before = await weightsOf(t, trainer);
  await t.rejects(trainer.step(part), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /not a finite number.*the weights are as they were/,
  });
  t.equal(trainer.updates, 1);
  t.ok((await weightsOf(t, trainer)).equals(before));
  await t.rejects(trainer.save(join(t.testdir(), 'half'), { precision: 'fp16' }), {
    message: /F16 cannot hold/,
  });
});

t.test('closing', async (t) => {
  const trainer = await load(t);
  const running = trainer.step(Array.from({ length: 20 }, () => part));
  const waiting = trainer.step(part);
  const rejected = [
    t.rejects(running, { code: 'ERR_DISPOSED' }),
    t.rejects(waiting, { code: 'ERR_DISPOSED', message: /the trainer was closed/ }),
  ];
  await trainer.close();
  await trainer.close();
  await Promise.all(rejected);
  await t.rejects(trainer.step(part), { code: 'ERR_DISPOSED' });
  await t.rejects(trainer.gradients(), { code: 'ERR_DISPOSED' });
  t.throws(() => trainer.config, { code: 'ERR_DISPOSED' });
  const aborted = new AbortController();
  const loading = Trainer.load(directory, { signal: aborted.signal });
  aborted.abort(new Error('never mind'));
  await t.rejects(loading, /never mind/);
});

t.test('loading says how far it is', async (t) => {
  const seen: number[] = [];
  await load(t, { onProgress: (fraction) => seen.push(fraction) });
  t.equal(seen.at(-1), 1);
  t.ok(seen.every((fraction, i) => i === 0 || fraction >= seen[i - 1]!));
  const broken = load(t, {
    onProgress: () => {
      throw new Error('no');
    },
  });
  await t.rejects(broken, /no/);
});
