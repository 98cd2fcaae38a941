/**
 * The embedded model on the device that MASK_PREDICT_DEVICE names (`simt`, the emulated one, in a test build): the
 * text and its tokens are the CPU's, in float32 to within its rounding and in bfloat16 to within the stated one.
 * Without such a device there is nothing to compare.
 */
import t from 'tap';
import { MaskPredict } from '../lib/index.js';

const device = process.env.MASK_PREDICT_DEVICE;
const prompts = [
  'Write the number 4217 in German words.',
  'Is the number 4217 even? Yes or no?',
  'Translate the following text from Spanish to English: veintiuno',
];

t.test('the same answers as on the CPU', { skip: !device && 'no device is named' }, async (t) => {
  const options = { iterations: 4 };
  await using host = await MaskPredict.load(undefined, { device: 'cpu' });
  const expected = await host.generate(prompts, options);
  // bfloat16 has 8 bits: over 4 layers a log-probability moves by a few times 2^-8. int8 has as many for each row's
  // largest weight, fp8 has 4; of what the model is sure, log-probabilities hardly move.
  for (const [precision, tolerance] of [
    ['fp32', 1e-4],
    ['bf16', 0.05],
    ['int8', 0.05],
    ['fp8', 0.1],
  ] as const) {
    await using model = await MaskPredict.load(undefined, { device: device as 'cuda', precision });
    t.match(model.engine.device, device);
    t.equal(model.engine.precision, precision);
    const answers = await model.generate(prompts, options);
    let largest = 0;
    answers.forEach((answer, index) => {
      t.equal(answer.text, expected[index]!.text, `${precision}: ${prompts[index]}`);
      answer.tokenScores.forEach((score, position) => {
        const error = Math.abs(score - expected[index]!.tokenScores[position]!);
        largest = Math.max(largest, error);
      });
    });
    t.ok(largest <= tolerance, `${precision}: largest error of a log-probability ${largest}`);
    // The second call of a shape captures its iterations in a CUDA graph, the third only launches it.
    for (const time of ['second', 'third']) {
      const again = await model.generate(prompts, options);
      t.same(
        again.map(({ tokenScores }) => tokenScores),
        answers.map(({ tokenScores }) => tokenScores),
        `${precision}: the same bits the ${time} time`,
      );
    }
    const alone = await model.generate(prompts[0]!, options);
    t.same(alone.tokenScores, answers[0]!.tokenScores, `${precision}: the same bits alone`);
  }
});

t.test('weights that another engine has loaded', { skip: !device && 'no device' }, async (t) => {
  // The second engine's stream does not wait for the first one's, which may not have done anything since it loaded.
  await using host = await MaskPredict.load(undefined, { device: 'cpu' });
  const options = { device: device as 'cuda', precision: 'fp32' } as const;
  await using first = await MaskPredict.load(undefined, options);
  await using second = await MaskPredict.load(undefined, options);
  const [expected, other] = [host, second].map((model) => model.generate(prompts[0]!));
  t.equal((await other!).text, (await expected!).text);
  t.equal((await first.generate(prompts[0]!)).text, (await expected!).text);
});

t.test('shared passes', { skip: !device && 'no device is named' }, async (t) => {
  await using model = await MaskPredict.load(undefined, { device: device as 'cuda' });
  const calls: (() => Promise<object>)[] = [
    () => model.generate(prompts[0]!, { iterations: 6, length: 5 }),
    () => model.generate(prompts[1]!, { iterations: 3, length: 4, sampling: { seed: 3 } }),
    () => model.generate(prompts[2]!, { iterations: 9, length: 6, stop: 'unchanged' }),
    () => model.generate(prompts[0]!, { iterations: 2 }),
    () => model.choose(prompts[1]!, ['19', '20']),
    () => model.score(prompts[2]!, 'No'),
  ];
  const results = (answer: object) => ({ ...answer, timings: undefined });
  const alone: unknown[] = [];
  for (const call of calls) alone.push(results(await call()));
  const { passes } = model.stats();
  const together = await Promise.all(calls.map((call) => call()));
  t.same(
    together.map((answer) => results(answer)),
    alone,
    'sources with states and without, drawn, best and scored rows in one: the same bits',
  );
  t.ok(model.stats().passes - passes < passes / 2, 'in fewer passes');
});
