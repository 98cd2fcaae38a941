/** The measures a task may be judged by, each one number over answers and their right ones. */
import { accuracy } from '../accuracy.js';
import { bleu, bleuStatistics, type BleuOptions } from '../bleu.js';
import type { SystemScores } from '../bootstrap.js';
import { chrf, chrfStatistics } from '../chrf.js';
import { distinct } from '../distinct.js';
import { rouge, type RougeScores } from '../rouge.js';

/**
 * `accuracy`, `rouge1`, `rouge2`, `rougeL` and `distinct2` are 0 … 1, `bleu`, `bleu2` and `chrf` 0 … 100. `bleu2` is BLEU of
 * words and pairs (`order: 2`). An answer is right if it equals one of several right ones.
 */
export type Measure =
  'accuracy' | 'bleu' | 'bleu2' | 'chrf' | 'rouge1' | 'rouge2' | 'rougeL' | 'distinct2';

/** @internal */
export interface Judged {
  answer: string;
  gold: readonly string[];
}

interface Definition {
  title: string;
  /** The score of a whole list of answers. */
  score(judged: readonly Judged[], group: string): number;
  /** The input of bootstrap(); undefined for a measure that is no function of sums over answers. */
  statistics?(judged: readonly Judged[], group: string): SystemScores;
  signature?(judged: readonly Judged[], group: string): string;
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** One list per reference set, `null` where an answer has fewer right ones. */
function referencesOf(judged: readonly Judged[]): (string | null)[][] {
  const most = Math.max(...judged.map(({ gold }) => gold.length));
  return Array.from({ length: most }, (_, set) => judged.map(({ gold }) => gold[set] ?? null));
}

const textsOf = (judged: readonly Judged[]) => judged.map(({ answer }) => answer);

/** 1 for each answer that equals one of its right ones, after normalising. @internal */
export function rightOnes(judged: readonly Judged[]): number[] {
  return judged.map(({ answer, gold }) =>
    Number(gold.some((one) => accuracy([answer], [one]).correct === 1)),
  );
}

/** Chinese, Japanese and Thai are not written with spaces: their n-grams are of characters. */
function bleuOptions(group: string, order?: number): BleuOptions {
  const language = group.split('-').at(-1)!;
  const characters = ['zh', 'ja', 'jp', 'th'].includes(language);
  return { ...(characters && { tokenize: 'char' }), ...(order !== undefined && { order }) };
}

function ofBleu(title: string, order?: number): Definition {
  return {
    title,
    score: (judged, group) =>
      bleu(textsOf(judged), referencesOf(judged), bleuOptions(group, order)).score,
    statistics: (judged, group) =>
      bleuStatistics(textsOf(judged), referencesOf(judged), bleuOptions(group, order)),
    signature: (judged, group) =>
      bleu(textsOf(judged), referencesOf(judged), bleuOptions(group, order)).signature,
  };
}

function ofRouge(title: string, name: keyof RougeScores): Definition {
  const each = (judged: readonly Judged[]) =>
    rouge(textsOf(judged), referencesOf(judged)).sentences.map((one) => one[name].fmeasure);
  return {
    title,
    score: (judged) => mean(each(judged)),
    statistics: each,
    signature: (judged) => rouge(textsOf(judged), referencesOf(judged)).signature,
  };
}

const definitions: Record<Measure, Definition> = {
  accuracy: {
    title: 'accuracy',
    score: (judged) => mean(rightOnes(judged)),
    statistics: rightOnes,
  },
  bleu: ofBleu('BLEU'),
  bleu2: ofBleu('BLEU-2', 2),
  chrf: {
    title: 'chrF2',
    score: (judged) => chrf(textsOf(judged), referencesOf(judged)).score,
    statistics: (judged) => chrfStatistics(textsOf(judged), referencesOf(judged)),
    signature: (judged) => chrf(textsOf(judged), referencesOf(judged)).signature,
  },
  rouge1: ofRouge('ROUGE-1', 'rouge1'),
  rouge2: ofRouge('ROUGE-2', 'rouge2'),
  rougeL: ofRouge('ROUGE-L', 'rougeL'),
  distinct2: {
    title: 'Distinct-2',
    score: (judged) => distinct(textsOf(judged), 2).score,
    signature: () => 'distinct pairs by all pairs',
  },
};

/** @internal */
export const measureNames = Object.keys(definitions) as Measure[];

/** @internal */
export function measureOf(name: Measure): Definition {
  return definitions[name];
}

/** As it is printed: shares with four digits, scores to 100 with two. @internal */
export function printed(name: Measure, value: number): string {
  const toHundred = name === 'bleu' || name === 'bleu2' || name === 'chrf';
  return value.toFixed(toHundred ? 2 : 4);
}
