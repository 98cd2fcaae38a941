/** `eval`: a task of the paper, or one's own, as numbers; `eval compare`: whether two such numbers differ. */
import { compareEvaluations } from '../evaluation/runs/compare.js';
import { evaluate, type EvaluateOptions, type Evaluation } from '../evaluation/runs/evaluate.js';
import { markdownOf } from '../evaluation/runs/report.js';
import { study, studyNames, type StudyOptions } from '../evaluation/runs/study.js';
import { tasks } from '../evaluation/tasks/tasks.js';
import { embeddedModel } from '../bundled-models.js';
import { MaskPredict } from '../text/mask-predict.js';
import { Arguments, modelOptions, UsageError, type OptionTable } from './arguments.js';
import { modelHelp, withModel, type Command } from './command.js';
import { EvaluationProgressLine } from './evaluation-progress.js';
import { fetchModel } from './fetch-model.js';
import { readStop } from './generate.js';
import { Output, type Surroundings } from './output.js';

const options: OptionTable = {
  ...modelOptions,
  data: { type: 'string', multiple: true },
  format: { type: 'string' },
  languages: { type: 'string' },
  references: { type: 'string', multiple: true },
  prompts: { type: 'string' },
  prompt: { type: 'string', multiple: true },
  answer: { type: 'string' },
  iterations: { type: 'string' },
  stop: { type: 'string' },
  'remask-below': { type: 'string' },
  length: { type: 'string' },
  'gold-length': { type: 'boolean' },
  candidates: { type: 'string' },
  'length-weight': { type: 'string' },
  shots: { type: 'string' },
  'shot-data': { type: 'string', multiple: true },
  limit: { type: 'string' },
  seed: { type: 'string' },
  predictions: { type: 'string' },
  study: { type: 'string' },
  out: { type: 'string' },
  resume: { type: 'boolean' },
  json: { type: 'boolean' },
  samples: { type: 'string' },
};

const names = tasks.map(({ name }) => name).join(', ');

const help = `Usage: mask-predict eval TASK [options] --data FILE...
       mask-predict eval compare DIR DIR

Asks a model the questions of a data set, as the paper does, and prints a report.
TASK is one of
  ${names.replace(/(.{60,75}?), /g, '$1,\n  ')},
or a file TASK.json with prompts of one's own (see docs/evaluation.md).

The data, gzip too; .jsonl, .json, .tsv and .parquet, else lines of text:
  --data FILE...      a language of its own is a file of its own, or a column
  --format NAME       jsonl, tsv, text or parquet (default: by the files' names)
  --languages NAME    language, or pair en-de, of files that are not named so
  --references FILE   the right answers to the lines of a file of text; several for
                      several reference sets
  --limit N           examples of each language, drawn by the seed (default: all)
  --seed N            (default: 0)

How it is asked:
  --prompts FILE      a list of prompts instead of the task's
  --prompt NAME       this one alone; may be given several times
  --answer NAME       generate: exact match after normalising; choose: the most
                      probable label (default: generate)
  --iterations N      T (default: 10); of --study iterations a list, 1-20 or 1,4,10
  --stop RULE         unchanged, or a probability such as 0.9
  --remask-below P    mask again only tokens whose probability is not above P
  --length N          tokens of every answer (default: that of the labels where they
  --length predict    have the same, else predicted)
  --gold-length       tokens of the right answer
  --candidates K      the best of the K most probable lengths
  --length-weight W   how much a candidate length's own log-probability counts
                      (default: 0.25)
  --shots K           examples with answers before the question (default: 0), of
  --shot-data FILE    these files (default: of the data)
  --predictions FILE  score the answers in FILE; no model is asked

What is made of it:
  --study NAME        ${studyNames.join(', ')}:
                      a table and a chart
  --out DIR           keep answers.jsonl, report.json, report.md, prompts.svg
  --resume            go on with the run in --out, after Ctrl-C or a crash
  --json              print the report as JSON
  --samples N         of compare: test sets drawn (default: 1000)

${modelHelp}
Examples:
  mask-predict eval xcopa --model ./instruct-xlm-r --data test.it.jsonl test.tr.jsonl
  mask-predict eval translation --model ./mt --data newstest.de \\
    --references newstest.en --languages de-en --out de-en
  mask-predict eval xwinograd --answer choose --model ./xlm-r --data dataset.tsv
  mask-predict eval compare before after
`;

/** Not `eval`: the name is taken. */
export const evaluation: Command = {
  summary: 'evaluate a model on a task, or compare two evaluations',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, options);
    const [task, ...more] = given.texts;
    if (task === undefined) throw new UsageError(`eval takes a task: ${names}, or compare`);
    if (task === 'compare') return compare(given, more, surroundings);
    const data = [...given.list('data'), ...more];
    if (data.length === 0) throw new UsageError('eval needs --data FILE');
    if (given.text('samples') !== undefined) throw new UsageError('--samples is for eval compare');
    given.atMostOne('length', 'gold-length', 'candidates');
    given.atMostOne('study', 'predictions');
    if (given.has('resume') && given.text('out') === undefined) {
      throw new UsageError('--resume goes on with the run in --out DIR');
    }
    const progress = new EvaluationProgressLine(surroundings.stderr);
    const asked: StudyOptions = {
      ...evaluateOptions(given, data),
      signal: surroundings.signal,
      onProgress: (now) => progress.answered(now),
      onSetting: (name, index, count) => progress.begin(`${name} (${index + 1} of ${count})`),
    };
    try {
      if (given.text('study') !== undefined) await runStudy(given, task, asked, surroundings);
      else await runOnce(given, task, asked, surroundings);
    } catch (error) {
      const out = given.text('out');
      if (surroundings.signal.aborted && out !== undefined) {
        progress.line(`stopped; the same command with --resume goes on in ${out}`);
      }
      throw error;
    } finally {
      progress.clear();
    }
  },
};

async function runOnce(
  given: Arguments,
  task: string,
  { onSetting: _, ...asked }: StudyOptions,
  surroundings: Surroundings,
): Promise<void> {
  const print = (one: Evaluation) =>
    new Output(surroundings.stdout).write(
      given.has('json') ? `${JSON.stringify(one)}\n` : markdownOf(one),
    );
  if (given.text('predictions') !== undefined) return print(await evaluate(null, task, asked));
  await withModel(given, surroundings, async (model) => print(await evaluate(model, task, asked)));
}

async function runStudy(
  given: Arguments,
  task: string,
  asked: StudyOptions,
  surroundings: Surroundings,
): Promise<void> {
  const name = given.choice('study', studyNames)!;
  const print = ({ markdown, rows }: Awaited<ReturnType<typeof study>>) =>
    new Output(surroundings.stdout).write(
      given.has('json') ? `${JSON.stringify({ name, rows })}\n` : markdown,
    );
  if (name !== 'precision') {
    return withModel(given, surroundings, async (model) =>
      print(await study(name, model, task, asked)),
    );
  }
  if (given.text('precision') !== undefined) {
    throw new UsageError('--study precision loads the model in each precision itself');
  }
  const directory = await fetchModel(given.text('model') ?? embeddedModel, given, surroundings);
  const load = { ...given.engineOptions(), signal: surroundings.signal, logger: () => {} };
  await print(
    await study(
      name,
      (precision) => MaskPredict.load(directory, { ...load, precision }),
      task,
      asked,
    ),
  );
}

function evaluateOptions(given: Arguments, data: string[]): StudyOptions {
  const below = given.number('remask-below', 0, 1);
  const values = {
    format: given.choice('format', ['jsonl', 'tsv', 'text', 'parquet'] as const),
    languages: given.text('languages'),
    references: listed(given, 'references'),
    prompts: given.text('prompts'),
    only: listed(given, 'prompt'),
    answer: given.choice('answer', ['generate', 'choose'] as const),
    stop: readStop(given),
    remask: below === undefined ? undefined : { below },
    length: lengthOf(given),
    shots: given.integer('shots', 0, 1000),
    shotData: listed(given, 'shot-data'),
    limit: given.integer('limit', 1, 2 ** 32),
    seed: given.integer('seed', 0, Number.MAX_SAFE_INTEGER),
    directory: given.text('out'),
    predictions: given.text('predictions'),
    ...(given.text('study') === 'iterations'
      ? { steps: stepsOf(given.text('iterations')) }
      : { iterations: given.integer('iterations', 1, 100_000) }),
  };
  const there = Object.entries(values).filter(([, value]) => value !== undefined);
  return {
    data,
    ...(Object.fromEntries(there) as Partial<EvaluateOptions>),
    modelName: given.text('model') ?? 'numbers (the embedded model)',
    ...(given.has('resume') && { resume: true }),
  };
}

function listed(given: Arguments, name: string): string[] | undefined {
  const list = given.list(name);
  return list.length === 0 ? undefined : list;
}

function lengthOf(given: Arguments): EvaluateOptions['length'] {
  if (given.has('gold-length')) return 'gold';
  const candidates = given.integer('candidates', 1, 1_000_000);
  const weight = given.number('length-weight', 0, 1e6);
  if (candidates !== undefined) return { candidates, ...(weight !== undefined && { weight }) };
  if (weight !== undefined) throw new UsageError('--length-weight is for --candidates');
  if (given.text('length') === 'predict') return 'predict';
  return given.integer('length', 1, 1_000_000);
}

/** `1-20` and `1,4,10`. */
function stepsOf(text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  const steps = text.split(',').flatMap((part) => {
    const [, first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const begin = Number(first);
    const end = Number(last ?? first);
    return Array.from({ length: Math.max(0, end - begin + 1) || 0 }, (_, i) => begin + i);
  });
  const good = steps.length > 0 && steps.every((step, i) => step > (steps[i - 1] ?? 0));
  if (good && steps.length <= 1000) return steps;
  throw new UsageError(
    `--iterations takes rising numbers such as 1-20 or 1,4,10 here, not '${text}'`,
  );
}

async function compare(
  given: Arguments,
  directories: string[],
  { stdout }: Surroundings,
): Promise<void> {
  const [first, second] = directories;
  if (first === undefined || second === undefined || directories.length > 2) {
    throw new UsageError('eval compare takes the two directories of --out');
  }
  const samples = given.integer('samples', 1, 1_000_000);
  const seed = given.integer('seed', 0, Number.MAX_SAFE_INTEGER);
  const { markdown, ...comparison } = await compareEvaluations(first, second, {
    ...(samples !== undefined && { samples }),
    ...(seed !== undefined && { seed }),
  });
  await new Output(stdout).write(given.has('json') ? `${JSON.stringify(comparison)}\n` : markdown);
}
