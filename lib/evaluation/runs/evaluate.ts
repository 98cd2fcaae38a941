/**
 * One evaluation: a model, a task, data and settings become answers and a report. With a directory, all of it is kept there
 * and a run that was stopped goes on where it was.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { invalidArgument, shown } from '../../errors.js';
import {
  checkFunction,
  checkOptions,
  checkSignal,
  integerOption,
  remaskOption,
  stopOption,
} from '../../options.js';
import type { MaskPredict } from '../../text/mask-predict.js';
import type { RemaskRule, StopRule } from '../../token/engine-options.js';
import { version } from '../../version.js';
import { choiceOption } from '../choices.js';
import {
  hashed,
  readExamples,
  type DataFile,
  type HashedFile,
  type TaskExample,
} from '../tasks/examples.js';
import type { Prompt } from '../tasks/prompts.js';
import type { DataFormat } from '../tasks/rows.js';
import { checkedPrompts, readPrompts, taskOf } from '../tasks/task-file.js';
import type { Task } from '../tasks/tasks.js';
import { AnswerLog, keyOf, readRecords, type AnswerRecord } from './answer-log.js';
import { answerAll, type EvaluationProgress } from './answering.js';
import { cellsOf, meanOf, type EvaluationCell, type MeanScore } from './cells.js';
import { givenAnswers } from './given-answers.js';
import { measureOf, type Measure } from './measures.js';
import { namedPrompts, plansOf, type EvaluationLength, type Plan } from './plans.js';
import { markdownOf } from './report.js';
import { promptsChart } from './prompts-chart.js';

export interface EvaluateOptions {
  /** Files of the task's data; a language of its own is a file of its own, or a column. */
  data: readonly string[];
  /** Default: by the files' names; a name without a known ending is lines of text. */
  format?: DataFormat;
  /** The language, or for translation the pair `en-de`, of data whose files are not named so. */
  languages?: string;
  /** Files with a right answer on each line, where the one data file is lines of text. */
  references?: readonly string[];
  /** Prompts instead of the task's: a JSON file with a list of them, or the list. */
  prompts?: string | readonly Prompt[];
  /** Names of the prompts to ask; those without a name have their number, from 1. Default: all. */
  only?: readonly string[];
  /**
   * `'generate'` (default): an answer is right if it is the right one, letter for letter after normalising. `'choose'`: the
   * most probable label is taken; refused for labels that differ in their number of tokens, which are written then, with
   * predicted and with gold length.
   */
  answer?: 'generate' | 'choose';
  /** T. Default 10. */
  iterations?: number;
  /** When an answer is good enough before its last pass. Default: never. */
  stop?: StopRule;
  /** Which tokens are masked again after a pass. Default: all that Mask-Predict masks. */
  remask?: RemaskRule;
  /** Default: that of the labels where all have as many tokens, else predicted (sections 4.2 and 5.1). */
  length?: EvaluationLength;
  /** Examples with their answers before the question, drawn by the seed. Default 0. */
  shots?: number;
  /** Files that these are drawn from. Default: other examples of the data. */
  shotData?: readonly string[];
  /** So many examples of each group, drawn by the seed. Default: all. */
  limit?: number;
  /** Seed of the draws of `shots` and `limit`, 0 … 2^53 - 1. Default 0. */
  seed?: number;
  /** For `answers.jsonl`, `report.json`, `report.md` and `prompts.svg`. Default: nothing is kept. */
  directory?: string;
  /** Goes on with the run in the directory, which must have the same settings. Default false. */
  resume?: boolean;
  /** A file with the answers of another system: no model is asked. */
  predictions?: string;
  /** The model's name in the report. */
  modelName?: string;
  /** Stops the run after the answers that are there; what was answered is kept. */
  signal?: AbortSignal;
  onProgress?: (progress: EvaluationProgress) => void;
}

/** Everything that a report says. */
export interface Evaluation {
  task: { name: string; title: string; promptsFrom: 'paper' | 'own'; measures: readonly Measure[] };
  /** Null for answers that were given. */
  model: { name: string; type: string; parameters: number; precision: string } | null;
  /** The file of answers that were given, else null. */
  predictions: HashedFile | null;
  data: DataFile[];
  /** That shots are drawn from; null: from the data, or there are none. */
  shotData: DataFile[] | null;
  settings: {
    answer: 'generate' | 'choose' | 'given';
    iterations: number;
    stop: StopRule | null;
    remask: RemaskRule | null;
    /** As asked for; null: as the prompts' labels say. */
    length: EvaluationLength | null;
    shots: number;
    limit: number | null;
    seed: number;
  };
  /** Each prompt and each way it was asked. */
  prompts: {
    name: string;
    template: string;
    answer: string;
    way: string;
    /** True if the means take it in. */
    counts: boolean;
    notes: string[];
  }[];
  cells: EvaluationCell[];
  /** By measure: over all groups, and those that the paper reports apart. */
  means: Partial<
    Record<Measure, { all: MeanScore; heldIn: MeanScore | null; heldOut: MeanScore | null }>
  >;
  /** Signatures of the measures that have one. */
  signatures: Partial<Record<Measure, string>>;
  /** Milliseconds of all parts of the run; null for given answers. */
  milliseconds: number | null;
  machine: {
    processor: string;
    processors: number;
    gigabytes: number;
    node: string;
    version: string;
    /** With instruction set and threads; null for answers that were given. */
    device: string | null;
  };
}

const evaluateOptions = [
  'data',
  'format',
  'languages',
  'references',
  'prompts',
  'only',
  'answer',
  'iterations',
  'stop',
  'remask',
  'length',
  'shots',
  'shotData',
  'limit',
  'seed',
  'directory',
  'resume',
  'predictions',
  'modelName',
  'signal',
  'onProgress',
];

/** Files in the directory of a run. @internal */
export const evaluationFiles = {
  settings: 'settings.json',
  answers: 'answers.jsonl',
  report: 'report.json',
  text: 'report.md',
  chart: 'prompts.svg',
} as const;

/**
 * Evaluates `model`, or with `predictions` the answers of another system (`model` is null then), on a task by its name
 * (`xnli`, `xcopa`, `xwinograd`, `translation`, `xsum`, `gigaword`, `wiki-auto`, `qqp`, `commongen`, `personachat`, `fever`,
 * `sst-2`, `poem-sentiment`, `lambada`, `options`) or in a file `….json`.
 *
 * Throws `ERR_INVALID_ARGUMENT` for options, data and prompts that are wrong, naming option, file, line and column.
 */
export async function evaluate(
  model: MaskPredict | null,
  task: string,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const settings = readOptions(model, options);
  const asked = await promptsAsked(await taskOf(task), options);
  const dataSettings = {
    seed: settings.seed,
    ...(options.format !== undefined && { format: options.format }),
    ...(options.languages !== undefined && { group: options.languages }),
    ...(options.references !== undefined && { references: options.references }),
  };
  const limit = settings.limit === null ? {} : { limit: settings.limit };
  const data = await readExamples(asked, options.data, { ...dataSettings, ...limit });
  const shots = options.shotData && (await readExamples(asked, options.shotData, dataSettings));
  const plans = model ? plansOf(asked.prompts, data.examples, model.tokenizer, settings.plan) : [];
  const base = {
    task: taskEntry(asked),
    model: model && modelEntry(model, options.modelName),
    predictions: options.predictions === undefined ? null : await hashed(options.predictions),
    data: data.files,
    shotData: shots?.files ?? null,
    settings: settings.entry,
    prompts: plans.length > 0 ? plans.map(promptEntry) : givenPrompts(asked),
  };
  const log = await openLog(options, base);
  try {
    if (options.predictions !== undefined) {
      const records = await givenAnswers(
        options.predictions,
        namedPrompts(asked.prompts),
        data.examples,
      );
      for (const record of records) log.add(record);
    } else {
      await answerAll(model!, plans, data.examples, log, {
        ...settings.ask,
        shotExamples: shots?.examples ?? data.examples,
        signal: options.signal,
        onProgress: options.onProgress,
      });
    }
  } finally {
    await log.close();
  }
  const evaluation: Evaluation = {
    ...base,
    ...resultsOf(asked, base.prompts, data.examples, [...log.records.values()]),
    machine: machineEntry(model),
  };
  await keep(options.directory, evaluation);
  return evaluation;
}

function readOptions(model: MaskPredict | null, options: EvaluateOptions) {
  checkOptions('evaluate()', options, evaluateOptions);
  checkSignal(options.signal);
  checkFunction('onProgress', options.onProgress);
  if (!Array.isArray(options.data)) throw invalidArgument('data must be a list of files');
  const { references, data, predictions, resume, directory, length } = options;
  if ((predictions === undefined) !== (model !== null)) {
    throw invalidArgument('evaluate() takes a model, or null and predictions');
  }
  if (options.shotData !== undefined && !options.shots) {
    throw invalidArgument('shotData has the examples for shots, and there are none');
  }
  if (references !== undefined && data.length !== 1) {
    throw invalidArgument('references are for one data file, whose lines they answer');
  }
  if (resume === true && directory === undefined) {
    throw invalidArgument('resume goes on with a run in a directory, which is not given');
  }
  const answer = choiceOption<'generate' | 'choose'>('answer', options.answer, 'generate', [
    'generate',
    'choose',
  ]);
  stopOption(options.stop);
  remaskOption(options.remask);
  checkLength(length);
  const iterations = integerOption('iterations', options.iterations, 10, 1, 100_000);
  const seed = integerOption('seed', options.seed, 0, 0, Number.MAX_SAFE_INTEGER);
  const shots = integerOption('shots', options.shots, 0, 0, 1000);
  const limit =
    options.limit === undefined ? null : integerOption('limit', options.limit, 0, 1, 2 ** 32);
  return {
    seed,
    limit,
    plan: { answer, length },
    ask: { iterations, stop: options.stop, remask: options.remask, shots, seed },
    entry: {
      answer: predictions === undefined ? answer : ('given' as const),
      iterations,
      stop: options.stop ?? null,
      remask: options.remask ?? null,
      length: length ?? null,
      shots,
      limit,
      seed,
    },
  };
}

function checkLength(length: unknown): void {
  const candidates = typeof length === 'object' && length !== null;
  if (length === undefined || length === 'predict' || length === 'gold' || candidates) return;
  if (typeof length === 'number' && Number.isInteger(length) && length >= 1) return;
  throw invalidArgument(
    `length must be 'predict', 'gold', a number of tokens or { candidates: number }, not ${shown(length)}`,
  );
}

/** The task with the prompts that are asked. */
async function promptsAsked(task: Task, { prompts, only }: EvaluateOptions): Promise<Task> {
  const own =
    prompts === undefined
      ? undefined
      : typeof prompts === 'string'
        ? await readPrompts(prompts)
        : checkedPrompts('prompts', prompts);
  const all = namedPrompts(own ?? task.prompts);
  const names = all.map(({ name }) => name);
  const missing = (only ?? []).find((name) => !names.includes(name));
  if (missing !== undefined) {
    throw invalidArgument(`there is no prompt ${shown(missing)}; there are ${names.join(', ')}`);
  }
  return {
    ...task,
    prompts: all.filter(({ name }) => only === undefined || only.includes(name)),
    promptsFrom: own ? 'own' : task.promptsFrom,
  };
}

/** The log of a directory's run, whose settings must be those of `base`. */
async function openLog(
  { directory, resume = false }: EvaluateOptions,
  base: object,
): Promise<AnswerLog> {
  if (directory === undefined) return AnswerLog.open(undefined);
  const answers = join(directory, evaluationFiles.answers);
  const settings = join(directory, evaluationFiles.settings);
  const plain = JSON.parse(JSON.stringify(base)) as Record<string, unknown>;
  if (existsSync(settings)) {
    if (!resume) {
      throw invalidArgument(
        `${directory} has an evaluation already: resume goes on with it, or name another directory`,
      );
    }
    const before = JSON.parse(await readFile(settings, 'utf8')) as Record<string, unknown>;
    const other = Object.keys(plain).find((key) => !isDeepStrictEqual(before[key], plain[key]));
    if (other !== undefined) {
      throw invalidArgument(
        `the evaluation in ${directory} has other ${other} (${settings}): go on with the same, or name another directory`,
      );
    }
  } else {
    await mkdir(directory, { recursive: true });
    await writeFile(settings, `${JSON.stringify(plain, null, 2)}\n`);
  }
  return AnswerLog.open(answers);
}

async function keep(directory: string | undefined, evaluation: Evaluation): Promise<void> {
  if (directory === undefined) return;
  const write = (file: string, text: string) => writeFile(join(directory, file), text);
  await write(evaluationFiles.report, `${JSON.stringify(evaluation, null, 2)}\n`);
  await write(evaluationFiles.text, markdownOf(evaluation));
  await write(evaluationFiles.chart, promptsChart(evaluation));
}

/** The report and the answers of a directory. @internal */
export async function readEvaluation(
  directory: string,
): Promise<{ evaluation: Evaluation; records: AnswerRecord[] }> {
  const file = join(directory, evaluationFiles.report);
  if (!existsSync(file)) {
    throw invalidArgument(`${directory} has no finished evaluation (${evaluationFiles.report})`);
  }
  return {
    evaluation: JSON.parse(await readFile(file, 'utf8')) as Evaluation,
    records: await readRecords(join(directory, evaluationFiles.answers)),
  };
}

/** In the order of prompts and examples, whatever order answers came in. */
function resultsOf(
  task: Task,
  prompts: Evaluation['prompts'],
  examples: readonly TaskExample[],
  records: readonly AnswerRecord[],
): Pick<Evaluation, 'cells' | 'means' | 'signatures' | 'milliseconds'> {
  const byKey = new Map(records.map((record) => [keyOf(record), record]));
  const ordered = prompts.flatMap(({ name, way }) =>
    examples.map(({ id }) => byKey.get(keyOf({ prompt: name, way, id }))!),
  );
  const cells = cellsOf(ordered, task.measures);
  const counted = cells.filter(({ prompt, way }) =>
    prompts.some((one) => one.name === prompt && one.way === way && one.counts),
  );
  const heldOut = ({ group }: EvaluationCell) => task.heldOut?.includes(group) ?? false;
  const means: Evaluation['means'] = {};
  const signatures: Evaluation['signatures'] = {};
  for (const measure of task.measures) {
    const value = ({ scores }: EvaluationCell) => scores[measure]!;
    means[measure] = {
      all: meanOf(counted, value)!,
      heldIn: meanOf(
        counted.filter((cell) => task.heldOut && !heldOut(cell)),
        value,
      ),
      heldOut: meanOf(counted.filter(heldOut), value),
    };
    const groups = [...new Set(ordered.map(({ group }) => group))];
    const written = groups.map((group) =>
      measureOf(measure).signature?.(oneOfEachCount(ordered, group), group),
    );
    const different = [...new Set(written.filter((one) => one !== undefined))];
    if (different.length > 0) signatures[measure] = different.join('; ');
  }
  const times = ordered.flatMap(({ ms }) => (ms === undefined ? [] : [ms]));
  const milliseconds = times.length === 0 ? null : times.reduce((sum, ms) => sum + ms, 0);
  return { cells, means, signatures, milliseconds };
}

/** Answers whose signature is that of the whole group: of what is in them it names the number of references alone. */
function oneOfEachCount(ordered: readonly AnswerRecord[], group: string): AnswerRecord[] {
  const own = ordered.filter((one) => one.group === group);
  return [...new Map(own.map((one) => [one.gold.length, one])).values()];
}

function taskEntry({ name, title, promptsFrom, measures }: Task): Evaluation['task'] {
  return { name, title, promptsFrom, measures };
}

function modelEntry({ engine }: MaskPredict, name = 'a model without a name'): Evaluation['model'] {
  const { modelType, parameters } = engine.config;
  return { name, type: modelType, parameters, precision: engine.precision };
}

function promptEntry({ prompt, way, counts, notes }: Plan): Evaluation['prompts'][number] {
  const { name, template, answer } = prompt;
  return { name, template, answer, way, counts, notes };
}

function givenPrompts({ prompts }: Task): Evaluation['prompts'] {
  return namedPrompts(prompts).map(({ name, template, answer, note }) => ({
    name,
    template,
    answer,
    way: 'given',
    counts: true,
    notes: note === undefined ? [] : [note],
  }));
}

function machineEntry(model: MaskPredict | null): Evaluation['machine'] {
  const { device, instructionSet, threads } = model?.engine ?? {};
  const names = model?.engines.map((engine) => engine.device).join(', ');
  const how = instructionSet
    ? ` (${instructionSet}, ${threads} thread${threads === 1 ? '' : 's'})`
    : '';
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    gigabytes: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    version: version(),
    device: device === undefined ? null : `${names}${how}`,
  };
}
