/**
 * Memory: a limit refuses what does not fit before it is tried and leaves the engine working; what is
 * disposed of, closed or forgotten comes back; engines of one directory share their weights.
 */
import { execFileSync } from 'node:child_process';
import {
  readdirSync,
  renameSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { embeddedModel, Engine, MaskPredict, quantize } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { baseConfig, baseTensors, get, second, words } from './model-directories.js';
import { safetensorsOf } from './safetensors-writer.js';
import { encoded, prompts } from './token-level.js';

const MiB = 2 ** 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Resident memory after a collection. */
function resident(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}

const peak = () => process.resourceUsage().maxRSS * 1024;

/** Finalizers run in turns of the event loop after a collection. */
async function collected(done: () => boolean): Promise<boolean> {
  for (let round = 0; round < 10 && !done(); round++) {
    collectGarbage();
    for (let turn = 0; turn < 10 && !done(); turn++) await sleep(1);
  }
  return done();
}

/** Working memory grows with the largest pass and stays: this makes it as large as it gets. */
async function warmUp(engine: Engine): Promise<void> {
  const sources = await engine.encode(Array.from({ length: 8 }, () => idsOf(128)));
  await engine.predict(sources.map((source) => source.target(128)));
  for (const source of sources) source.dispose();
}

function idsOf(length: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => (i === 0 ? 0 : i === length - 1 ? 2 : 10 + i));
}

t.test('a model that does not fit', async (t) => {
  const before = peak();
  const begun = performance.now();
  await t.rejects(Engine.random('xlm-r-xxl', { memoryLimit: 20 * 2 ** 30 }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /GiB|GB|MiB|bytes/,
  });
  t.ok(peak() - before < 200 * MiB, `${Math.round((peak() - before) / MiB)} MiB were touched`);
  // Drawing 20 GiB of weights takes a minute; being told at once does not.
  t.ok(performance.now() - begun < 2000, 'told at once');
  await t.rejects(Engine.load(embeddedModel, { memoryLimit: 1e6 }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /numbers/,
  });
  await t.rejects(MaskPredict.load(embeddedModel, { memoryLimit: 1e6 }), {
    code: 'ERR_OUT_OF_MEMORY',
  });
  const model = await MaskPredict.load();
  await t.rejects(Engine.load(embeddedModel, { memoryLimit: 1e6 }), { code: 'ERR_OUT_OF_MEMORY' });
  t.equal((await model.generate('Is the number 4217 even? Yes or no?')).text, 'No');
  await model.close();
});

t.test('many prompts that do not fit together take turns', async (t) => {
  // 60 sources of 128 ids keep some 35 MiB; the limit leaves 4, for working memory too.
  const many = Array.from({ length: 60 }, (_, i) => `${i} ${'and '.repeat(130)}`);
  const free = await MaskPredict.load(embeddedModel);
  const expected = await free.generate(many, { iterations: 2 });
  const { weights, perSourceId } = free.engine.memory();
  await free.close();
  t.ok(60 * 128 * perSourceId > 30 * MiB);

  const model = await MaskPredict.load(embeddedModel, { memoryLimit: weights + 4 * MiB });
  const results = await model.generate(many, { iterations: 2 });
  results.forEach(({ tokenScores }, i) => {
    t.ok(sameBits(tokenScores, expected[i]!.tokenScores), `prompt ${i}: the same bits`);
  });
  await model.close();

  // Less than one source: told before the short prompt is answered.
  const small = await MaskPredict.load(embeddedModel, { memoryLimit: weights + MiB / 2 });
  const { passes } = small.stats();
  await t.rejects(small.generate(['short', many[0]!], { iterations: 2 }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /prompt 1 takes 0\.\d MiB.*leaves 0\.5 MiB.*memoryLimit/,
  });
  t.equal(small.stats().passes, passes, 'nothing was begun');
  await small.close();
});

t.test('a call that does not fit, then one that does', async (t) => {
  const { weights } = await Engine.load(embeddedModel).then(async (engine) => {
    const memory = engine.memory();
    await engine.close();
    return memory;
  });
  const limit = weights + 8 * MiB;
  const model = await MaskPredict.load(embeddedModel, { memoryLimit: limit });
  const { engine } = model;
  t.equal(engine.memory().limit, limit);
  t.equal(engine.memory().weights, weights);
  const expected = await model.generate(prompts[0]!);
  const { working } = engine.memory();
  // One source of 128 ids keeps 4 layers · 128 · 2 · 128 floats, half a MiB, and its states.
  const many = Array.from({ length: 100 }, () => idsOf(128));
  await t.rejects(engine.encode(many), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /source.*(MiB|bytes).*limit/,
  });
  t.equal(engine.memory().working, working, 'what was taken for it is back');
  const results = await model.generate(prompts);
  t.ok(sameBits(results[0]!.tokenScores, expected.tokenScores), 'the next call works');

  const sources = [];
  for (;;) {
    const next = await engine.encode([idsOf(128)]).catch((error: unknown) => error);
    if (!Array.isArray(next)) {
      t.match(next, { code: 'ERR_OUT_OF_MEMORY' }, `${sources.length} sources fit`);
      break;
    }
    sources.push(next[0]!);
    t.ok(engine.memory().weights + engine.memory().working <= limit, 'never beyond the limit');
  }
  t.ok(sources.length > 1 && sources.length < 16);
  for (const source of sources) source.dispose();
  t.equal((await model.generate(prompts[0]!)).text, expected.text, 'it fits again');
  await model.close();
});

t.test('what is disposed of comes back at once', async (t) => {
  const engine = await Engine.load(embeddedModel);
  await warmUp(engine);
  const { working } = engine.memory();
  const sources = await engine.encode(Array.from({ length: 8 }, () => idsOf(128)));
  const taken = engine.memory().working - working;
  t.ok(taken >= 8 * 4 * 128 * 2 * 128 * 4, `8 sources: ${taken} bytes`);
  sources[0]!.dispose();
  t.equal(engine.memory().working - working, (taken / 8) * 7, 'one of 8');
  for (const source of sources) source.dispose();
  t.equal(engine.memory().working, working, 'all, the first for the second time');
  await engine.close();
});

t.test('what is forgotten comes back with the garbage', async (t) => {
  const engine = await Engine.load(embeddedModel);
  await warmUp(engine);
  const { working } = engine.memory();
  await (async () => {
    const forgotten = await engine.encode(Array.from({ length: 40 }, () => idsOf(128)));
    t.ok(engine.memory().working > working + 20 * MiB);
    await engine.predict(forgotten.map((source) => source.target(5)));
  })();
  t.ok(
    await collected(() => engine.memory().working <= working),
    `${engine.memory().working} bytes in use, ${working} before`,
  );

  const kept = await (async () => (await encoded(engine, idsOf(128))).target(5))();
  await collected(() => engine.memory().working <= working);
  await t.resolves(engine.predict([kept]), 'a target keeps its source from being collected');
  await engine.close();

  const orphan = await (async () => encoded(await Engine.load(embeddedModel), idsOf(128)))();
  for (let round = 0; round < 3; round++) await collected(() => false);
  t.equal(orphan.states().length, 128 * 128, 'a source outlives its engine');
  await t.resolves((await MaskPredict.load()).generate('x'), 'so does a call its model');
});

/** tiny-base with 64 MiB of word embeddings: enough to be seen in the resident memory. */
function largeModel(): Record<string, string | Buffer> {
  const vocabulary = 2 ** 17;
  const tensors = new Map(baseTensors);
  const columns = get(tensors, words).shape[1]!;
  const table = new Float32Array(vocabulary * columns);
  for (let i = 0; i < table.length; i++) table[i] = ((i * 2654435761) % 2 ** 32) / 2 ** 33;
  const bytes = new Uint8Array(table.buffer);
  tensors.set(words, { dtype: 'F32', shape: [vocabulary, columns], bytes });
  for (const [name, { dtype }] of tensors) {
    if (!/^lm_head\.(decoder\.)?bias$/.test(name)) continue;
    tensors.set(name, { dtype, shape: [vocabulary], bytes: new Uint8Array(vocabulary * 4) });
  }
  return {
    'config.json': JSON.stringify({ ...baseConfig, vocab_size: vocabulary }),
    'model.safetensors': safetensorsOf(tensors),
  };
}

t.test('engines of one directory share their weights', async (t) => {
  const directory = t.testdir(largeModel());
  // Once before anything is measured: what made the file is garbage by then.
  await (await Engine.load(directory)).close();
  await sleep(50);
  const before = resident();
  const first = await Engine.load(directory);
  const { weights } = first.memory();
  t.ok(weights > 60 * MiB);
  const one = resident();
  // The packed weights; the file is mapped, and its pages are let go of.
  t.ok(one - before < 1.5 * weights, `the first took ${Math.round((one - before) / MiB)} MiB`);
  const [second, third] = await Promise.all([Engine.load(directory), Engine.load(directory)]);
  const more = resident() - one;
  t.ok(more < weights / 2, `two more took ${Math.round(more / MiB)} MiB`);
  t.equal(second.memory().weights, weights, 'each counts them');

  const ids = idsOf(20);
  const logits = async (engine: Engine) => {
    using source = await encoded(engine, ids);
    const [values] = await engine.logits([source.target(5)]);
    return values!;
  };
  const a = await logits(first);
  await first.close();
  t.ok(sameBits(await logits(second), a), 'the others live on');
  await second.close();
  await third.close();
  const left = resident();
  t.ok(left < one - weights / 2, 'the last gives them back at once');
});

t.test('saved int8 weights are the mapped file', async (t) => {
  const directory = t.testdir({ large: largeModel(), int8: {} });
  const out = join(directory, 'int8');
  const script = (work: string) => `
    import { Engine, quantize } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url))};
    ${work}
    console.log(process.resourceUsage().maxRSS * 1024);`;
  /** The most a process of its own had in memory. */
  const most = (work: string) =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', script(work)]));
  const nothing = most('');
  await quantize(join(directory, 'large'), out);
  const { size } = statSync(join(out, 'model.safetensors'));
  t.ok(size < 22 * MiB, `64 MiB of word embeddings became ${Math.round(size / MiB)} MiB`);
  const taken = most(`
    const engine = await Engine.load(${JSON.stringify(out)}, { device: 'cpu' });
    const [source] = await engine.encode([Int32Array.of(0, 17, 301, 88, 2)]);
    await engine.decode([source.target(8)], 4);`);
  // Loading, the engine and a job; a copy of the weights would be another 16 MiB.
  const beside = Math.round((taken - nothing - size) / MiB);
  t.ok(beside < 12, `${beside} MiB beside the ${Math.round(size / MiB)} MiB of the file`);
  const engine = await Engine.load(out, { device: 'cpu' });
  t.ok(Math.abs(engine.memory().weights - size) < MiB, 'counted');
  await engine.close();
  const limited = Engine.load(out, { device: 'cpu', memoryLimit: size / 2 });
  await t.rejects(limited, { code: 'ERR_OUT_OF_MEMORY', message: /int8/ });
});

t.test('a file that was replaced is another model, whatever its time stamp', async (t) => {
  const weights = (factor: number) => {
    const tensor = get(baseTensors, second);
    const values = new Float32Array(Uint8Array.from(tensor.bytes).buffer);
    const bytes = new Uint8Array(values.map((value) => factor * value).buffer);
    return safetensorsOf(new Map(baseTensors).set(second, { ...tensor, bytes }));
  };
  const directory = t.testdir({
    'config.json': JSON.stringify(baseConfig),
    'model.safetensors': weights(1),
  });
  const file = join(directory, 'model.safetensors');
  const { atime, mtime } = statSync(file);
  const load = () => Engine.load(directory, { device: 'cpu' });
  const states = async (engine: Engine) => {
    const [source] = await engine.encode([Int32Array.of(0, 17, 41, 88, 2)]);
    return source!.states();
  };
  await using first = await load();
  const before = await states(first);

  writeFileSync(`${file}.new`, weights(2));
  utimesSync(`${file}.new`, atime, mtime);
  renameSync(`${file}.new`, file);
  await using renamed = await load();
  const after = await states(renamed);
  t.notSame(after, before, 'renamed over it');

  writeFileSync(file, weights(3));
  utimesSync(file, atime, mtime);
  await using overwritten = await load();
  t.notSame(await states(overwritten), after, 'written in place');
  t.same(await states(first), before, 'who has the old one keeps it');
});

t.test('with map: false a file may be changed in place', async (t) => {
  const directory = t.testdir({ large: largeModel(), int8: {} });
  const out = join(directory, 'int8');
  await quantize(join(directory, 'large'), out);
  const file = join(out, 'model.safetensors');
  const { size } = statSync(file);
  const ids = [Int32Array.of(0, 17, 301, 88, 2)];
  await using mapped = await Engine.load(out, { device: 'cpu' });
  await using read = await Engine.load(out, { device: 'cpu', map: false });
  t.equal(read.memory().weights, mapped.memory().weights, 'counted alike');
  const [expected] = await mapped.encode(ids);
  const states = expected!.states();
  await mapped.close();
  truncateSync(file, size / 2);
  const [source] = await read.encode(ids);
  t.same(source!.states(), states, 'the same bits of half a file');
  await t.rejects(Engine.load(out, { device: 'cpu', map: false }), { code: 'ERR_MODEL_FORMAT' });

  const large = join(directory, 'large');
  const whole = await Engine.load(large, { device: 'cpu', map: false });
  const { weights } = whole.memory();
  await whole.close();
  const both = weights + statSync(join(large, 'model.safetensors')).size;
  const limited = (memoryLimit: number) =>
    Engine.load(large, { device: 'cpu', map: false, memoryLimit });
  await t.rejects(limited(both - MiB), { code: 'ERR_OUT_OF_MEMORY' }, 'the file and its weights');
  await (await limited(both + MiB)).close();
  await t.rejects(Engine.load(out, { map: 1 as never }), { message: /map must be true or false/ });
  await t.rejects(Engine.random('xlm-r-base', { map: false } as never), { message: /'map'/ });
});

t.test('close() ends the threads', { skip: process.platform !== 'linux' }, async (t) => {
  const threads = () => readdirSync('/proc/self/task').length;
  await (await Engine.load(embeddedModel)).close();
  const before = threads();
  const engine = await Engine.load(embeddedModel, { threads: 9 });
  const source = await encoded(engine, idsOf(128));
  await engine.predict([source.target(128)]);
  // Eight beside the one on which the calls run.
  t.equal(threads(), before + 9);
  await engine.close();
  t.equal(threads(), before, 'at once, not with the garbage');
});

t.test('loading and closing again and again', async (t) => {
  const shape = { layers: 2, hidden: 512, heads: 8, feedForward: 2048, vocabulary: 20000 } as const;
  const round = async () => {
    const engine = await Engine.random(shape);
    const source = await encoded(engine, idsOf(128));
    await engine.predict([source.target(128)]);
    await engine.close();
  };
  await round();
  const before = resident();
  for (let i = 0; i < 12; i++) await round();
  // A round takes 66 MiB of weights: leaking one of the twelve would show.
  const grown = Math.round((resident() - before) / MiB);
  t.ok(grown < 48, `resident memory grew by ${grown} MiB in 12 rounds`);
});
