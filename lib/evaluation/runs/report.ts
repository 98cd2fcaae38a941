/** A report as Markdown: everything that one needs to run the same evaluation again, then the scores. */
import type { DataFile, HashedFile } from '../tasks/examples.js';
import type { EvaluationCell, MeanScore } from './cells.js';
import type { Evaluation } from './evaluate.js';
import { measureOf, printed, type Measure } from './measures.js';
import type { EvaluationLength } from './plans.js';

/** The text of `report.md`. */
export function markdownOf(evaluation: Evaluation): string {
  const { task } = evaluation;
  const parts = [
    `# ${task.title}`,
    meansTable(evaluation),
    ...task.measures.map((measure) => cellsTable(evaluation, measure)),
    lengthsTable(evaluation),
    '## How',
    list(how(evaluation)),
    '## Prompts',
    list(promptLines(evaluation)),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** @internal */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

const list = (lines: readonly string[]) => lines.map((line) => `- ${line}`).join('\n');

function meansTable({ means, task }: Evaluation): string {
  const rows = task.measures.flatMap((measure) => {
    const { all, heldIn, heldOut } = means[measure]!;
    const row = (name: string, score: MeanScore | null) =>
      score ? [[name, printed(measure, score.mean), printed(measure, score.range)]] : [];
    const { title } = measureOf(measure);
    return [
      ...row(title, all),
      ...(heldOut ? row(`${title}, languages of xP3`, heldIn) : []),
      ...row(`${title}, languages not in xP3`, heldOut),
    ];
  });
  return table(['', 'mean over prompts', '± furthest prompt'], rows);
}

function cellsTable({ cells, prompts }: Evaluation, measure: Measure): string {
  const groups = [...new Set(cells.map(({ group }) => group))];
  const rows = prompts.map(({ name, way }) => {
    const own = cells.filter((cell) => cell.prompt === name && cell.way === way);
    const scores = groups.map((group) => own.find((cell) => cell.group === group)?.scores[measure]);
    const there = scores.filter((score) => score !== undefined);
    const mean = there.reduce((sum, score) => sum + score, 0) / there.length;
    return [
      `${name} (${way})`,
      ...scores.map((score) => (score === undefined ? '' : printed(measure, score))),
      printed(measure, mean),
    ];
  });
  const counts = groups.map((group) => cells.find((cell) => cell.group === group)!.examples);
  return [
    `## ${measureOf(measure).title}`,
    table(['prompt', ...groups, 'mean'], [['examples', ...counts.map(String), ''], ...rows]),
  ].join('\n\n');
}

function lengthsTable({ cells, prompts }: Evaluation): string {
  const rows = prompts.flatMap(({ name, way }) => {
    const own = cells.filter((cell) => cell.prompt === name && cell.way === way);
    if (own.some(({ meanLength }) => meanLength === null)) return [];
    const examples = own.reduce((sum, cell) => sum + cell.examples, 0);
    const over = (value: (cell: EvaluationCell) => number) =>
      own.reduce((sum, cell) => sum + cell.examples * value(cell), 0) / examples;
    return [
      [
        `${name} (${way})`,
        over((cell) => cell.lengthAccuracy!).toFixed(4),
        over((cell) => cell.meanLength!).toFixed(2),
        over((cell) => cell.meanGoldLength!).toFixed(2),
        over((cell) => cell.passes!).toFixed(2),
      ],
    ];
  });
  if (rows.length === 0) return '';
  const head = ['prompt', 'right lengths', 'mean length', 'gold', 'passes'];
  return `## Lengths in tokens, over all examples\n\n${table(head, rows)}`;
}

function how({
  model,
  predictions,
  prompts,
  data,
  shotData,
  settings,
  signatures,
  machine,
  cells,
  milliseconds,
}: Evaluation): string[] {
  const { answer, iterations, length, shots, limit, seed } = settings;
  const rule = ruleText(settings);
  const truncated = cells.reduce((sum, cell) => sum + cell.truncated, 0);
  const answers = cells.reduce((sum, cell) => sum + cell.examples, 0);
  return [
    model
      ? `model ${model.name} (${model.type}, ${model.parameters.toLocaleString('en-US')} parameters), ${model.precision}`
      : `answers of another system, ${fileText(predictions!)}`,
    ...(answer === 'choose'
      ? ['where labels have as many tokens, the most probable one is chosen, in one pass']
      : []),
    ...(prompts.some(({ way }) => way !== 'chosen' && way !== 'given')
      ? [
          `answers are written with T = ${iterations}${rule === '' ? '' : `, ${rule}`}, and right if they equal a right one ` +
            'after white space at their ends and a last period or colon are taken away',
          length === null
            ? 'lengths: that of the labels where all have as many tokens, else predicted (section 5.1)'
            : `length: ${lengthText(length)}`,
        ]
      : []),
    ...(shots > 0
      ? [`${shots} examples with answers before each question, drawn by the seed`]
      : []),
    ...(limit === null ? [] : [`at most ${limit} examples of each group, drawn by the seed`]),
    ...(shots > 0 || limit !== null ? [`seed ${seed}`] : []),
    ...data.map((file) => `data ${dataText(file)}`),
    ...(shotData ?? []).map((file) => `examples before questions from ${dataText(file)}`),
    ...Object.entries(signatures).map(
      ([measure, signature]) => `${measureOf(measure as Measure).title}: ${signature}`,
    ),
    ...(truncated > 0 ? [`${truncated} instructions were cut to what the model reads`] : []),
    ...(milliseconds === null
      ? []
      : [
          `${(milliseconds / 1000).toFixed(1)} s, ${(milliseconds / answers).toFixed(2)} ms an answer`,
        ]),
    `${machine.device === null ? '' : `${machine.device}, `}${machine.processor}, ${machine.processors} processors, ` +
      `${machine.gigabytes} GiB, Node.js ${machine.node}, mask-predict ${machine.version}`,
  ];
}

function dataText({ examples, leftOut, references = [], ...file }: DataFile): string {
  return [
    `${fileText(file)}: ${examples} examples`,
    ...(leftOut > 0 ? [`${leftOut} rows without a question`] : []),
    ...references.map((one) => `answers from ${fileText(one)}`),
  ].join(', ');
}

function fileText({ file, sha256 }: HashedFile): string {
  return `${file} (SHA-256 ${sha256})`;
}

/** The rule that ends an answer before its last pass, in words; empty without one. @internal */
export function ruleText({
  stop,
  remask,
}: Pick<Evaluation['settings'], 'stop' | 'remask'>): string {
  return [
    ...(stop === null
      ? []
      : stop === 'unchanged'
        ? ['stopping when nothing changes']
        : [`stopping when all tokens have a probability of ${stop.confidence}`]),
    ...(remask === null ? [] : [`masking again only tokens below ${remask.below}`]),
  ].join(', ');
}

function promptLines({ prompts, task }: Evaluation): string[] {
  const from =
    task.promptsFrom === 'paper'
      ? 'from the paper, Table 7, word for word'
      : 'not from the paper, which prints none for this task, or given for this run';
  return [
    from,
    ...prompts.map(({ name, way, template, answer, notes, counts }) => {
      const all = [...notes, ...(counts ? [] : ['not in the means'])];
      return `${name} (${way}): \`${template}\` → \`${answer}\`${all.length > 0 ? `; ${all.join('; ')}` : ''}`;
    }),
  ];
}

function lengthText(length: EvaluationLength): string {
  if (typeof length !== 'object') return String(length);
  const { candidates, weight } = length;
  const counted =
    weight === undefined ? '' : `, the length's log-probability counted ${weight} times`;
  return `the best of ${candidates} candidates${counted}`;
}
