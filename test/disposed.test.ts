/**
 * Use after the end: of a source, a target, an engine or a model that was disposed of or closed, every use is
 * `ERR_DISPOSED`; what still works goes on working.
 */
import t from 'tap';
import { embeddedModel, Engine, MaskPredict } from '../lib/index.js';
import { refused } from './refusals-of-calls.js';
import { encoded } from './token-level.js';

const ids = Int32Array.of(0, 10, 11, 12, 2);

t.test('a source', async (t) => {
  const engine = await Engine.load(embeddedModel);
  t.teardown(() => engine.close());
  const source = await encoded(engine, ids);
  const other = await encoded(engine, ids);
  const [target, healthy] = [source.target(5), other.target(5)];
  source.dispose();
  source.dispose();
  t.equal(source.length, 5, 'its length is still known');
  await refused(t, 'ERR_DISPOSED', {
    'states()': [() => source.states(), /source was disposed/],
    lengthLogits: [() => source.lengthLogits, /source was disposed/],
    'predictLengths()': [() => source.predictLengths(), /source was disposed/],
    'target()': [() => source.target(5), /source was disposed/],
    'predict() over it': [() => engine.predict([healthy, target]), /target 1's source/],
    'decode() over it': [() => engine.decode([target], 3), /target 0's source/],
    'remask() over it': [() => engine.remask([target], [0]), /target 0's source/],
    'logits() over it': [() => engine.logits([target]), /target 0's source/],
    'states() over it': [() => engine.states([target]), /target 0's source/],
    'logProbs() over it': [() => engine.logProbs([target], [[]]), /target 0's source/],
  });
  t.same([...healthy.masked], [0, 1, 1, 1, 0], 'the other target of the call was left alone');
  await engine.predict([healthy]);

  const running = await encoded(engine, ids);
  const [before, after] = [running.target(5), running.target(5)];
  await engine.decode([before], 10);
  const call = engine.decode([after], 10);
  running.dispose();
  t.same(await call, [passes(10)], 'a call that has begun ends well');
  t.same([...after.tokens], [...before.tokens]);

  {
    using scoped = await encoded(engine, ids);
    t.equal(scoped.length, 5);
    void scoped;
  }
});

/** Passes over 3 masked positions. */
function passes(iterations: number): number {
  let t = 1;
  while (Math.floor((3 * (iterations - t)) / iterations) > 0) t++;
  return t;
}

t.test('a target', async (t) => {
  const engine = await Engine.load(embeddedModel);
  t.teardown(() => engine.close());
  const source = await encoded(engine, ids);
  const [target, other] = [source.target(5), source.target(5)];
  target.dispose();
  target.dispose();
  await refused(t, 'ERR_DISPOSED', {
    tokens: [() => target.tokens, /target was disposed/],
    scores: [() => target.scores, /target was disposed/],
    masked: [() => target.masked, /target was disposed/],
    length: [() => target.length, /target was disposed/],
    maskable: [() => target.maskable, /target was disposed/],
    'predict()': [() => engine.predict([other, target]), /target/],
    'decode()': [() => engine.decode([target], 1), /target/],
  });
  t.same(await engine.decode([other], 10), [passes(10)], 'its source and the others are well');
  const running = source.target(5);
  const call = engine.decode([running], 10);
  running.dispose();
  t.same(await call, [passes(10)], 'a call that has begun ends well');
});

t.test('an engine', async (t) => {
  const engine = await Engine.load(embeddedModel);
  const source = await encoded(engine, ids);
  const target = source.target(5);
  await engine.close();
  await engine.close();
  await refused(t, 'ERR_DISPOSED', {
    'encode()': [() => engine.encode([ids]), /engine was closed/],
    'predict()': [() => engine.predict([target]), /engine was closed/],
    'remask()': [() => engine.remask([target], [0]), /engine was closed/],
    'decode()': [() => engine.decode([target], 3), /engine was closed/],
    'logits()': [() => engine.logits([target]), /engine was closed/],
    'states()': [() => engine.states([target]), /engine was closed/],
    'logProbs()': [() => engine.logProbs([target], [[ids]]), /engine was closed/],
    'memory()': [() => engine.memory(), /engine was closed/],
    'states() of its source': [() => source.states(), /source was disposed/],
    'a target of its source': [() => source.target(5), /source was disposed/],
    'lengths of its source': [() => source.predictLengths(), /source was disposed/],
  });
  source.dispose();
  target.dispose();
});

t.test('a model', async (t) => {
  const model = await MaskPredict.load();
  const refinement = model.refine('zwei', { length: 20 });
  await refinement.next();
  await model.close();
  await refused(t, 'ERR_DISPOSED', {
    'generate()': [() => model.generate('x'), /closed/],
    'generate() of several': [() => model.generate(['x', 'y']), /closed/],
    'refine()': [() => model.refine('x').next(), /closed/],
    'a refinement that has begun': [() => refinement.next(), /closed|disposed/],
    'choose()': [() => model.choose('x', ['a']), /closed/],
    'score()': [() => model.score('x', 'a'), /closed/],
    'predictLength()': [() => model.predictLength('x'), /closed/],
    'its engine': [() => model.engine.encode([ids]), /closed/],
  });
  await model.close();
  t.equal(model.tokenizer.countTokens(''), 0, 'the tokenizer is plain data and still works');

  let left: MaskPredict;
  {
    await using scoped = await MaskPredict.load();
    left = scoped;
    await scoped.generate('x');
  }
  await t.rejects(left.generate('x'), { code: 'ERR_DISPOSED' }, 'await using closes');
  let engine: Engine;
  {
    await using scoped = await Engine.load(embeddedModel);
    engine = scoped;
  }
  await t.rejects(engine.encode([ids]), { code: 'ERR_DISPOSED' });
});
