/**
 * Uses nobody intends, many at once and strange texts: each gives a right result or a clear error.
 */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Engine, MaskPredict } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { encoded, prompts } from './token-level.js';

const model = await MaskPredict.load();
const { engine, tokenizer } = model;
t.teardown(() => model.close());
const most = engine.config.maxPositions - 4; // without <s> and </s>

t.test('200 calls at once', async (t) => {
  const expected = await model.generate(prompts, { iterations: 3 });
  const stop = new AbortController();
  const calls = Array.from({ length: 200 }, (_, i) => {
    const prompt = prompts[i % prompts.length]!;
    if (i % 10 === 7) return model.generate(prompt, { iterations: 3, signal: stop.signal });
    if (i % 10 === 9) return model.generate(prompt, { length: 10_000 });
    return model.generate(prompt, { iterations: 3 });
  });
  stop.abort(new Error('not these'));
  const outcomes = await Promise.allSettled(calls);
  for (const [i, outcome] of outcomes.entries()) {
    if (i % 10 === 7) {
      t.match(outcome, { reason: { message: 'not these' } });
    } else if (i % 10 === 9) {
      t.match(outcome, { reason: { code: 'ERR_INVALID_ARGUMENT' } });
    } else {
      const { tokenScores } = expected[i % prompts.length]!;
      t.ok(
        outcome.status === 'fulfilled' && sameBits(outcome.value.tokenScores, tokenScores),
        `call ${i}`,
      );
    }
  }
});

t.test('two models at once', async (t) => {
  const directory = fileURLToPath(new URL('fixtures/tiny-xl', import.meta.url));
  const other = await Engine.load(directory);
  t.teardown(() => other.close());
  const decode = async (on: Engine) => {
    using source = await encoded(on, Int32Array.of(0, 17, 301, 88, 2));
    const target = source.target(20);
    await on.decode([target], 5);
    return { tokens: target.tokens, scores: target.scores };
  };
  const alone = [await decode(engine), await decode(other)];
  const calls = Array.from({ length: 40 }, (_, i) => decode(i % 2 ? other : engine));
  for (const [i, { tokens, scores }] of (await Promise.all(calls)).entries()) {
    const expected = alone[i % 2]!;
    t.ok(sameBits(tokens, expected.tokens) && sameBits(scores, expected.scores), `call ${i}`);
  }
});

t.test('strange texts', async (t) => {
  const texts: Record<string, string> = {
    'zero characters': 'Is the number\0 4217\0 even?\0',
    'zero characters alone': '\0\0\0',
    'a lone high surrogate': 'Write \ud83d the number',
    'a lone low surrogate': 'Write \ude00 the number',
    'surrogates the wrong way round': '\ude00\ud83d'.repeat(20),
    'combining marks': `e${'\u0301'.repeat(300)}`,
    'an emoji of many parts': '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466}'.repeat(30),
    'right to left': '\u202eabc \u0627\u0644\u0639\u0631\u0628\u064a\u0629',
    noncharacters: '\uffff\ufffe\u{10ffff}',
    'a byte order mark': '\ufeffIs the number 4217 even? Yes or no?',
    'every ASCII character': String.fromCharCode(...Array.from({ length: 128 }, (_, i) => i)),
    'special tokens': '<s></s><pad><unk><mask>',
    'a word of a megabyte': 'x'.repeat(2 ** 20),
    'a megabyte of spaces': `${' '.repeat(2 ** 20)}7`,
    'a megabyte of words': 'Write 7 '.repeat(2 ** 17),
  };
  await t.rejects(
    model.generate('\ude00'),
    { code: 'ERR_INVALID_ARGUMENT' },
    'nothing but half a pair',
  );
  const list = Object.values(texts);
  const batch = await model.generate(list);
  for (const [i, [what, text]] of Object.entries(texts).entries()) {
    const result = await model.generate(text);
    t.ok(result.length >= 1 && result.tokens.length === result.length, what);
    t.ok(Number.isFinite(result.score), `${what}: score ${result.score}`);
    t.ok(sameBits(result.tokenScores, batch[i]!.tokenScores), `${what}: the same in a batch`);
    t.equal(Buffer.from(result.text).toString(), result.text, `${what}: a well-formed answer`);
    t.equal(result.truncated, tokenizer.countTokens(text) > most, `${what}: truncated`);
    const again = await model.predictLength(text);
    t.equal(again[0]!.length, result.length);
  }
});

t.test('thousands of targets in one call', async (t) => {
  const sources = await engine.encode(prompts.map((prompt) => tokenizer.encode(prompt).ids));
  const alone = sources.map((source) => source.target(7));
  for (const target of alone) await engine.decode([target], 4);
  const targets = Array.from({ length: 5000 }, (_, i) => sources[i % sources.length]!.target(7));
  const passes = await engine.decode(targets, 4);
  t.equal(passes.length, 5000);
  const wrong = targets.filter((target, i) => {
    const { tokens, scores } = alone[i % alone.length]!;
    return !sameBits(target.tokens, tokens) || !sameBits(target.scores, scores);
  });
  t.equal(wrong.length, 0, 'each has the bits it has alone');
  t.same(await engine.decode([], 3), [], 'and none at all');
  await engine.predict([]);
  await engine.remask([], []);
  t.same(await engine.encode([]), []);
  t.same(await engine.logits([]), []);
});

t.test('arrays that change during the call', async (t) => {
  const ids = tokenizer.encode(prompts[0]!).ids;
  using before = await encoded(engine, ids);
  const list = [ids.slice()];
  const call = engine.encode(list);
  list[0]!.fill(7);
  list.length = 0;
  const [after] = await call;
  t.ok(sameBits(after!.states(), before.states()), 'ids are read when the call is made');

  const moved = ids.slice();
  const next = engine.encode([moved]);
  structuredClone(moved.buffer, { transfer: [moved.buffer] });
  const [other] = await next;
  t.ok(sameBits(other!.states(), before.states()), 'even if their memory goes away');
  await t.rejects(engine.encode([moved]), { code: 'ERR_INVALID_ARGUMENT', message: /source 0/ });

  const copies = other!.states();
  copies.fill(0);
  t.ok(sameBits(other!.states(), before.states()), 'what is returned is a copy');
});
