/** Validation: the same masks every time, means over everything, and answers of the saved model. */
import t from 'tap';
// @ts-expect-error A script of the benchmarks, without types.
import { heldOutInstructions } from '../../bench/held-out.mjs';
import { ImitatedRunner, instructions } from './imitated-runner.js';

const data = instructions(100);

t.test('the loss is at the same masks every time, whatever the seed', async (t) => {
  const losses = [];
  for (const seed of [0n, 5n]) {
    const runner = new ImitatedRunner(seed);
    const parts: string[] = [];
    const { evaluate } = runner;
    runner.evaluate = (given) => {
      parts.push(JSON.stringify(given));
      t.ok(
        given[0]!.sources.every((ids) => !ids.includes(401)),
        'sources are whole',
      );
      return evaluate.call(runner, given);
    };
    losses.push([await runner.validate(data, { answers: 0, partRows: 256 }), parts]);
  }
  t.same(losses[0], losses[1]);
  t.ok((losses[0]![1] as string[]).length > 1);
});

t.test('means are over all masked tokens and all examples', async (t) => {
  const runner = new ImitatedRunner();
  let [tokens, examples, tokenLoss, lengthLoss, nll] = [0, 0, 0, 0, 0];
  let part = 0;
  const { evaluate } = runner;
  runner.evaluate = async (given) => {
    const { maskedTokens, examples: count } = await evaluate.call(runner, given);
    part++;
    const result = { maskedTokens, examples: count, nll: part, lengthLoss: 2 * part };
    const loss = 3 * part + 0.1 * result.lengthLoss;
    tokens += maskedTokens;
    examples += count;
    tokenLoss += maskedTokens * 3 * part;
    nll += maskedTokens * part;
    lengthLoss += count * 2 * part;
    return { ...result, loss, gradientNorm: 0 };
  };
  const validation = await runner.validate(data, { answers: 0, partRows: 300 });
  t.ok(part > 3);
  t.equal(validation.examples, 100);
  t.equal(examples, 100);
  const near = (a: number, b: number) => t.ok(Math.abs(a - b) < 1e-12 * Math.abs(b), `${a} ${b}`);
  near(validation.nll, nll / tokens);
  near(validation.lengthLoss, lengthLoss / 100);
  near(validation.loss, tokenLoss / tokens + (0.1 * lengthLoss) / 100);
  t.notOk('answers' in validation);
});

t.test('answers are those of the saved model at T = 1, 4 and 10', async (t) => {
  const learned = [...Array(20).keys()].map((number) => ({
    instruction: `Write the number ${number} in English words.`,
    output: `${words[number]}`,
  }));
  const wrong = {
    instruction: 'Write the number 3 in English words.',
    output: 'three four five six',
  };
  const validation = await new ImitatedRunner().validate([...learned, wrong], { answers: 21 });
  t.same(Object.keys(validation.answers!), ['1', '4', '10']);
  for (const scores of Object.values(validation.answers!)) t.equal(scores.exact, 20 / 21);

  const long = heldOutInstructions()
    .filter(({ task }: { task: string }) => task === 'English words')
    .slice(0, 40)
    .map(({ prompt, answer }: { prompt: string; answer: string }) => ({
      instruction: prompt,
      output: answer,
    }));
  const scored = await new ImitatedRunner().validate(long, { answers: 30 });
  t.equal(scored.examples, 40, 'the loss is over all');
  t.ok(scored.answers![10].bleu > 90 && scored.answers![10].exact > 0.9);
  const aborted = AbortSignal.abort(new Error('no'));
  await t.rejects(new ImitatedRunner().validate(long, { signal: aborted }), { message: 'no' });
  await t.rejects(new ImitatedRunner().validate(long, { answers: -1 }), {
    message: /answers must/,
  });
});

const words =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
