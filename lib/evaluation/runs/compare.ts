/** Two evaluations of the same questions: is one better, or is it chance? By the paired bootstrap. */
import { invalidArgument } from '../../errors.js';
import { checkOptions, integerOption } from '../../options.js';
import { bootstrap, type BootstrapResult, type SystemScores } from '../bootstrap.js';
import { groupedBy } from '../grouped.js';
import type { AnswerRecord } from './answer-log.js';
import { readEvaluation, type Evaluation } from './evaluate.js';
import { measureOf, printed, type Measure } from './measures.js';
import { table } from './report.js';

export interface CompareOptions {
  /** Test sets drawn. Default 1000. */
  samples?: number;
  /** Default 0. */
  seed?: number;
}

/** One prompt and group of both, or, for measures that are means over answers, all of them together. */
export interface ComparedScores {
  /** Null: the mean over prompts, of each example. */
  prompt: string | null;
  group: string | null;
  measure: Measure;
  examples: number;
  first: BootstrapResult;
  /** With its `difference` from the first. */
  second: BootstrapResult;
}

export interface Comparison {
  /** Settings that are not the same, for whoever reads the difference. */
  unlike: string[];
  scores: ComparedScores[];
  /** A table in Markdown. */
  markdown: string;
}

/**
 * Compares the evaluations in two directories, of the same task, data and prompts. A prompt that was asked in several ways
 * is compared by the one that counts.
 */
export async function compareEvaluations(
  first: string,
  second: string,
  options: CompareOptions = {},
): Promise<Comparison> {
  checkOptions('compareEvaluations()', options, ['samples', 'seed']);
  const drawing = {
    samples: integerOption('samples', options.samples, 1000, 1, 1_000_000),
    seed: integerOption('seed', options.seed, 0, 0, Number.MAX_SAFE_INTEGER),
  };
  const pair = await Promise.all([readEvaluation(first), readEvaluation(second)]);
  const [a, b] = pair.map(({ evaluation }) => evaluation) as [Evaluation, Evaluation];
  checkAlike(a, b);
  const [left, right] = pair.map(({ evaluation, records }) => counted(evaluation, records)) as [
    Map<string, AnswerRecord>,
    Map<string, AnswerRecord>,
  ];
  const keys = [...left.keys()].filter((key) => right.has(key)).sort();
  if (keys.length === 0) throw invalidArgument('the evaluations have no question in common');
  const questions = keys.map((key) => [left.get(key)!, right.get(key)!] as const);
  const scores = a.task.measures.flatMap((measure) => compared(measure, questions, drawing));
  const unlike = unlikeSettings(a, b);
  if (keys.length < Math.max(left.size, right.size)) {
    unlike.push(`${keys.length} questions that both answered`);
  }
  return { unlike, scores, markdown: markdownOf(first, second, unlike, scores) };
}

function checkAlike(a: Evaluation, b: Evaluation): void {
  if (a.task.name !== b.task.name) {
    throw invalidArgument(
      `the evaluations are of different tasks: ${a.task.title} and ${b.task.title}`,
    );
  }
  const hashes = ({ data }: Evaluation) =>
    data
      .flatMap(({ sha256, references = [] }) => [sha256, ...references.map((one) => one.sha256)])
      .join();
  if (hashes(a) !== hashes(b)) throw invalidArgument('the evaluations are of different data');
}

/** By prompt and example, of the ways that count. */
function counted(
  { prompts }: Evaluation,
  records: readonly AnswerRecord[],
): Map<string, AnswerRecord> {
  const counts = (record: AnswerRecord) =>
    prompts.some(({ name, way, counts }) => counts && name === record.prompt && way === record.way);
  return new Map(
    records
      .filter(counts)
      .map((record) => [JSON.stringify([record.prompt, record.group, record.id]), record]),
  );
}

type Question = readonly [AnswerRecord, AnswerRecord];

function compared(
  measure: Measure,
  questions: readonly Question[],
  drawing: { samples: number; seed: number },
): ComparedScores[] {
  const { statistics } = measureOf(measure);
  if (!statistics) return [];
  const parts = groupedBy(questions, ([{ prompt, group }]) => JSON.stringify([prompt, group]));
  const scores = [...parts.values()].map((part): ComparedScores => {
    const [{ prompt, group }] = part[0]!;
    const systems = [0, 1].map((i) =>
      statistics(
        part.map((question) => question[i]!),
        group,
      ),
    );
    const [first, second] = drawnScores(systems, drawing);
    return { prompt, group, measure, examples: part.length, first, second };
  });
  return scores.length > 1 ? [...scores, ...together(measure, questions, drawing)] : scores;
}

/** Two systems that score alike on every drawn test set differ by chance: p is 1 there, where the formula gives 1 / (1 + samples). */
function drawnScores(
  systems: readonly SystemScores[],
  drawing: { samples: number; seed: number },
): [BootstrapResult, BootstrapResult] {
  const [first, second] = bootstrap(systems, drawing) as [BootstrapResult, BootstrapResult];
  const difference = second.difference!;
  const alike = difference.score === 0 && difference.interval.low === difference.interval.high;
  return [first, alike ? { ...second, difference: { ...difference, pValue: 1 } } : second];
}

/** Each example's mean over prompts: the examples are drawn, each with all its prompts. */
function together(
  measure: Measure,
  questions: readonly Question[],
  drawing: { samples: number; seed: number },
): ComparedScores[] {
  const each = [0, 1].map((i) =>
    measureOf(measure).statistics!(
      questions.map((question) => question[i]!),
      '',
    ),
  );
  if (!each.every((system) => Array.isArray(system))) return [];
  const examples = groupedBy(
    questions.map((_, index) => index),
    (index) => questions[index]![0].id,
  );
  const systems = (each as number[][]).map((values) =>
    [...examples.values()].map(
      (own) => own.reduce((sum, index) => sum + values[index]!, 0) / own.length,
    ),
  );
  const [first, second] = drawnScores(systems, drawing);
  return [
    {
      prompt: null,
      group: null,
      measure,
      examples: examples.size,
      first,
      second,
    },
  ];
}

function unlikeSettings(a: Evaluation, b: Evaluation): string[] {
  const entries = ({ model, settings, prompts, machine }: Evaluation) => ({
    model: model?.name ?? 'answers of another system',
    precision: model?.precision ?? null,
    ...settings,
    prompts: prompts.map(({ template }) => template),
    device: machine.device,
  });
  const [left, right] = [entries(a), entries(b)] as Record<string, unknown>[];
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  return Object.keys(left!)
    .filter((name) => text(left![name]) !== text(right![name]))
    .map((name) =>
      name === 'prompts' ? name : `${name} (${text(left![name])}, ${text(right![name])})`,
    );
}

function markdownOf(
  first: string,
  second: string,
  unlike: readonly string[],
  scores: readonly ComparedScores[],
): string {
  const rows = scores.map(({ prompt, group, measure, examples, first, second }) => {
    const { score, interval, pValue } = second.difference!;
    const show = (value: number) => printed(measure, value);
    return [
      `${measureOf(measure).title}, ${prompt === null ? 'all' : `prompt ${prompt}, ${group}`}`,
      String(examples),
      show(first.score),
      show(second.score),
      show(score),
      `${show(interval.low)} … ${show(interval.high)}`,
      pValue.toFixed(4),
    ];
  });
  const head = ['', 'examples', 'A', 'B', 'B − A', '95 %', 'p'];
  const lines = [
    `A: ${first}`,
    `B: ${second}`,
    `They differ in: ${unlike.length === 0 ? 'nothing that a report has' : unlike.join('; ')}`,
  ];
  return `${lines.map((line) => `- ${line}`).join('\n')}\n\n${table(head, rows)}\n`;
}
