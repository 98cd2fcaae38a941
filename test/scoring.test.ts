/**
 * Answers scored instead of written: predictLength(), choose() and score() against the same numbers
 * recomputed in double precision from the token level's raw logits.
 */
import t from 'tap';
import { MaskPredict } from '../lib/index.js';
import { encoded, logProbBound, logSoftmax, prompts } from './token-level.js';

const model = await MaskPredict.load();
const { engine, tokenizer } = model;
t.teardown(() => model.close());

t.test('predictLength()', async (t) => {
  const classes = engine.config.lengths;
  for (const prompt of [...prompts, '?', 'x'.repeat(500)]) {
    const ids = tokenizer.encode(prompt, { maxIds: engine.config.maxPositions - 2 }).ids;
    using source = await encoded(engine, ids);
    const logits = Float64Array.from(source.lengthLogits!);
    t.equal(logits.length, classes);
    const largest = Math.max(...logits);
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
    const expected = Array.from(logits, (logit, length) => ({
      length: length - 2,
      logProb: logit - largest - Math.log(total),
    }))
      .slice(3) // classes 0, 1 and 2 are too short for a token
      .sort((a, b) => b.logProb - a.logProb || a.length - b.length);
    const all = await model.predictLength(prompt, classes - 3);
    t.same(
      all.map(({ length }) => length),
      expected.map(({ length }) => length),
      `"${prompt.slice(0, 40)}": best first, every class once`,
    );
    // Both sides are double precision over the same fp32 logits of size 20 or so.
    const off = all.map(({ logProb }, index) => Math.abs(logProb - expected[index]!.logProb));
    t.ok(Math.max(...off) < 1e-12, 'normalised over all classes, the ones never chosen too');
    t.same(await model.predictLength(prompt, 3), all.slice(0, 3));
    t.same(await model.predictLength(prompt), all.slice(0, 1), 'one by default');
    t.equal((await model.generate(prompt)).length, all[0]!.length, 'generate() uses it');
  }
});

/** Log-probabilities of a label's tokens over one target with all positions masked. */
async function labelTokens(prompt: string, label: string): Promise<number[]> {
  const ids = tokenizer.encode(label).ids;
  using source = await encoded(engine, tokenizer.encode(prompt).ids);
  const rows = await logSoftmax(engine, source.target(ids.length));
  return Array.from(ids.subarray(1, -1), (id, index) => rows[index + 1]![id]!);
}

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);

t.test('choose()', async (t) => {
  const digits = ['19', '20', '21', '97'];
  const cases: [string, string[], string | undefined][] = [
    ['Write this French number in digits: dix-neuf', digits, '19'],
    ['Write this French number in digits: vingt', digits, '20'],
    ['Is the number 4217 even? Yes or no?', ['Yes', 'No'], 'No'],
    ['?', digits, undefined],
  ];
  for (const [prompt, labels, right] of cases) {
    const { label, index, logProbs } = await model.choose(prompt, labels);
    t.equal(label, labels[index]);
    t.equal(index, logProbs.indexOf(Math.max(...logProbs)));
    if (right !== undefined) t.equal(label, right, `${prompt} ${right}`);
    for (const [i, text] of labels.entries()) {
      const tokens = await labelTokens(prompt, text);
      const off = Math.abs(logProbs[i]! - sum(tokens));
      t.ok(off < tokens.length * logProbBound, `"${text}": the sum of its tokens, off by ${off}`);
      const alone = await model.choose(prompt, [text]);
      t.same(alone, { label: text, index: 0, logProbs: [logProbs[i]] }, 'the same alone');
    }
  }
  const twice = await model.choose(prompts[0]!, ['19', '19']);
  t.equal(twice.index, 0, 'a tie goes to the first');
  t.equal(twice.logProbs[0], twice.logProbs[1]);

  const words = ['nineteen', 'seven'];
  const lengths = words.map((label) => tokenizer.countTokens(label));
  t.not(lengths[0], lengths[1]);
  await t.rejects(
    model.choose('Write the number 7 in English words.', words),
    {
      code: 'ERR_INVALID_ARGUMENT',
      message: new RegExp(`"${words[0]}" has ${lengths[0]}, "${words[1]}" has ${lengths[1]}`),
    },
    'labels of different lengths',
  );
});

t.test('score()', async (t) => {
  const [prompt] = prompts;
  const answers = [
    'viertausendzweihundertsiebzehn',
    'viertausendzweihundertachtzehn',
    'x',
    'Yes 1',
  ];
  const means: number[] = [];
  for (const answer of answers) {
    const result = await model.score(prompt!, answer);
    const ids = tokenizer.encode(answer).ids;
    t.equal(result.tokenScores.length, ids.length - 2);
    using source = await encoded(engine, tokenizer.encode(prompt!).ids);
    for (let position = 1; position < ids.length - 1; position++) {
      const masked = ids.slice();
      masked[position] = engine.maskTokenId;
      const rows = await logSoftmax(engine, source.target(masked));
      const expected = rows[position]![ids[position]!]!;
      const actual = result.tokenScores[position - 1]!;
      t.ok(Math.abs(actual - expected) < logProbBound, `"${answer}" ${position}: ${actual}`);
    }
    t.equal(result.sum, sum(result.tokenScores));
    t.equal(result.mean, result.sum / result.tokenScores.length);
    means.push(result.mean);
  }
  t.equal(means.indexOf(Math.max(...means)), 0, 'the right answer is the most probable');
  t.ok(means[0]! > -0.2, 'and probable');
});

t.test('answers as long as the model allows', async (t) => {
  const most = engine.config.maxPositions - 4;
  const text = Array.from({ length: 200 }, () => 'x').join(' ');
  const full = tokenizer.decode(tokenizer.encode(text, { maxIds: most + 2 }).ids);
  const { tokenScores } = await model.score('x', full);
  t.ok(tokenScores.length > most - 2 && tokenScores.length <= most);
  t.ok(tokenScores.every((score) => score < 0 && score > -50));
  const calls = [() => model.score('x', text), () => model.choose('x', [text])];
  for (const call of calls) {
    await t.rejects(
      async () => void (await call()),
      { code: 'ERR_INVALID_ARGUMENT', message: new RegExp(`ids.*${most + 2}`) },
      'an answer is never cut',
    );
  }
});
