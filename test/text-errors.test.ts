/**
 * Wrong arguments of the text level: refused with a message that names the culprit, of several prompts by its
 * index, before the engine is given any work. Also models that lack a part, or whose numbers are damaged.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict } from '../lib/index.js';
import { base, baseTensors, get, second, withTensor, words } from './model-directories.js';
import { refused, wrong } from './refusals-of-calls.js';
import { readTensors, safetensorsOf } from './safetensors-writer.js';
import { encoded } from './token-level.js';

t.test('prompts and options', async (t) => {
  const model = await MaskPredict.load();
  t.teardown(() => model.close());
  const encodes = t.capture(model.engine, 'encode', model.engine.encode);
  const generate = (prompt: unknown, options?: unknown) => () =>
    model.generate(wrong(prompt), wrong(options));
  const having = (options: unknown) => generate('x', options);
  const refine = (options: unknown) => async () => {
    for await (const step of model.refine('x', wrong(options))) t.fail(`step ${step.iteration}`);
  };
  const long = 'x '.repeat(500);
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'a number': [generate(5), /prompt/],
    nothing: [generate(undefined), /prompt/],
    null: [generate(null), /prompt/],
    'a prompt of several that is no string': [generate(['a', 'b', 5, 'c']), /prompt 2.*string/],
    'a prompt of several that is missing': [generate(['a', undefined]), /prompt 1.*string/],
    // eslint-disable-next-line no-sparse-arrays
    'an array with a hole': [generate(['a', , 'b']), /prompt 1.*string/],
    'a String object': [generate(Object('x')), /prompt/],
    'an empty prompt': [generate(''), /prompt has no tokens.*empty or blank/],
    'a blank prompt': [generate(' \t\n\u00a0\u3000\u200b\ufeff'), /prompt has no tokens/],
    'a blank prompt of several': [generate(['a', '  ']), /prompt 1 has no tokens/],
    'refine() of an empty prompt': [() => model.refine('').next(), /prompt has no tokens/],
    'choose() for an empty prompt': [() => model.choose(' ', ['a']), /prompt has no tokens/],
    'score() for an empty prompt': [() => model.score(' ', 'a'), /prompt has no tokens/],
    'predictLength() of an empty prompt': [() => model.predictLength(''), /prompt has no tokens/],
    'options that are null': [having(null), /options of generate/],
    'an unknown option': [having({ iteration: 3 }), /'iteration'.*iterations/],
    'no iterations': [having({ iterations: 0 }), /iterations.*not 0/],
    'one iteration and a half': [having({ iterations: 1.5 }), /iterations.*not 1\.5/],
    'iterations as a string': [having({ iterations: '4' }), /iterations.*not "4"/],
    'iterations that are null': [having({ iterations: null }), /iterations.*null/],
    'a length of 0': [having({ length: 0 }), /length.*not 0/],
    'a length below 0': [having({ length: -3 }), /length.*not -3/],
    'half a token': [having({ length: 2.5 }), /length.*not 2\.5/],
    'a length in words': [having({ length: 'auto' }), /length.*'predict'.*candidates.*auto/],
    'a length that is null': [having({ length: null }), /length.*null/],
    'an empty length': [having({ length: {} }), /length.*candidates/],
    'no candidates': [having({ length: { candidates: 0 } }), /candidates.*not 0/],
    'candidates as a string': [having({ length: { candidates: '2' } }), /candidates.*not "2"/],
    'candidates of something': [having({ length: { candidates: 2, best: 1 } }), /'best'/],
    'a weight below 0': [
      having({ length: { candidates: 2, weight: -1 } }),
      /length\.weight.*not -1/,
    ],
    'a weight without end': [
      having({ length: { candidates: 2, weight: Infinity } }),
      /not Infinity/,
    ],
    'a weight that is no number': [having({ length: { candidates: 2, weight: '1' } }), /not "1"/],
    'a weight of nothing': [having({ length: { weight: 1 } }), /length\.candidates/],
    'sampling without a seed': [having({ sampling: {} }), /sampling\.seed/],
    'sampling by true': [having({ sampling: true }), /sampling/],
    'half a seed': [having({ sampling: { seed: 0.5 } }), /sampling\.seed.*0\.5/],
    'sampling with a temperature': [
      having({ sampling: { seed: 1, temperature: 1 } }),
      /'temperature'/,
    ],
    'overflow in words': [having({ overflow: 'wrap' }), /overflow.*"wrap"/],
    'parseSpecial in words': [having({ parseSpecial: 'yes' }), /parseSpecial.*"yes"/],
    'a signal that is none': [having({ signal: {} }), /signal must be an AbortSignal/],
    'refine() of candidates': [refine({ length: { candidates: 2 } }), /refine\(\).*length/],
    'refine() without iterations': [refine({ iterations: 0 }), /iterations.*not 0/],
    'refine() with an unknown option': [refine({ steps: 0 }), /'steps'/],
    'refine() of a number': [() => model.refine(wrong(5)).next(), /prompt.*string/],
    'choose() of no labels': [() => model.choose('x', []), /label/],
    'choose() of a string': [() => model.choose('x', wrong('Yes')), /label/],
    'a label that is no string': [() => model.choose('x', ['a', wrong(1)]), /label 1.*string/],
    'a label without tokens': [() => model.choose('x', ['a', ' ']), /label 1 has no tokens/],
    'choose() of a number': [() => model.choose(wrong(5), ['a']), /prompt.*string/],
    'choose() with iterations': [
      () => model.choose('x', ['a'], wrong({ iterations: 3 })),
      /'iterations'/,
    ],
    'score() of nothing': [() => model.score('x', ''), /text to score has no tokens/],
    'score() of a number': [() => model.score('x', wrong(5)), /text to score.*string/],
    'score() with a length': [() => model.score('x', 'y', wrong({ length: 3 })), /'length'/],
    'a text to score that is too long': [() => model.score('x', long), /128/],
    'predictLength() of null': [() => model.predictLength(wrong(null)), /prompt.*string/],
    'predictLength() with a length': [
      () => model.predictLength('x', 1, wrong({ length: 3 })),
      /'length'/,
    ],
  });
  t.equal(encodes().length, 0, 'no source was encoded for any of these');

  // Errors that depend on the model show when the source is encoded; the source does not stay.
  await model.generate('x');
  const { working } = model.engine.memory();
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'a length beyond the positions': [having({ length: 127 }), /length.*126.*not 127/],
    'more candidates than classes': [having({ length: { candidates: 62 } }), /lengths.*1 to 61/],
    'more lengths than classes': [() => model.predictLength('x', 62), /lengths.*1 to 61/],
    'no length': [() => model.predictLength('x', 0), /lengths.*not 0/],
  });
  t.equal(model.engine.memory().working, working, 'nothing is left behind');
  t.equal((await model.generate('Is the number 4217 even? Yes or no?')).text, 'No');
});

t.test('a model without a length predictor', async (t) => {
  const engine = await Engine.load(fileURLToPath(new URL('fixtures/tiny-odd', import.meta.url)));
  const source = await encoded(engine, Int32Array.of(0, 10, 2));
  t.equal(source.lengthLogits, null);
  const message = /no length predictor.*embed_length\.weight.*give the length/;
  t.throws(() => source.predictLengths(), { code: 'ERR_INVALID_ARGUMENT', message });
  await engine.decode([source.target(7)], 4);
  await engine.close();

  const file = (name: string) => readFileSync(join(embeddedModel, name));
  const { length_vocab_size: classes, ...config } = JSON.parse(
    file('config.json').toString(),
  ) as Record<string, unknown>;
  t.equal(classes, 64);
  const tensors = readTensors(file('model.safetensors'));
  t.ok(tensors.delete('embed_length.weight'));
  const directory = t.testdir({
    'config.json': JSON.stringify(config),
    'model.safetensors': safetensorsOf(tensors),
    'sentencepiece.bpe.model': file('sentencepiece.bpe.model'),
  });
  const model = await MaskPredict.load(directory);
  const prompt = 'Write the number 4217 in German words.';
  const candidates = { length: { candidates: 3 } };
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'generate()': [() => model.generate(prompt), message],
    candidates: [() => model.generate(prompt, candidates), message],
    'refine()': [() => model.refine(prompt).next(), message],
    'predictLength()': [() => model.predictLength(prompt), message],
  });
  t.equal((await model.generate(prompt, { length: 5 })).text, 'viertausendzweihundertsiebzehn');
  await model.close();
});

t.test('weights that are not numbers', async (t) => {
  const poisoned = (name: string) => {
    const { bytes } = get(baseTensors, name);
    const copy = Buffer.from(bytes);
    for (let at = 0; at < copy.length; at += 4) copy.writeFloatLE(NaN, at);
    return t.testdir(withTensor(name, { bytes: copy })());
  };
  const source = Int32Array.of(0, 10, 11, 2);
  for (const name of [second, words]) {
    await t.test(name, async (t) => {
      const engine = await Engine.load(poisoned(name));
      t.teardown(() => engine.close());
      using whole = await encoded(engine, source);
      const target = whole.target(5);
      const sampling = { seed: 1 };
      const answer = Int32Array.of(0, 10, 11, 12, 2);
      const message = /logits.*NaN/;
      await refused(t, 'ERR_MODEL_FORMAT', {
        'predict()': [() => engine.predict([target]), message],
        'decode()': [() => engine.decode([target], 4), message],
        sampling: [() => engine.decode([target], 4, { sampling }), message],
        'logProbs()': [() => engine.logProbs([target], [[answer]]), message],
      });
      t.same([...target.masked], [0, 1, 1, 1, 0], 'the target is as before');
    });
  }
  await t.test('embed_length.weight', async (t) => {
    const engine = await Engine.load(poisoned('embed_length.weight'));
    t.teardown(() => engine.close());
    using length = await encoded(engine, source);
    await refused(t, 'ERR_MODEL_FORMAT', {
      'predictLengths()': [() => length.predictLengths(3), /length.*NaN/],
    });
    await engine.decode([length.target(5)], 4);
  });
  const engine = await Engine.load(base);
  using healthy = await encoded(engine, source);
  await engine.predict([healthy.target(5)]);
  await engine.close();
});
