/**
 * MaskPredict.refine(): every pass of the loop made visible, ending in what generate() gives; leaving early
 * frees everything. And the same loop at the token level with given positions (infilling).
 */
import { tracingChannel } from 'node:diagnostics_channel';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { MaskPredict, type Generation, type RefinementStep } from '../lib/index.js';
import type { GenerateOptions, RequestEvent } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { lowestScores, remaskCount } from './reference/prediction.js';
import { encoded, inner, knownAnswers, loop, passesNeeded, prompts } from './token-level.js';

const model = await MaskPredict.load();
const { engine, tokenizer } = model;
t.teardown(() => model.close());

async function follow(
  prompt: string,
  options: GenerateOptions = {},
): Promise<{ steps: RefinementStep[]; result: Generation }> {
  const refinement = model.refine(prompt, options);
  const steps: RefinementStep[] = [];
  for (;;) {
    const next = await refinement.next();
    if (next.done) return { steps, result: next.value };
    steps.push(next.value);
  }
}

function withoutTimings({ timings, ...rest }: Generation): Omit<Generation, 'timings'> {
  return rest;
}

t.test('the steps are the loop, the return value is that of generate()', async (t) => {
  for (const prompt of [...prompts, 'zwei']) {
    for (const options of [{}, { iterations: 1 }, { iterations: 4, length: 17 }, { length: 1 }]) {
      const { iterations = 10, length } = options as GenerateOptions;
      const { steps, result } = await follow(prompt, options);
      const what = `"${prompt}" ${JSON.stringify(options)}`;
      const generated = await model.generate(prompt, options);
      t.same(withoutTimings(result), withoutTimings(generated), `${what}: return value`);
      t.ok(result.timings.total >= result.timings.decode && result.timings.decode > 0);

      using source = await encoded(engine, tokenizer.encode(prompt).ids);
      const target = source.target(
        typeof length === 'number' ? length + 2 : source.predictLengths(1)[0]!.length,
      );
      const passes = await loop(engine, target, iterations);
      t.equal(steps.length, passes.length, `${what}: ${steps.length} passes`);
      t.equal(result.iterations, passes.length);
      for (const [index, { iteration, text, tokens }] of steps.entries()) {
        const expected = passes[index]!;
        const count = remaskCount(tokens.length, index + 1, iterations);
        const marks = Uint8Array.from(tokens, ({ masked }) => Number(masked));
        const scores = Float32Array.from(tokens, ({ score }) => score);
        t.equal(iteration, index + 1);
        t.same(
          tokens.map(({ id }) => id),
          [...expected.tokens],
        );
        t.ok(sameBits(scores, expected.tokenScores), `${what}: scores of pass ${iteration}`);
        t.equal(marks.filter((mark) => mark === 1).length, count, `floor(N(T-t)/T) = ${count}`);
        t.same(marks, lowestScores(scores, new Uint8Array(tokens.length).fill(1), count), 'lowest');
        t.same(marks, expected.masked);
        t.equal(text, tokenizer.decode(expected.tokens));
        t.ok(tokens.every(({ piece, id }) => piece === tokenizer.piece(id)));
      }
      t.ok(
        steps.at(-1)!.tokens.every(({ masked }) => !masked),
        'nothing is marked after the last pass',
      );
    }
  }
});

t.test('sampling', async (t) => {
  const options = { length: 20, iterations: 5, sampling: { seed: 3 } };
  const { steps, result } = await follow(prompts[0]!, options);
  t.equal(steps.length, passesNeeded(20, 5));
  t.same(withoutTimings(result), withoutTimings(await model.generate(prompts[0]!, options)));
});

t.test('a text that is cut', async (t) => {
  const { result } = await follow('Write the number 4217 in German words. '.repeat(60));
  t.equal(result.truncated, true);
});

t.test('leaving early frees everything, and the model goes on', async (t) => {
  const expected = await model.generate(prompts[0]!);
  const { working } = engine.memory();
  let seen = 0;
  for await (const step of model.refine(prompts[0]!)) {
    seen++;
    t.ok(engine.memory().working > working, 'the source is held meanwhile');
    if (step.iteration === 2) break;
  }
  t.equal(seen, 2);
  t.equal(engine.memory().working, working, 'break');

  await t.rejects(async () => {
    for await (const step of model.refine(prompts[0]!))
      throw new Error(`left in ${step.iteration}`);
  }, /left in 1/);
  t.equal(engine.memory().working, working, 'throw');

  const refinement = model.refine(prompts[0]!);
  await refinement.next();
  await refinement.return(expected);
  t.same(await refinement.next(), { done: true, value: undefined });
  t.equal(engine.memory().working, working, 'return()');

  const stop = new AbortController();
  await t.rejects(async () => {
    for await (const step of model.refine(prompts[0]!, { signal: stop.signal })) {
      if (step.iteration === 3) stop.abort(new Error('enough'));
    }
  }, /enough/);
  t.equal(engine.memory().working, working, 'abort');
  t.same(withoutTimings(await model.generate(prompts[0]!)), withoutTimings(expected));
});

t.test('one that is dropped half read gives back what it held', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const events = tracingChannel<unknown, RequestEvent>('mask-predict:request');
  let ended = 0;
  const subscriber = { start() {}, end() {}, asyncStart() {}, error() {}, asyncEnd: () => ended++ };
  const many = () => Array.from({ length: 20 }, () => model.refine(prompts[0]!, { length: 30 }));
  // Working memory grows with the largest pass and stays: this makes it as large as it gets.
  const read = many();
  await Promise.all(read.map((reader) => reader.next()));
  await Promise.all(read.map((reader) => reader.return(undefined as never)));
  for (const watched of [false, true]) {
    if (watched) events.subscribe(subscriber);
    const { running, aborted } = model.stats();
    const { working } = engine.memory();
    // In a function of its own, so that nothing on this one's stack leads to the generators.
    const drop = async () => {
      const readers = many();
      await Promise.all(readers.map((reader) => reader.next()));
      t.equal(model.stats().running, running + readers.length);
    };
    await drop();
    for (let round = 0; round < 50 && model.stats().running > running; round++) {
      collect();
      await setImmediate();
    }
    t.equal(model.stats().running, running, `${watched ? 'watched: ' : ''}no call runs any more`);
    t.equal(model.stats().aborted, aborted + 20);
    t.equal(engine.memory().working, working, 'nothing is held');
    t.equal(ended, watched ? 20 : 0, 'who watches is told of the end');
  }
  events.unsubscribe(subscriber);
  t.equal((await model.generate(prompts[0]!)).text, Object.values(knownAnswers)[0], 'it goes on');
});

t.test('two refinements side by side', async (t) => {
  const both = [model.refine(prompts[0]!), model.refine(prompts[4]!)];
  const results: Generation[] = [];
  while (results.length < both.length) {
    for (const refinement of both) {
      const next = await refinement.next();
      if (next.done && next.value) results.push(next.value);
    }
  }
  const texts = await model.generate([prompts[0]!, prompts[4]!]);
  t.same(new Set(results.map(({ text }) => text)), new Set(texts.map(({ text }) => text)));
});

t.test('infilling', async (t) => {
  const [prompt] = prompts;
  const answer = tokenizer.encode('viertausendzweihundertsiebzehn').ids;
  const mask = engine.maskTokenId;
  using source = await encoded(engine, tokenizer.encode(prompt!).ids);
  // Two wrong ids among the given ones: they stay, right or wrong.
  const given = Int32Array.from([0, mask, answer[2]!, mask, 50, mask, 3, mask, 2]);
  for (const iterations of [1, 2, 3, 10]) {
    const target = source.target(given);
    t.equal(target.maskable, 4, 'N counts the masked positions');
    t.same([...target.masked], [0, 1, 0, 1, 0, 1, 0, 1, 0]);
    const passes = await loop(engine, target, iterations);
    t.equal(passes.length, passesNeeded(4, iterations));
    for (const [index, { tokens, tokenScores, masked }] of passes.entries()) {
      const maskable = given.slice(1, -1).map((id) => Number(id === mask));
      const count = remaskCount(4, index + 1, iterations);
      t.same(masked, lowestScores(tokenScores, Uint8Array.from(maskable), count));
      maskable.forEach((free, position) => {
        if (free) {
          t.ok(tokenScores[position]! < 0);
          t.ok(tokens[position]! > 2 && tokens[position]! < mask, 'an id that may be predicted');
        } else {
          t.equal(tokens[position], given[position + 1], `position ${position} stays`);
          t.equal(tokenScores[position], 0, `position ${position} has score 0`);
        }
      });
    }
    const atOnce = source.target(given);
    t.same(await engine.decode([atOnce], iterations), [passes.length]);
    t.ok(sameBits(inner(atOnce).tokens, passes.at(-1)!.tokens), 'decode() is the loop');
    t.ok(sameBits(inner(atOnce).tokenScores, passes.at(-1)!.tokenScores));
  }

  const oneLeft = answer.slice();
  oneLeft[2] = mask;
  const target = source.target(oneLeft);
  t.same(await engine.decode([target], 10), [1], 'one position needs one pass');
  t.same([...target.tokens], [...answer], 'the right token is filled in');

  const full = source.target(answer);
  t.equal(full.maskable, 0);
  t.same(await engine.decode([full], 10), [0], 'nothing to fill in needs no pass');
  await engine.predict([full]);
  await engine.remask([full], [0]);
  t.same([...full.tokens], [...answer]);
  t.ok(full.scores.every((score) => score === 0));
});
