/**
 * Evaluations with the embedded model: what they report against what the model and the measures say when they are asked
 * directly; lengths and section 5.1; runs that stop and go on; comparisons, studies, and the command.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync, appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import t from 'tap';
// @ts-expect-error a plain module of the benchmarks
import { heldOutInstructions } from '../../bench/held-out.mjs';
import { run } from '../../lib/cli/run.js';
import {
  accuracy,
  bleu,
  chrf,
  compareEvaluations,
  evaluate,
  markdownOf,
  study,
  type AnswerRecord,
  type EvaluateOptions,
  type Evaluation,
} from '../../lib/evaluation/index.js';
import { MaskPredict } from '../../lib/index.js';

// One thread: the model is so small that two of them mostly wait for one another.
const model = await MaskPredict.load(undefined, { threads: 1 });
t.teardown(() => model.close());

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const numbers = heldOutInstructions(60) as { task: string; prompt: string; answer: string }[];
const digits = numbers.filter(({ task }) => task.endsWith('to digits')).slice(0, 8);
const root = t.testdir({
  'numbers.jsonl': lines(numbers),
  'digits.jsonl': lines(digits),
  'numbers.json': JSON.stringify({
    columns: { prompt: 'prompt', answer: 'answer' },
    measures: ['accuracy', 'chrf', 'bleu'],
    prompts: [{ template: '{{prompt}}', answer: '{{answer}}' }],
  }),
  'parity.json': JSON.stringify({
    columns: { number: 'number', answer: 'answer', group: 'kind' },
    prompts: [
      {
        template: 'Is the number {{number}} even? Yes or no?',
        answer: '{{answer}}',
        labels: ['Yes', 'No, never'],
      },
      { template: '{{number}}: even?', answer: '{{answer}}', labels: ['Yes', 'No, never'] },
    ],
  }),
  'alike.json': JSON.stringify({
    columns: { number: 'number', digit: 'digit' },
    prompts: [
      {
        template: 'Write this English number in digits: {{number}}',
        answer: '{{digit}}',
        labels: ['1', '2', '3'],
      },
    ],
  }),
  'alike.jsonl': lines([
    { number: 'one', digit: '1' },
    { number: 'three', digit: '3' },
  ]),
  'parity.jsonl': lines(
    Array.from({ length: 10 }, (_, i) => ({
      number: 200 + i,
      answer: i % 2 === 0 ? 'Yes' : 'No, never',
      kind: i < 4 ? 'a' : 'b',
    })),
  ),
  'xcopa.it.jsonl': lines(
    Array.from({ length: 10 }, (_, i) => ({
      premise: `p${i}`,
      choice1: 'x',
      choice2: 'y',
      question: i % 2 === 0 ? 'cause' : 'effect',
      label: i < 7 ? 0 : 1,
    })),
  ),
  'en-de.jsonl': lines([
    {
      source: 'The dog bites the man in the garden.',
      references: ['Der Hund beißt den Mann im Garten.'],
    },
    {
      source: 'It is raining in the city today again.',
      references: ['Es regnet heute wieder in der Stadt.', 'Heute regnet es wieder in der Stadt.'],
    },
  ]),
});
const at = (...names: string[]) => join(root, ...names);
const onNumbers = (options: Partial<EvaluateOptions> = {}) =>
  evaluate(model, at('numbers.json'), { data: [at('numbers.jsonl')], ...options });

t.test('scores are those of the answers that the model gives', async (t) => {
  const directory = at('numbers-run');
  const seen: number[] = [];
  const evaluation = await onNumbers({
    directory,
    iterations: 3,
    onProgress: ({ done, total }) => void seen.push(done / total),
  });
  const generations = await model.generate(
    numbers.map(({ prompt }) => prompt),
    { iterations: 3 },
  );
  const answers = generations.map(({ text }) => text);
  const gold = numbers.map(({ answer }) => answer);
  const [cell] = evaluation.cells;
  t.equal(evaluation.cells.length, 1);
  t.equal(cell!.scores.accuracy, accuracy(answers, gold).score);
  t.equal(cell!.scores.chrf, chrf(answers, [gold]).score);
  t.equal(cell!.scores.bleu, bleu(answers, [gold]).score);
  const lengths = gold.map((text) => model.tokenizer.encode(text).ids.length - 2);
  t.equal(
    cell!.lengthAccuracy,
    accuracy(
      generations.map(({ length }) => length),
      lengths,
    ).score,
  );
  t.equal(cell!.passes, generations.reduce((sum, { iterations }) => sum + iterations, 0) / 60);
  t.match(evaluation.signatures, { bleu: /nrefs:1\|/, chrf: /nc:6/ });
  t.same(
    seen,
    numbers.map((_, i) => (i + 1) / 60),
  );

  t.same(readdirSync(directory).sort(), [
    'answers.jsonl',
    'prompts.svg',
    'report.json',
    'report.md',
    'settings.json',
  ]);
  const records = readFileSync(join(directory, 'answers.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AnswerRecord);
  for (const [i, { prompt }] of numbers.entries()) {
    const record = records.find(({ id }) => id === `numbers.jsonl:${i + 1}`)!;
    t.match(record, {
      source: prompt,
      answer: answers[i]!,
      gold: [gold[i]!],
      goldLength: lengths[i]!,
    });
  }
  const sum = records.reduce((total, { ms }) => total + ms!, 0);
  t.ok(Math.abs(sum - evaluation.milliseconds!) < 1e-6 * sum, 'the times are the time of the run');
  t.same(
    JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')),
    JSON.parse(JSON.stringify(evaluation)),
  );
  const report = readFileSync(join(directory, 'report.md'), 'utf8');
  for (const part of [
    /T = 3/,
    new RegExp(`parameters\\), ${model.engine.precision}`),
    /SHA-256 [\da-f]{64}/,
    /1 \(predicted\)/,
    /Node\.js v/,
    /`\{\{prompt\}\}`/,
  ]) {
    t.match(report, part);
  }
  t.notMatch(readFileSync(join(directory, 'prompts.svg'), 'utf8'), /NaN|Infinity/);
});

t.test('answers of another system', async (t) => {
  const score = async (task: string, data: string, answers: string, only?: string[]) => {
    const file = at('answers.txt');
    writeFileSync(file, answers);
    return evaluate(null, task, { data: [at(data)], predictions: file, ...(only && { only }) });
  };
  const gold = [...'AAAAAAABBB'];
  const of = async (answers: string[]) =>
    (await score('xcopa', 'xcopa.it.jsonl', `${answers.join('\n')}\n`, ['2'])).means.accuracy!.all
      .mean;
  t.equal(await of(gold), 1);
  t.equal(await of(gold.map((letter) => ` ${letter}. `)), 1, 'normalised');
  t.equal(await of(gold.map((letter) => `${letter}:`)), 1, 'normalised');
  t.equal(await of(gold.map(() => 'A')), 0.7);
  t.equal(await of(gold.map(() => 'B')), 0.3);
  t.equal(await of(gold.map(() => 'a')), 0, 'not the case');
  const right = await score(
    'translation',
    'en-de.jsonl',
    'Der Hund beißt den Mann im Garten.\nHeute regnet es wieder in der Stadt.\n',
    ['1'],
  );
  t.equal(right.means.bleu!.all.mean.toFixed(9), '100.000000000');
  t.equal(right.means.chrf!.all.mean.toFixed(9), '100.000000000');
  t.equal(right.model, null);
  t.equal(right.cells[0]!.meanLength, null);
  const several = [
    { source: 'It rains.', references: ['Es regnet.'] },
    { source: 'They are here.', references: ['Sie sind hier.', 'Die sind da.'] },
  ];
  writeFileSync(at('several.en-de.jsonl'), lines(several));
  const asked = await score('translation', 'several.en-de.jsonl', 'Es regnet.\nDie sind da.\n', [
    '1',
  ]);
  t.match(asked.signatures, { bleu: /nrefs:var\|/, chrf: /nrefs:var\|/ }, 'of all examples');

  const wrong = (answers: string, only: string[] | undefined, message: RegExp) =>
    t.rejects(score('xcopa', 'xcopa.it.jsonl', answers, only), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    });
  await wrong('A\n', ['1'], /has 1 answers and the data 10 examples/);
  await wrong(gold.join('\n'), undefined, /answers without prompts and there are 5 prompts/);

  const file = at('answers.jsonl');
  const all = ['1', '3'].flatMap((prompt) =>
    gold.map((answer, i) => ({
      prompt,
      id: `xcopa.it.jsonl:${i + 1}`,
      answer: prompt === '1' ? answer : 'A',
    })),
  );
  const named = (rows: object[]) => {
    writeFileSync(file, lines(rows));
    return evaluate(null, 'xcopa', {
      data: [at('xcopa.it.jsonl')],
      predictions: file,
      only: ['1', '3'],
    });
  };
  const { means } = await named([...all].reverse());
  t.same(means.accuracy!.all.prompts, { '1': 1, '3': 0.7 }, 'in any order');
  t.equal(means.accuracy!.all.mean, 0.85);
  t.equal(means.accuracy!.all.range.toFixed(9), '0.150000000');
  t.same(means.accuracy!.heldOut, means.accuracy!.all, 'Italian is not in xP3');
  t.equal(means.accuracy!.heldIn, null);
  await t.rejects(named(all.slice(1)), {
    message: /no answer to xcopa\.it\.jsonl:1 under prompt 1/,
  });
  await t.rejects(named([...all, all[0]!]), {
    message: /:21: there is an answer to this prompt and example/,
  });
  await t.rejects(named([{ text: 'A' }]), {
    message: /:1: an answer is \{ "answer": text \}, not undefined/,
  });
});

t.test('the mean is over prompts, of a prompt over groups', async (t) => {
  const answers = ['1', '2'].flatMap((prompt) =>
    Array.from({ length: 10 }, (_, i) => ({
      prompt,
      id: `parity.jsonl:${i + 1}`,
      // Group a has four examples and b six. Prompt 1: all of a, none of b; prompt 2: all.
      answer: (prompt === '2' || i < 4) === (i % 2 === 0) ? 'Yes' : 'No, never',
    })),
  );
  writeFileSync(at('parity-answers.jsonl'), lines(answers));
  const { means, cells } = await evaluate(null, at('parity.json'), {
    data: [at('parity.jsonl')],
    predictions: at('parity-answers.jsonl'),
  });
  t.same(
    cells.map(({ prompt, group, examples, scores }) => [prompt, group, examples, scores.accuracy]),
    [
      ['1', 'a', 4, 1],
      ['1', 'b', 6, 0],
      ['2', 'a', 4, 1],
      ['2', 'b', 6, 1],
    ],
  );
  t.same(means.accuracy!.all, { mean: 0.75, range: 0.25, prompts: { '1': 0.5, '2': 1 } });
});

t.test('lengths, and the rule of section 5.1', async (t) => {
  const alike = (options: Partial<EvaluateOptions> = {}) =>
    evaluate(model, at('alike.json'), { data: [at('alike.jsonl')], ...options });
  const parity = (options: Partial<EvaluateOptions> = {}) =>
    evaluate(model, at('parity.json'), { data: [at('parity.jsonl')], only: ['1'], ...options });
  const waysOf = ({ prompts }: Evaluation) => prompts.map(({ way }) => way);
  const tokens = (text: string) => model.tokenizer.encode(text).ids.length - 2;
  t.equal(tokens('1'), tokens('2'));
  t.not(tokens('Yes'), tokens('No, never'));

  const fixed = await alike();
  t.same(waysOf(fixed), [`${tokens('1')} token${tokens('1') === 1 ? '' : 's'}`]);
  t.match(fixed.prompts[0]!.notes, [/the length of the labels, .*section 5\.1/]);
  t.equal(fixed.cells[0]!.lengthAccuracy, 1);
  t.same(waysOf(await alike({ length: 'predict' })), ['predicted']);
  const digit = tokens('1');
  t.match((await alike({ length: 9 })).prompts[0]!.notes, [
    `no label has 9 tokens, all have ${digit}`,
  ]);

  t.same(waysOf(await parity()), ['predicted'], 'labels of unequal length');
  const decides = {
    code: 'ERR_INVALID_ARGUMENT',
    message: /prompt 1: labels differ in tokens .*"Yes" has \d, "No, never" has \d.*section 5\.1/,
  };
  await t.rejects(parity({ length: 1 }), decides);
  await t.rejects(parity({ length: 'gold' }), decides);
  t.same(waysOf(await parity({ length: { candidates: 2 } })), ['2 candidates']);

  const gold = await onNumbers({ length: 'gold', limit: 5 });
  t.same(waysOf(gold), ['gold']);
  t.equal(gold.cells[0]!.lengthAccuracy, 1);
});

t.test('labels are chosen as choose() chooses, or not at all', async (t) => {
  const chosen = await evaluate(model, at('alike.json'), {
    data: [at('alike.jsonl')],
    answer: 'choose',
    directory: at('chosen'),
  });
  t.same(
    chosen.prompts.map(({ way }) => way),
    ['chosen'],
  );
  const records = readFileSync(at('chosen', 'answers.jsonl'), 'utf8').trim().split('\n');
  for (const line of records) {
    const { source, answer, score } = JSON.parse(line) as AnswerRecord;
    const { label, index, logProbs } = await model.choose(source, ['1', '2', '3']);
    t.equal(answer, label);
    t.equal(score, logProbs[index]);
  }
  const refused = await evaluate(model, at('parity.json'), {
    data: [at('parity.jsonl')],
    answer: 'choose',
    only: ['1'],
  });
  t.same(
    refused.prompts.map(({ way, counts }) => [way, counts]),
    [
      ['predicted', true],
      ['gold', false],
    ],
  );
  t.match(refused.prompts[0]!.notes, [/choose is refused, because labels differ in tokens/]);
  const predicted = refused.cells.filter(({ way }) => way === 'predicted');
  t.equal(
    refused.means.accuracy!.all.mean,
    (predicted[0]!.scores.accuracy! + predicted[1]!.scores.accuracy!) / 2,
  );
  await t.rejects(onNumbers({ answer: 'choose' }), {
    message: /prompt 1 has no labels to choose among/,
  });
  await t.rejects(onNumbers({ answer: 'choose', length: 3 }), {
    message: /a length is for answers that are written/,
  });
});

t.test('a run that was stopped goes on, to the same report', async (t) => {
  const whole = await onNumbers({ seed: 3 });
  const directory = at('stopped');
  const controller = new AbortController();
  const stopping = onNumbers({
    seed: 3,
    directory,
    signal: controller.signal,
    onProgress: ({ done }) => void (done === 20 && controller.abort(new Error('stop'))),
  });
  await t.rejects(stopping, { message: 'stop' });
  const kept = readFileSync(join(directory, 'answers.jsonl'), 'utf8').split('\n').length - 1;
  t.ok(kept >= 20 && kept < 60, `${kept} answers were kept`);
  t.notOk(existsSync(join(directory, 'report.json')));

  await t.rejects(onNumbers({ seed: 3, directory }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /has an evaluation already: resume/,
  });
  await t.rejects(onNumbers({ seed: 3, directory, resume: true, iterations: 2 }), {
    message: /has other settings .*settings\.json/,
  });
  appendFileSync(join(directory, 'answers.jsonl'), '{"prompt":"1","id":"numbers.js');
  let first: { done: number; resumed: number } | undefined;
  const resumed = await onNumbers({
    seed: 3,
    directory,
    resume: true,
    onProgress: (progress) => (first ??= progress),
  });
  t.match(first, { done: kept + 1, resumed: kept });
  const { milliseconds: _, ...left } = whole;
  const { milliseconds: __, ...right } = resumed;
  t.same(right, left);
  const again = await onNumbers({ seed: 3, directory, resume: true });
  t.same(again, resumed, 'nothing is left to ask');
});

t.test('comparisons', async (t) => {
  await onNumbers({ directory: at('ten') });
  await onNumbers({ directory: at('one'), iterations: 1 });
  const same = await compareEvaluations(at('ten'), at('ten'));
  t.same(same.unlike, []);
  t.ok(same.scores.length >= 3);
  t.ok(
    same.scores.every(
      ({ second }) => second.difference!.score === 0 && second.difference!.pValue === 1,
    ),
  );
  const { unlike, markdown } = await compareEvaluations(at('ten'), at('one'));
  t.same(unlike, ['iterations (10, 1)']);
  t.match(markdown, /\| B − A \|/);

  // A system that is right where the other is wrong.
  const given = (name: string, answer: (i: number) => string) => {
    writeFileSync(
      at(`${name}.txt`),
      Array.from({ length: 60 }, (_, i) => `${answer(i)}\n`).join(''),
    );
    return evaluate(null, at('numbers.json'), {
      data: [at('numbers.jsonl')],
      predictions: at(`${name}.txt`),
      directory: at(name),
    });
  };
  await given('all', (i) => numbers[i]!.answer);
  await given('half', (i) => (i % 2 === 0 ? numbers[i]!.answer : 'x'));
  const { scores } = await compareEvaluations(at('half'), at('all'), { samples: 500, seed: 1 });
  const [first] = scores;
  t.match(first, {
    measure: 'accuracy',
    examples: 60,
    first: { score: 0.5 },
    second: { score: 1 },
  });
  t.equal(first!.second.difference!.score, 0.5);
  t.ok(first!.second.difference!.pValue < 0.01);
  t.ok(
    first!.second.difference!.interval.low > 0.3 && first!.second.difference!.interval.high < 0.7,
  );

  await evaluate(null, at('parity.json'), {
    data: [at('parity.jsonl')],
    predictions: at('parity-answers.jsonl'),
    directory: at('parity-run'),
  });
  await t.rejects(compareEvaluations(at('all'), at('parity-run')), {
    message: /different tasks: numbers and parity/,
  });
  const self = await compareEvaluations(at('parity-run'), at('parity-run'));
  t.match(
    self.scores.at(-1),
    { prompt: null, examples: 10, first: { score: 0.7 } },
    'examples, each with all its prompts',
  );
  await t.rejects(compareEvaluations(at('all'), at('nowhere')), {
    message: /nowhere has no finished evaluation/,
  });
  await evaluate(model, at('numbers.json'), {
    data: [at('digits.jsonl')],
    directory: at('digits-run'),
  });
  await t.rejects(compareEvaluations(at('all'), at('digits-run')), {
    message: /of different data/,
  });
});

t.test('examples before the question', async (t) => {
  await evaluate(model, at('numbers.json'), {
    data: [at('digits.jsonl')],
    shots: 2,
    directory: at('shots'),
  });
  const records = readFileSync(at('shots', 'answers.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AnswerRecord);
  for (const { source, id } of records) {
    const own = digits[Number(id.split(':')[1]) - 1]!;
    t.ok(source.endsWith(` ${own.prompt}`));
    const before = source.slice(0, -own.prompt.length);
    const shown = digits.filter(({ prompt, answer }) => before.includes(`${prompt} ${answer} `));
    t.equal(shown.length, 2);
    t.notOk(shown.includes(own), 'not the question itself');
  }
  await t.rejects(evaluate(model, at('numbers.json'), { data: [at('digits.jsonl')], shots: 9 }), {
    message: /there are 7 examples to show before digits\.jsonl:\d, fewer than the 9/,
  });
});

t.test('studies', async (t) => {
  const data = { data: [at('digits.jsonl')] };
  const settings: string[] = [];
  const directory = at('study');
  const iterations = await study('iterations', model, at('numbers.json'), {
    ...data,
    steps: [1, 3],
    directory,
    onSetting: (name) => void settings.push(name),
  });
  t.same(settings, [
    'T = 1',
    'T = 3',
    'T ≤ 3, stopping when nothing changes',
    'T ≤ 3, stopping when all tokens have a probability of 0.9',
    'T ≤ 3, stopping when all tokens have a probability of 0.99',
    'T ≤ 3, masking again only tokens below 0.9',
  ]);
  t.same(
    iterations.rows.map(({ setting }) => setting),
    settings,
  );
  const direct = await evaluate(model, at('numbers.json'), { ...data, iterations: 1 });
  t.same(iterations.rows[0]!.evaluation.cells, direct.cells);
  t.same(Object.keys(iterations.charts), ['iterations.svg', 'milliseconds.svg']);
  for (const svg of Object.values(iterations.charts)) {
    t.match(svg, /^<svg [\s\S]*<\/svg>\n$/);
    t.notMatch(svg, /NaN|Infinity/);
  }
  t.equal(
    readFileSync(join(directory, 'iterations.svg'), 'utf8'),
    iterations.charts['iterations.svg'],
  );
  t.match(readFileSync(join(directory, 'study.md'), 'utf8'), /\| T = 3 \|.*\n/);
  t.ok(existsSync(join(directory, 'T-3', 'report.json')));
  const again = await study('iterations', model, at('numbers.json'), {
    ...data,
    steps: [1, 3],
    directory,
    resume: true,
  });
  t.same(again.rows, iterations.rows, 'resumed');

  const length = await study('length', model, at('numbers.json'), data);
  const [predicted, gold] = length.rows.map(
    ({ evaluation }) => evaluation.means.accuracy!.all.mean,
  );
  t.match(
    length.markdown,
    new RegExp(
      `the gap, .*, is ${(gold! - predicted!).toFixed(4).replace('.', '\\.')} \\(accuracy\\)`,
    ),
  );
  const candidates = await study('candidates', model, at('numbers.json'), data);
  t.same(
    candidates.rows.map(({ evaluation }) => evaluation.settings.length),
    [
      'predict',
      { candidates: 3 },
      { candidates: 5 },
      ...[0, 0.1, 0.25, 0.5, 1, 2].map((weight) => ({ candidates: 5, weight })),
    ],
  );
  const right = candidates.rows.map(({ evaluation }) => evaluation.means.accuracy!.all.mean);
  t.equal(right[2], right[5], 'the default weight is 0.25');
  t.ok(right[3]! < right[2]!, 'without a weight sure fragments win');
  t.match(candidates.charts['candidates.svg'], /best of 5, weight 0\.25/);
  t.match(
    markdownOf(candidates.rows[4]!.evaluation),
    /the best of 5 candidates, the length's log-probability counted 0\.1 times/,
  );
  const shotData = [at('numbers.jsonl')];
  const shots = await study('shots', model, at('numbers.json'), { ...data, shotData });
  t.same(
    shots.rows.map(({ evaluation }) => evaluation.settings.shots),
    [0, 1, 2, 4],
  );
  const set = study('length', model, at('numbers.json'), { ...data, length: 3 });
  await t.rejects(set, { message: /the study length takes no length: it sets that itself/ });
  let closed = 0;
  const precision = await study(
    'precision',
    async (name) => {
      const one = await MaskPredict.load(undefined, { precision: name, threads: 1 });
      const close = one.close.bind(one);
      one.close = () => (closed++, close());
      return one;
    },
    at('numbers.json'),
    data,
  );
  t.same(
    precision.rows.map(({ evaluation }) => evaluation.model!.precision),
    [model.engine.precision, 'bf16', 'int8'],
    'fp32 keeps what the file has',
  );
  t.equal(closed, 3);
  await t.rejects(study('precision', model, at('numbers.json'), data), {
    message: /loads models itself/,
  });
  await t.rejects(
    study('iterations', model, at('alike.json'), { data: [at('alike.jsonl')], answer: 'choose' }),
    { message: /answers that are written/ },
  );
});

t.test('options that are wrong', async (t) => {
  const cases: [Partial<EvaluateOptions>, RegExp][] = [
    [{ data: [] }, /at least one data file/],
    [{ data: [at('nowhere.jsonl')] }, /nowhere\.jsonl cannot be read/],
    [
      { data: [at('numbers.jsonl'), at('numbers.jsonl')] },
      /two data files have the name numbers\.jsonl/,
    ],
    [{ only: ['7'] }, /no prompt "7"; there are 1$/],
    [{ answer: 'guess' as never }, /answer must be one of 'generate', 'choose'/],
    [{ length: 0 }, /length must be 'predict', 'gold', a number of tokens/],
    [{ limit: 0 }, /limit must be an integer/],
    [{ stop: 'soon' as never }, /stop must be 'unchanged'/],
    [{ remask: { below: 2 } }, /remask\.below must be a probability/],
    [{ resume: true }, /resume goes on with a run in a directory/],
    [{ shotData: ['x'] }, /shotData has the examples for shots/],
    [{ predictions: 'x' }, /takes a model, or null and predictions/],
    [{ prompts: [] }, /prompts must be a list of prompts/],
    [
      { prompts: [{ template: '{{nothing}}', answer: 'x' }] },
      /asks for a field nothing; the examples have prompt, answer/,
    ],
    [{ tokens: 3 } as never, /evaluate\(\) has no option 'tokens'/],
  ];
  for (const [options, message] of cases) {
    await t.rejects(onNumbers(options), { code: 'ERR_INVALID_ARGUMENT', message }, String(message));
  }
});

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function call(...given: string[]) {
  const [stdout, stderr] = [new Collected(), new Collected()];
  const { signal } = new AbortController();
  const code = await run(['eval', ...given], {
    stdin: Readable.from([]),
    stdout,
    stderr,
    environment: {},
    signal,
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

t.test('the command', async (t) => {
  const asked = [at('numbers.json'), '--data', at('digits.jsonl'), '--threads', '1'];
  asked.push('--iterations', '4');
  const text = await call(...asked, '--out', at('called'));
  t.match(text, { code: 0, stderr: '', stdout: /^# numbers\n[\s\S]*1 \(predicted\)/ });
  const again = await call(...asked, '--out', at('called'), '--resume', '--json');
  const { cells, settings } = JSON.parse(again.stdout) as Evaluation;
  t.same(settings.iterations, 4);
  const direct = await evaluate(model, at('numbers.json'), {
    data: [at('digits.jsonl')],
    iterations: 4,
  });
  t.same(cells, direct.cells);
  t.match(await call('compare', at('called'), at('called'), '--samples', '50'), {
    code: 0,
    stdout: /B − A/,
  });
  t.match(
    await call(
      at('numbers.json'),
      '--study',
      'iterations',
      '--iterations',
      '1,2',
      at('digits.jsonl'),
    ),
    { code: 0, stdout: /\| T = 2 \|/ },
  );
  t.match(
    await call(
      'xcopa',
      '--predictions',
      at('answers.jsonl'),
      '--prompt',
      '1',
      '--data',
      at('xcopa.it.jsonl'),
    ),
    { code: 1, stderr: /an answer is/ },
  );
  t.match(await call(at('parity.json'), '--gold-length', '--data', at('parity.jsonl')), {
    code: 1,
    stderr: /section 5\.1.*ERR_INVALID_ARGUMENT/,
  });
  const wrong: [string[], RegExp][] = [
    [[], /eval takes a task: xnli, xcopa/],
    [['xcopa'], /eval needs --data FILE/],
    [
      ['xcopa', 'f', '--length', '3', '--gold-length'],
      /--length and --gold-length exclude each other/,
    ],
    [['xcopa', 'f', '--stop', '2'], /--stop takes a number from 0 to 1, not '2'/],
    [['xcopa', 'f', '--study', 'iterations', '--iterations', '4,1'], /rising numbers such as 1-20/],
    [['xcopa', 'f', '--study', 'all'], /--study takes prompts, iterations/],
    [['xcopa', 'f', '--resume'], /--resume goes on with the run in --out DIR/],
    [['xcopa', 'f', '--samples', '3'], /--samples is for eval compare/],
    [['compare', 'f'], /takes the two directories/],
  ];
  for (const [given, message] of wrong) t.match(await call(...given), { code: 2, stderr: message });
});
