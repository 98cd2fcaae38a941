/**
 * Wrong arguments of the token level and of loading: each is refused with its code, by a message that names
 * the culprit, and leaves the engine as it was.
 */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict, type Source } from '../lib/index.js';
import { refused, wrong } from './refusals-of-calls.js';
import { encoded } from './token-level.js';

const small = { layers: 1, hidden: 64, heads: 1, feedForward: 64, vocabulary: 300 } as const;

t.test('options of loading', async (t) => {
  const load = (options: unknown) => () => Engine.load(embeddedModel, wrong(options));
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'an unknown option': [load({ thread: 2 }), /'thread'.*threads/],
    'options that are no object': [load(2), /options of Engine\.load.*object/],
    'options that are null': [load(null), /options/],
    'a directory that is no string': [() => Engine.load(wrong(5)), /directory must be a string/],
    'a device there is nowhere': [load({ device: 'abacus' }), /device.*'abacus'/],
    'a device that is no string': [load({ device: 1 }), /device/],
    'an unknown precision': [load({ precision: 'fp64' }), /precision.*'fp64'/],
    'no threads': [load({ threads: 0 }), /threads.*1 to 256, not 0/],
    'too many threads': [load({ threads: 1000 }), /threads.*1 to 256, not 1000/],
    'half a thread': [load({ threads: 1.5 }), /threads.*not 1\.5/],
    'threads that are no number': [load({ threads: '2' }), /threads/],
    'no memory': [load({ memoryLimit: 0 }), /memoryLimit.*not 0/],
    'memory that is no number': [load({ memoryLimit: '1 GB' }), /memoryLimit.*1 GB/],
    'infinite memory': [load({ memoryLimit: Infinity }), /memoryLimit.*Infinity/],
    'a mask id that is another token': [load({ maskTokenId: 3 }), /maskTokenId.*not 3/],
    'progress to no function': [load({ onProgress: true }), /onProgress must be a function/],
    'a logger that is no function': [load({ logger: console }), /logger must be a function/],
    'a signal that is none': [load({ signal: {} }), /signal must be an AbortSignal/],
    'an unknown option of MaskPredict.load()': [
      () => MaskPredict.load(embeddedModel, wrong({ seed: 1 })),
      /'seed'.*threads/,
    ],
    'MaskPredict.load() of no string': [
      () => MaskPredict.load(wrong({})),
      /must be a string, the path of a directory/,
    ],
  });
  await refused(t, 'ERR_DEVICE', {
    'a GPU that cannot be there': [
      load({ device: 'cuda:99' }),
      /cuda.*(CUDA|driver|GPU|there are)/,
    ],
    'a precision the CPU does not have': [
      load({ device: 'cpu', precision: 'fp8' }),
      /precision 'fp8'.*int8/,
    ],
  });
  await t.test('the stack of a native error names the callers', async (t) => {
    async function whoLoads(load: () => Promise<unknown>) {
      await load();
    }
    const nowhere = '/nowhere';
    for (const load of [
      () => Engine.load(nowhere),
      () => Engine.load(embeddedModel, { device: 'cuda:99' }),
      () => MaskPredict.load(embeddedModel, { memoryLimit: 1 }),
    ]) {
      const error = await whoLoads(load).catch((reason: Error) => reason);
      t.match(error?.stack, /^MaskPredictError: .+\n[^]* at .*whoLoads/);
      t.equal(error?.stack?.split('\n')[0], `MaskPredictError: ${error?.message}`);
    }
    await using engine = await Engine.random(small, { device: 'cpu' });
    const sources = Array.from({ length: 2000 }, () => Int32Array.of(0, 5, 6, 7, 2));
    const asking = whoLoads(() => engine.encode(sources));
    void engine.close();
    const error = await asking.catch((reason: Error) => reason);
    t.match(error, { code: 'ERR_DISPOSED', stack: /at async .*whoLoads/ });
  });
  await t.test('a device that is named is never replaced by another', async (t) => {
    const outcome = await Engine.load(embeddedModel, { device: 'cuda' }).catch((e: unknown) => e);
    if (outcome instanceof Engine) {
      t.match(outcome.device, /^cuda/);
      await outcome.close();
    } else {
      t.match(outcome, { code: 'ERR_DEVICE', message: /'cuda'.*(CUDA|driver|GPU)/ });
    }
  });
  await refused(t, 'ERR_TOKENIZER', {
    'a text model without a tokenizer': [
      () => MaskPredict.load(fileURLToPath(new URL('fixtures/tiny-base', import.meta.url))),
      /tiny-base.*sentencepiece\.bpe\.model/,
    ],
    "a mask id that is not the tokenizer's": [
      () => MaskPredict.load(embeddedModel, { maskTokenId: 300 }),
      /sentencepiece.*401.*300/,
    ],
  });
  await refused(t, 'ERR_MODEL_FORMAT', {
    'a directory that is not there': [() => Engine.load('/nowhere/at all'), /\/nowhere\/at all/],
    'a directory that is a file': [
      () => Engine.load(fileURLToPath(import.meta.url)),
      /errors\.test\.[jt]s/,
    ],
    'a path with a zero byte': [() => Engine.load(`${embeddedModel}\0x`), /numbers/],
  });
});

t.test('architectures of Engine.random()', async (t) => {
  const random = (shape: unknown, options?: unknown) => () =>
    Engine.random(wrong(shape), wrong(options));
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'an unknown name': [random('xlm-r-tiny'), /'xlm-r-tiny'.*xlm-r-base.*xlm-r-xxl/],
    'a name every object has': [random('constructor'), /'constructor'.*xlm-r-base/],
    none: [random(undefined), /architecture/],
    'an unknown size': [random({ ...small, depth: 3 }), /'depth'.*layers/],
    'no layers': [random({ ...small, layers: 0 }), /layers.*not 0/],
    'a width heads do not divide': [random({ ...small, heads: 7 }), /hidden.*64.*heads.*7/],
    'half a width': [random({ ...small, hidden: 64.5 }), /hidden.*64\.5/],
    'no feed-forward size': [random({ ...small, feedForward: undefined }), /feedForward/],
    'no vocabulary': [random({ ...small, vocabulary: undefined }), /vocabulary must/],
    'a vocabulary of special tokens': [random({ ...small, vocabulary: 5 }), /vocabulary must/],
    'too few length classes': [random({ ...small, lengths: 2 }), /lengths/],
    'too few positions': [random({ ...small, maxPositions: 3 }), /maxPositions/],
    'a norm elsewhere': [random({ ...small, norm: 'middle' }), /norm.*'middle'/],
    'a seed that is no integer': [random(small, { seed: 0.5 }), /seed.*0\.5/],
    'a seed that is a string': [random(small, { seed: 'x' }), /seed.*x/],
    'an unknown option': [random(small, { maskTokenId: 9 }), /'maskTokenId'.*seed/],
  });
});

t.test('arguments of calls', async (t) => {
  const engine = await Engine.load(embeddedModel);
  t.teardown(() => engine.close());
  const { maskTokenId } = engine;
  const most = engine.config.maxPositions - 2;
  const right = Int32Array.of(0, 10, 11, 2);
  const source = await encoded(engine, right);
  const { working } = engine.memory();

  const encode =
    (...sources: unknown[]) =>
    () =>
      engine.encode(wrong(sources));
  const ids = (...values: number[]) => Int32Array.of(0, ...values, 2);
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'an id beyond <mask>': [encode(right, ids(10, maskTokenId + 1)), /source 1.*402 at position 2/],
    'an id below 0': [encode(ids(-1)), /source 0.*-1 at position 1/],
    padding: [encode(right, right, ids(10, 1, 1)), /source 2.*id 1 at position 2.*padding/],
    'too many ids': [encode(new Int32Array(most + 1)), /source 0 has 129 ids.*2 to 128/],
    'no ids': [encode(new Int32Array(0)), /source 0 has 0 ids/],
    'one id': [encode(Int32Array.of(0)), /source 0 has 1 ids/],
    'no <s>': [encode(Int32Array.of(10, 11, 2)), /source 0.*<s>/],
    'no </s>': [encode(right, Int32Array.of(0, 10)), /source 1.*<\/s>/],
    'an array of numbers': [encode([0, 10, 2]), /source 0 must be an Int32Array/],
    floats: [encode(Float32Array.of(0, 2)), /source 0 must be an Int32Array/],
    'no array': [() => engine.encode(wrong(right)), /sources must be an array/],
    nothing: [() => engine.encode(wrong(undefined)), /sources must be an array/],
    'an unknown option': [() => engine.encode([right], wrong({ batch: 1 })), /'batch'.*signal/],
    'a signal that is none': [() => engine.encode([right], wrong({ signal: 1 })), /signal/],
  });

  const target =
    (...args: unknown[]) =>
    () =>
      source.target(...(args as Parameters<Source['target']>));
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'a target of 2 ids': [target(2), /length.*3 to 128.*not 2/],
    'a target of no ids': [target(0), /length.*not 0/],
    'a target beyond the positions': [target(most + 1), /length.*3 to 128.*not 129/],
    'a length of 2^40': [target(2 ** 40), /length/],
    'a length that is not a number': [target(NaN), /length/],
    'half a token': [target(3.5), /length.*3\.5/],
    'a length as a string': [target('5'), /target.*Int32Array/],
    nothing: [target(), /target/],
    'ids in an array': [target([0, 401, 2]), /target.*Int32Array/],
    'too few ids': [target(Int32Array.of(0, 2)), /3 to 128.*not 2/],
    'too many ids': [target(new Int32Array(most + 1)), /3 to 128.*not 129/],
    'ids without <s>': [target(Int32Array.of(5, maskTokenId, 2)), /<s>/],
    'ids without </s>': [target(Int32Array.of(0, maskTokenId, 5)), /<\/s>/],
    'masked ends': [target(new Int32Array(5).fill(maskTokenId)), /<s>/],
    padding: [target(ids(maskTokenId, 1)), /id 1 at position 2.*padding/],
    'an id beyond <mask>': [target(ids(maskTokenId + 1)), /402 at position 1/],
    'an id below 0': [target(ids(10, -7)), /-7 at position 2/],
    'an unknown option': [target(5, { id: 3 }), /'id'.*sequence/],
    'a sequence below 0': [target(5, { sequence: -1 }), /sequence.*-1/],
    'half a sequence': [target(5, { sequence: 0.5 }), /sequence.*0\.5/],
  });

  const masked = source.target(5);
  const done = source.target(6);
  await engine.predict([done]);
  const sampling = (options: unknown) => () =>
    engine.predict([masked], { sampling: wrong(options) });
  const decode = (iterations: unknown) => () => engine.decode([masked], wrong(iterations));
  const remask = (count: unknown) => () => engine.remask([done], wrong([count]));
  const logProbs = (candidates: unknown) => () => engine.logProbs([masked], wrong(candidates));
  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'targets that are no array': [() => engine.predict(wrong(masked)), /targets must be an array/],
    'a target that is none': [
      () => engine.predict([masked, wrong({})]),
      /target 1 is not a target/,
    ],
    'a source as a target': [() => engine.predict(wrong([source])), /target 0 is not a target/],
    'the same target twice': [() => engine.predict([done, masked, done]), /target 2.*twice/],
    'the same target twice in decode()': [() => engine.decode([done, done], 3), /target 1.*twice/],
    'an option of another call': [
      () => engine.predict([masked], wrong({ iterations: 3 })),
      /'iterations'.*signal, sampling/,
    ],
    'sampling without a seed': [sampling({ iterations: 2, iteration: 1 }), /seed/],
    'a pass after the last': [
      sampling({ seed: 1, iterations: 2, iteration: 3 }),
      /iteration.*not 3/,
    ],
    'a pass before the first': [sampling({ seed: 1, iterations: 2, iteration: 0 }), /iteration/],
    'sampling with a temperature': [
      sampling({ seed: 1, iterations: 2, iteration: 1, temperature: 1 }),
      /'temperature'/,
    ],
    'no iterations': [decode(0), /iterations.*not 0/],
    'one iteration and a half': [decode(1.5), /iterations.*not 1\.5/],
    'iterations as a string': [decode('4'), /iterations/],
    'iterations left out': [decode(undefined), /iterations/],
    'more iterations than there can be': [decode(1e9), /iterations.*1000000000/],
    'masking again what is masked': [
      () => engine.remask([masked], [1]),
      /target 0.*3 masked.*predict/,
    ],
    'masking more than N': [remask(5), /count 0.*0 to 4, not 5/],
    'masking less than nothing': [remask(-1), /count 0.*not -1/],
    'masking half a position': [remask(0.5), /count 0.*not 0\.5/],
    'a count as a string': [remask('1'), /count 0/],
    'fewer counts than targets': [() => engine.remask([done], []), /1 targets.*0 counts/],
    'no counts': [() => engine.remask([done], wrong(undefined)), /counts must be an array/],
    'candidates of no target': [logProbs([]), /1 targets.*0 lists/],
    'a candidate of another length': [logProbs([[right]]), /candidate 0 of target 0 has 4.*has 5/],
    'a candidate with an unknown id': [logProbs([[ids(9, 402, 9)]]), /candidate 0.*id 402/],
    'a candidate that is no list': [logProbs([ids(9, 9, 9)]), /candidates of target 0.*array/],
    'no length at all': [() => source.predictLengths(0), /number of lengths.*not 0/],
    'more lengths than classes': [() => source.predictLengths(62), /number of lengths.*1 to 61/],
  });

  await t.test('a target of another engine', async (t) => {
    const other = await Engine.load(embeddedModel);
    const foreign = (await encoded(other, right)).target(5);
    await refused(t, 'ERR_INVALID_ARGUMENT', {
      'predict()': [() => engine.predict([masked, foreign]), /target 1 belongs to another engine/],
      'logits()': [() => engine.logits([foreign]), /target 0 belongs to another engine/],
    });
    await other.close();
  });

  t.same([...masked.masked], [0, 1, 1, 1, 0], 'nothing of all this changed a target');
  await engine.decode([masked], 10);
  const fresh = source.target(5);
  await engine.decode([fresh], 10);
  t.same(masked.tokens, fresh.tokens, 'nor the engine');
  t.ok(engine.memory().working >= working);
});
