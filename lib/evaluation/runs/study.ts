/**
 * Studies: the same evaluation under settings that differ in one thing, as a table and a chart.
 *
 * - `prompts`: the mean over prompts and how far they are from it; that is an evaluation by itself.
 * - `iterations`: T = 1 … 20, and rules that end an answer early, against quality and milliseconds.
 * - `length`: predicted beside gold lengths: how often the length is right, and what that costs (Table 6).
 * - `candidates`: the predicted length beside the best of 3 and of 5 candidates, these with several weights of the length's
 *   log-probability.
 * - `shots`: examples before the question (section 6.4, appendix A.5).
 * - `precision`: how the weights are kept.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invalidArgument } from '../../errors.js';
import { lineChart, type Line } from '../../line-chart.js';
import type { MaskPredict } from '../../text/mask-predict.js';
import type { Precision } from '../../token/engine-options.js';
import { choiceOption } from '../choices.js';
import { taskOf } from '../tasks/task-file.js';
import { evaluate, type EvaluateOptions, type Evaluation } from './evaluate.js';
import { measureOf, printed } from './measures.js';
import { promptsChart } from './prompts-chart.js';
import { ruleText, table } from './report.js';

export type StudyName = 'prompts' | 'iterations' | 'length' | 'candidates' | 'shots' | 'precision';

export interface StudyOptions extends EvaluateOptions {
  /** T of the study `iterations`. Default 1 … 20. */
  steps?: readonly number[];
  /** Called when the next setting begins. */
  onSetting?: (setting: string, index: number, count: number) => void;
}

/** One setting of a study. */
export interface StudyRow {
  setting: string;
  evaluation: Evaluation;
}

export interface Study {
  name: StudyName;
  rows: StudyRow[];
  /** A table in Markdown. */
  markdown: string;
  /** Charts, by file name. */
  charts: Record<string, string>;
}

interface Setting {
  name: string;
  options: EvaluateOptions;
  precision?: Precision;
}

/** Rules that end an answer early, beside T alone. */
const rules: readonly Pick<EvaluateOptions, 'stop' | 'remask'>[] = [
  { stop: 'unchanged' },
  { stop: { confidence: 0.9 } },
  { stop: { confidence: 0.99 } },
  { remask: { below: 0.9 } },
];

/** Options that a study sets itself, so that the caller may not. */
const ownOptions: Readonly<Record<StudyName, readonly (keyof Omit<EvaluateOptions, 'resume'>)[]>> =
  {
    prompts: [],
    iterations: ['iterations', 'stop', 'remask'],
    length: ['length'],
    candidates: ['length'],
    shots: ['shots'],
    precision: [],
  };

/** @internal */
export const studyNames: readonly StudyName[] = [
  'prompts',
  'iterations',
  'length',
  'candidates',
  'shots',
  'precision',
];

/** The weights of the length's log-probability, among five candidates. */
const weights = [0, 0.1, 0.25, 0.5, 1, 2];

/**
 * `load`: a model by the precision its weights are kept in (`'auto'` but in the study of that), or the loaded model for
 * all other studies. With a directory, each setting has a directory of its own in it, and resumes there.
 *
 * Throws as {@link evaluate} does.
 */
export async function study(
  name: StudyName,
  load: MaskPredict | ((precision: Precision) => Promise<MaskPredict>),
  task: string,
  options: StudyOptions,
): Promise<Study> {
  choiceOption<StudyName>('the study', name, 'prompts', studyNames);
  const { steps, onSetting, directory, ...base } = options;
  if (base.predictions !== undefined)
    throw invalidArgument('a study asks a model, and takes no predictions');
  const settings = settingsOf(name, base, steps);
  const rows: StudyRow[] = [];
  let held: { model: MaskPredict; precision: Precision } | undefined;
  try {
    for (const [index, setting] of settings.entries()) {
      const precision = setting.precision ?? 'auto';
      if (held?.precision !== precision) {
        await closeLoaded(held?.model, load);
        held = undefined;
        held = { model: await loaded(load, precision, name), precision };
      }
      onSetting?.(setting.name, index, settings.length);
      const where =
        directory === undefined ? {} : { directory: join(directory, folderOf(setting.name)) };
      const resume = directory !== undefined && base.resume === true ? { resume: true } : {};
      rows.push({
        setting: setting.name,
        evaluation: await evaluate(held.model, task, {
          ...setting.options,
          ...where,
          ...resume,
        }),
      });
    }
  } finally {
    await closeLoaded(held?.model, load);
  }
  const { title } = await taskOf(task);
  const result = { name, rows, ...presented(name, title, rows) };
  if (directory !== undefined) await keep(directory, result);
  return result;
}

function settingsOf(
  name: StudyName,
  given: EvaluateOptions,
  steps: readonly number[] = Array.from({ length: 20 }, (_, i) => i + 1),
): Setting[] {
  const { resume: _, ...base } = given;
  const own = ownOptions[name].find((option) => base[option] !== undefined);
  if (own !== undefined) {
    throw invalidArgument(`the study ${name} takes no ${own}: it sets that itself`);
  }
  switch (name) {
    case 'prompts':
      return [{ name: 'all prompts', options: base }];
    case 'iterations': {
      refuseChoose(base, name);
      const most = Math.max(...steps);
      return [
        ...steps.map((iterations) => ({
          name: `T = ${iterations}`,
          options: { ...base, iterations },
        })),
        ...rules.map(({ stop = null, remask = null }, i) => ({
          name: `T ≤ ${most}, ${ruleText({ stop, remask })}`,
          options: { ...base, iterations: most, ...rules[i] },
        })),
      ];
    }
    case 'length':
      refuseChoose(base, name);
      return (['predict', 'gold'] as const).map((length) => ({
        name: length === 'predict' ? 'predicted' : 'gold',
        options: { ...base, length },
      }));
    case 'candidates': {
      refuseChoose(base, name);
      const best = (candidates: number, weight?: number): Setting => ({
        name: `best of ${candidates}${weight === undefined ? '' : `, weight ${weight}`}`,
        options: {
          ...base,
          length: weight === undefined ? { candidates } : { candidates, weight },
        },
      });
      return [
        { name: 'predicted', options: { ...base, length: 'predict' } },
        best(3),
        best(5),
        ...weights.map((weight) => best(5, weight)),
      ];
    }
    case 'shots': {
      const { shotData: __, ...without } = base;
      return [0, 1, 2, 4].map((shots) => ({
        name: `${shots} example${shots === 1 ? '' : 's'}`,
        options: shots === 0 ? without : { ...base, shots },
      }));
    }
    case 'precision':
      return (['fp32', 'bf16', 'int8'] as const).map((precision) => ({
        name: precision,
        options: base,
        precision,
      }));
  }
}

function refuseChoose({ answer }: EvaluateOptions, name: StudyName): void {
  if (answer !== 'choose') return;
  throw invalidArgument(
    `the study ${name} is of answers that are written; choose takes one pass and no length`,
  );
}

async function loaded(
  load: MaskPredict | ((precision: Precision) => Promise<MaskPredict>),
  precision: Precision,
  name: StudyName,
): Promise<MaskPredict> {
  if (typeof load === 'function') return load(precision);
  if (name !== 'precision') return load;
  throw invalidArgument('the study precision loads models itself: give a function that loads one');
}

/** Closes what was loaded for the study alone. */
async function closeLoaded(model: MaskPredict | undefined, load: unknown): Promise<void> {
  if (typeof load === 'function') await model?.close();
}

function folderOf(setting: string): string {
  return setting.replace(/[^\w.]+/g, '-').replace(/^-|-$/g, '');
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Milliseconds an answer, as many are asked at a time. */
function perAnswer({ milliseconds, cells }: Evaluation): number {
  return milliseconds! / cells.reduce((sum, { examples }) => sum + examples, 0);
}

function overCells({ cells }: Evaluation, value: (cell: Evaluation['cells'][number]) => number) {
  const examples = cells.reduce((sum, cell) => sum + cell.examples, 0);
  return cells.reduce((sum, cell) => sum + cell.examples * value(cell), 0) / examples;
}

function presented(
  name: StudyName,
  title: string,
  rows: readonly StudyRow[],
): Pick<Study, 'markdown' | 'charts'> {
  const measures = rows[0]!.evaluation.task.measures;
  const main = measures[0]!;
  const scoreOf = ({ evaluation }: StudyRow) => evaluation.means[main]!.all.mean;
  const cells = rows.map((row) => [
    row.setting,
    ...measures.map((measure) => printed(measure, row.evaluation.means[measure]!.all.mean)),
    printed(main, row.evaluation.means[main]!.all.range),
    overCells(row.evaluation, (cell) => cell.lengthAccuracy!).toFixed(4),
    overCells(row.evaluation, (cell) => cell.passes!).toFixed(2),
    perAnswer(row.evaluation).toFixed(2),
  ]);
  const head = [
    name,
    ...measures.map((measure) => measureOf(measure).title),
    '± prompts',
    'right lengths',
    'passes',
    'ms an answer',
  ];
  const text = [`# ${title}: ${name}`, table(head, cells), ...conclusions(name, rows, scoreOf)];
  const charts = chartsOf(name, title, rows, scoreOf);
  return { markdown: `${text.join('\n\n')}\n`, charts };
}

function conclusions(
  name: StudyName,
  rows: readonly StudyRow[],
  scoreOf: (row: StudyRow) => number,
): string[] {
  if (name !== 'length') return [];
  const [predicted, gold] = rows as [StudyRow, StudyRow];
  const main = predicted.evaluation.task.measures[0]!;
  const accuracy = overCells(predicted.evaluation, (cell) => cell.lengthAccuracy!);
  const gap = scoreOf(gold) - scoreOf(predicted);
  return [
    `The length is right for ${(100 * accuracy).toFixed(2)} % of the answers; the gap, the score with gold length less that with ` +
      `predicted length, is ${printed(main, gap)} (${measureOf(main).title}).`,
  ];
}

function chartsOf(
  name: StudyName,
  title: string,
  rows: readonly StudyRow[],
  scoreOf: (row: StudyRow) => number,
): Record<string, string> {
  const { task, model } = rows[0]!.evaluation;
  const y = { label: measureOf(task.measures[0]!).title };
  const subtitle = `${model!.name}, ${model!.precision}`;
  if (name === 'prompts') return { 'prompts.svg': promptsChart(rows[0]!.evaluation) };
  if (name === 'iterations') {
    const plain = rows.filter((row) => !endsEarly(row));
    const early = rows.filter(endsEarly);
    const along = (x: (row: StudyRow) => number): Line[] => [
      { name: 'T passes', points: plain.map((row) => [x(row), scoreOf(row)] as const) },
      ...early.map((row) => ({
        name: shortRule(row),
        points: [[x(row), scoreOf(row)] as const],
        joined: false,
      })),
    ];
    const chart = (what: string, label: string, x: (row: StudyRow) => number) =>
      lineChart({
        title: `${title}: ${what}`,
        subtitle,
        x: { label, from: 0 },
        y,
        lines: along(x),
      });
    const passes = (row: StudyRow) =>
      endsEarly(row)
        ? overCells(row.evaluation, (cell) => cell.passes!)
        : row.evaluation.settings.iterations;
    return {
      'iterations.svg': chart('iterations', 'T; of rules that end early their mean passes', passes),
      'milliseconds.svg': chart('iterations and time', 'milliseconds an answer', ({ evaluation }) =>
        perAnswer(evaluation),
      ),
    };
  }
  const ticks = rows.map(({ setting }, i) => ({ at: i, text: setting }));
  const groups = [...new Set(rows[0]!.evaluation.cells.map(({ group }) => group))];
  const main = task.measures[0]!;
  const ofGroup = ({ evaluation }: StudyRow, group: string) =>
    mean(
      evaluation.cells.filter((cell) => cell.group === group).map(({ scores }) => scores[main]!),
    );
  const lines: Line[] =
    groups.length > 1 && groups.length <= 6
      ? groups.map((group) => ({
          name: group,
          points: rows.map((row, i) => [i, ofGroup(row, group)] as const),
        }))
      : [{ name: 'mean', points: rows.map((row, i) => [i, scoreOf(row)] as const) }];
  return {
    [`${name}.svg`]: lineChart({
      title: `${title}: ${name}`,
      subtitle,
      x: { label: name, ticks },
      y,
      lines,
    }),
  };
}

function endsEarly({ evaluation }: StudyRow): boolean {
  return evaluation.settings.stop !== null || evaluation.settings.remask !== null;
}

/** For a legend. */
function shortRule({ evaluation }: StudyRow): string {
  const { stop, remask } = evaluation.settings;
  if (remask !== null) return `remask < ${remask.below}`;
  return typeof stop === 'string' ? stop : `stop at ${stop!.confidence}`;
}

async function keep(directory: string, { name, rows, markdown, charts }: Study): Promise<void> {
  await mkdir(directory, { recursive: true });
  const images = Object.keys(charts).map((file) => `![${file}](${file})`);
  const text = [markdown.trimEnd(), ...images].join('\n\n');
  await writeFile(join(directory, 'study.md'), `${text}\n`);
  await writeFile(join(directory, 'study.json'), `${JSON.stringify({ name, rows }, null, 2)}\n`);
  for (const [file, svg] of Object.entries(charts)) await writeFile(join(directory, file), svg);
}
