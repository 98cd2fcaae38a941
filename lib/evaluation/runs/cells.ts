/**
 * The scores of a run's answers: a cell for each prompt, way and group, and the paper's means over them. Section 4.2 reports
 * the mean over five prompts; of a prompt it is the mean over languages, and the ± of its tables 12 to 14 is the largest
 * distance of a prompt from that mean.
 */
import type { AnswerRecord } from './answer-log.js';
import { groupedBy } from '../grouped.js';
import { measureOf, type Measure } from './measures.js';

/** The scores of a prompt asked in one way on one group. */
export interface EvaluationCell {
  prompt: string;
  way: string;
  group: string;
  examples: number;
  /** By measure. */
  scores: Partial<Record<Measure, number>>;
  /** Share of answers with as many tokens as the right one, 0 … 1; null where answers were given. */
  lengthAccuracy: number | null;
  /** Mean tokens of answers and of right answers; null as above. */
  meanLength: number | null;
  meanGoldLength: number | null;
  /** Mean passes over an answer; null as above. */
  passes: number | null;
  /** Instructions that were cut. */
  truncated: number;
}

/** Over prompts, of the main measure and of any other. */
export interface MeanScore {
  /** The mean of the prompts' means over groups. */
  mean: number;
  /** The largest distance of a prompt's mean from it. */
  range: number;
  /** By the prompt's name. */
  prompts: Record<string, number>;
}

/** @internal */
export function cellsOf(
  records: readonly AnswerRecord[],
  measures: readonly Measure[],
): EvaluationCell[] {
  const parts = groupedBy(records, ({ prompt, way, group }) =>
    JSON.stringify([prompt, way, group]),
  );
  return [...parts.values()].map((part) => {
    const { prompt, way, group } = part[0]!;
    const asked = part.filter(({ length }) => length !== undefined);
    const over = (value: (record: AnswerRecord) => number) =>
      asked.length === 0 ? null : asked.reduce((sum, one) => sum + value(one), 0) / asked.length;
    return {
      prompt,
      way,
      group,
      examples: part.length,
      scores: Object.fromEntries(
        measures.map((measure) => [measure, measureOf(measure).score(part, group)]),
      ),
      lengthAccuracy: over(({ length, goldLength }) => Number(length === goldLength)),
      meanLength: over(({ length }) => length!),
      meanGoldLength: over(({ goldLength }) => goldLength!),
      passes: over(({ passes }) => passes!),
      truncated: part.filter(({ truncated }) => truncated).length,
    };
  });
}

/** The mean over the cells whose way counts; null if there are none. @internal */
export function meanOf(
  cells: readonly EvaluationCell[],
  value: (cell: EvaluationCell) => number,
): MeanScore | null {
  if (cells.length === 0) return null;
  const byPrompt = groupedBy(cells, ({ prompt }) => prompt);
  const prompts = Object.fromEntries(
    [...byPrompt].map(([prompt, own]) => [prompt, average(own.map(value))]),
  );
  const all = Object.values(prompts);
  const mean = average(all);
  return { mean, range: Math.max(...all.map((one) => Math.abs(one - mean))), prompts };
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
