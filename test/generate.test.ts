/**
 * MaskPredict.generate(): the embedded model's known answers; the same bits alone, in a batch and from the
 * token level; lengths given, predicted and chosen among candidates; any number of iterations; sampling by
 * seed; texts that are cut, and special tokens in texts.
 */
import t from 'tap';
import { MaskPredict, MaskPredictError, type Generation, type LengthOption } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import {
  encoded,
  inner,
  knownAnswers,
  logProbBound,
  logSoftmax,
  loop,
  mean,
  passesNeeded,
  prompts,
  type Inner,
} from './token-level.js';

const model = await MaskPredict.load();
const { engine, tokenizer } = model;
t.teardown(() => model.close());

const same = (a: Inner, b: Inner) =>
  sameBits(a.tokens, b.tokens) && sameBits(a.tokenScores, b.tokenScores);

/** Runs `iterations` by hand over given source ids. `length` counts neither `<s>` nor `</s>`. */
async function byHand(ids: Int32Array, length: number | undefined, iterations = 10) {
  using source = await encoded(engine, ids);
  const target = source.target(
    length === undefined ? source.predictLengths(1)[0]!.length : length + 2,
  );
  const passes = await loop(engine, target, iterations);
  return { ...passes.at(-1)!, iterations: passes.length };
}

t.test('known answers', async (t) => {
  for (const [prompt, answer] of Object.entries(knownAnswers)) {
    const result = await model.generate(prompt);
    t.equal(result.text, answer, prompt);
    t.equal(result.text, tokenizer.decode(result.tokens));
    t.equal(result.length, result.tokens.length);
    t.equal(result.tokenScores.length, result.length);
    t.ok(result.tokenScores.every((score) => score < 0 && score > -20));
    t.equal(result.score, mean(result.tokenScores), 'the score is the mean');
    t.equal(result.truncated, false);
    const { tokenize, encode, decode, total } = result.timings;
    t.ok([tokenize, encode, decode].every((time) => time >= 0 && time <= total));
    t.ok(same(result, await byHand(tokenizer.encode(prompt).ids, undefined)), 'bits of the loop');
  }
});

t.test('many prompts', async (t) => {
  const many = [...prompts, ...prompts.toReversed(), 'zwei', prompts[0]!];
  const results = await model.generate(many);
  t.equal(results.length, many.length);
  for (const [index, prompt] of many.entries()) {
    const alone = await model.generate(prompt);
    const result = results[index]!;
    t.ok(same(result, alone), `${index}: order kept, and the bits of "${prompt}" alone`);
    t.equal(result.text, alone.text);
    t.equal(result.score, alone.score);
    t.equal(result.iterations, alone.iterations);
  }
  t.same(await model.generate([]), [], 'none');
  const [only] = await model.generate([prompts[0]!]);
  t.ok(only && same(only, results[0]!), 'an array of one gives an array');
});

t.test('length candidates', async (t) => {
  let others = 0;
  for (const prompt of [...prompts, 'drei', 'veintiuno', 'Write 7', 'dix-neuf even?']) {
    using source = await encoded(engine, tokenizer.encode(prompt).ids);
    const lengths = source.predictLengths(6);
    const targets = lengths.map(({ length }) => source.target(length));
    await engine.decode(targets, 10);
    const candidates = targets.map((target) => inner(target));
    const tried = candidates.map(({ tokens, tokenScores }, index) => ({
      length: tokens.length,
      score: mean(tokenScores),
      lengthLogProb: lengths[index]!.logProb,
    }));
    for (const weight of [undefined, 0, 0.01, 3]) {
      const worth = tried.map((one) => one.score + (weight ?? 0.25) * one.lengthLogProb);
      const best = worth.indexOf(Math.max(...worth));
      if (best > 0) others++;
      const length = { candidates: 6, ...(weight !== undefined && { weight }) };
      const result = await model.generate(prompt, { length });
      t.ok(same(result, candidates[best]!), `"${prompt}", ${weight}: candidate ${best} of 6`);
      t.equal(result.score, tried[best]!.score);
      t.same(result.candidates, tried, 'all of them are told, the most probable first');
      const [batched] = await model.generate([prompt, 'zwei'], { length });
      t.ok(same(batched!, result), 'in a batch');
      t.same(batched!.candidates, tried);
    }
    const one = await model.generate(prompt, { length: { candidates: 1 } });
    t.ok(same(one, candidates[0]!), 'one candidate is the predicted length');
    t.same(one.candidates, tried.slice(0, 1));
    t.notOk('candidates' in (await model.generate(prompt)), 'none are told where none were tried');
  }
  t.ok(others > 0, 'somewhere the most probable length does not win');
});

t.test('length candidates never give fewer right answers than none', async (t) => {
  const { heldOutInstructions } = (await import(
    new URL('../bench/held-out.mjs', import.meta.url).href
  )) as { heldOutInstructions: (count: number) => { prompt: string; answer: string }[] };
  const asked = heldOutInstructions(300);
  const rightAnswers = async (length: LengthOption) => {
    const texts = asked.map(({ prompt }) => prompt);
    const results = await model.generate(texts, { length, iterations: 2 });
    // In these results the mean log-probability alone would keep another candidate.
    const fragments = results.filter(({ candidates = [], score }) =>
      candidates.some((candidate) => candidate.score > score),
    );
    const right = results.filter(({ text }, index) => text === asked[index]!.answer);
    return { right: right.length, fragments: fragments.length };
  };
  const none = await rightAnswers('predict');
  t.ok(none.right > 0.95 * asked.length, `${none.right} of ${asked.length} without candidates`);
  for (const candidates of [2, 5]) {
    const { right, fragments } = await rightAnswers({ candidates });
    t.ok(right >= none.right, `${right} with ${candidates}`);
    t.ok(fragments > 0, `${fragments} surer texts of other lengths were there to be taken`);
  }
});

t.test('a given length and any number of iterations', async (t) => {
  const [prompt] = prompts;
  const { ids } = tokenizer.encode(prompt!);
  for (const length of [1, 2, 5, 12, 126]) {
    for (const iterations of [1, 4, 10, 200]) {
      const result = await model.generate(prompt!, { length, iterations });
      const expected = await byHand(ids, length, iterations);
      const what = `length ${length}, T = ${iterations}`;
      t.equal(result.length, length, what);
      t.ok(same(result, expected), `${what}: bits of the loop`);
      t.equal(result.iterations, expected.iterations, `${what}: passes`);
      t.equal(result.iterations, passesNeeded(length, iterations), `${what}: no needless pass`);
    }
  }
  const answer = await model.generate(prompt!, { length: 1, iterations: 100 });
  t.equal(answer.iterations, 1, 'one token needs one pass');
});

t.test('sampling', async (t) => {
  const prompt = 'Write the number 777 in French words.';
  // Lengths beyond the answer's leave the model unsure, so that there is something to draw.
  const options = { length: 24, iterations: 4 } as const;
  const draw = (seed: number | bigint): Promise<Generation> =>
    model.generate(prompt, { ...options, sampling: { seed } });
  const first = await draw(1);
  t.ok(same(await draw(1), first), 'the same seed, the same text');
  t.ok(same(await draw(1n), first), 'a BigInt is the same seed');
  t.ok(same(await draw(-1), await draw(2n ** 64n - 1n)), 'seeds are 64 bits');
  t.notOk(same(await draw(1n + 2n ** 32n), first), 'the upper half of a seed counts');
  const texts = new Set<string>();
  for (let seed = 0; seed < 8; seed++) texts.add((await draw(seed)).text);
  t.ok(texts.size > 1, `${texts.size} texts of 8 seeds`);

  const batch = await model.generate([...prompts, prompt, prompt], {
    ...options,
    sampling: { seed: 1 },
  });
  t.ok(same(batch.at(-2)!, first), 'the same in a batch');
  t.ok(same(batch.at(-1)!, first), 'the same prompt twice gives the same text twice');
  t.equal(first.score, mean(first.tokenScores));
  t.ok(first.iterations <= 4);

  const once = await model.generate(prompt, { length: 24, iterations: 1, sampling: { seed: 5 } });
  using source = await encoded(engine, tokenizer.encode(prompt).ids);
  const rows = await logSoftmax(engine, source.target(26));
  once.tokenScores.forEach((score, index) => {
    const expected = rows[index + 1]![once.tokens[index]!]!;
    t.ok(
      Math.abs(score - expected) < logProbBound,
      `score ${index} is without temperature: ${score}, ${expected}`,
    );
  });

  const candidates = { length: { candidates: 4 }, iterations: 4, sampling: { seed: 9 } } as const;
  const chosen = await model.generate(prompt, candidates);
  const [batched] = await model.generate([prompt, ...prompts], candidates);
  t.ok(same(chosen, batched!), 'candidates draw the same in a batch');
});

t.test('texts that are too long', async (t) => {
  const most = engine.config.maxPositions - 2;
  const long = 'Write the number 4217 in German words. '.repeat(60);
  const { ids } = tokenizer.encode(long);
  t.ok(ids.length > most);
  const cut = Int32Array.from([...ids.subarray(0, most - 1), 2]);
  const result = await model.generate(long);
  t.equal(result.truncated, true);
  t.ok(same(result, await byHand(cut, undefined)), 'the first ids are what the model reads');
  const [short, other] = await model.generate([prompts[0]!, long], { overflow: 'truncate' });
  t.equal(short!.truncated, false);
  t.equal(other!.truncated, true);
  await t.rejects(model.generate(long, { overflow: 'error' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: new RegExp(`${ids.length} ids.*${most}`),
  });
  await model.generate(prompts[0]!, { overflow: 'error' });
  await t.rejects(
    model.generate([prompts[0]!, long], { overflow: 'error' }),
    { code: 'ERR_INVALID_ARGUMENT', message: /prompt 1\b/ },
    'of several, the one that is too long is named',
  );
});

t.test('special tokens in texts', async (t) => {
  const prompt = 'Write <mask> the </s> number <unk> 12 in digits';
  const plain = tokenizer.encode(prompt).ids;
  const parsed = tokenizer.encode(prompt, { parseSpecial: true }).ids;
  t.notOk(plain.includes(engine.maskTokenId));
  t.ok(parsed.includes(engine.maskTokenId));
  t.ok(same(await model.generate(prompt), await byHand(plain, undefined)), 'text by default');
  t.ok(
    same(await model.generate(prompt, { parseSpecial: true }), await byHand(parsed, undefined)),
    'special on request',
  );
  await t.rejects(
    model.generate([prompts[0]!, 'a <pad> b'], { parseSpecial: true }),
    { code: 'ERR_INVALID_ARGUMENT', message: /\b1 has id 1\b.*padding/ },
    '<pad> is in no source',
  );
});

t.test('the class of the errors', async (t) => {
  const error = await model.generate('x', { length: 1000 }).catch((reason: unknown) => reason);
  t.ok(error instanceof MaskPredictError);
  t.ok(error instanceof Error);
  t.match(error, {
    name: 'MaskPredictError',
    code: 'ERR_INVALID_ARGUMENT',
    message: /length.*126.*not 1000/,
  });
});
