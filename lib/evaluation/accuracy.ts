/** Accuracy by generating and comparing: the answer is right if it is the label, letter for letter. */
import { invalidArgument, shown } from '../errors.js';
import { booleanOption, checkOptions } from '../options.js';
import { checkArray } from './corpus.js';

export interface AccuracyOptions {
  /**
   * Default true: white space at both ends of a text and a period or colon at its end are left out, of answers and labels
   * alike, since `C:` and `C.` are the answer `C` (section 6.3). False: texts are compared as they are.
   */
  normalize?: boolean;
}

export interface AccuracyScore {
  /** 0 … 1. */
  score: number;
  correct: number;
  total: number;
  /** For each answer 1 if it is right and 0 if not: for `bootstrap()`. */
  sentences: number[];
}

/**
 * The share of `answers` that equal the label at the same index: texts, or numbers such as predicted and true lengths.
 * Throws `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function accuracy<T extends string | number>(
  answers: readonly T[],
  labels: readonly T[],
  options: AccuracyOptions = {},
): AccuracyScore {
  checkOptions('accuracy()', options, ['normalize']);
  const normalize = booleanOption('normalize', options.normalize, true);
  checkValues('answers', answers);
  checkValues('labels', labels);
  if (answers.length === 0) throw invalidArgument('answers must hold at least one answer');
  if (labels.length !== answers.length) {
    throw invalidArgument(
      `labels must hold one for each of the ${answers.length} answers, not ${labels.length}`,
    );
  }
  const compared = (value: T) => (normalize && typeof value === 'string' ? bare(value) : value);
  const sentences = answers.map((answer, i) => Number(compared(answer) === compared(labels[i]!)));
  const correct = sentences.reduce((sum, right) => sum + right, 0);
  return { score: correct / answers.length, correct, total: answers.length, sentences };
}

function bare(text: string): string {
  const trimmed = text.trim();
  const unmarked = trimmed.replace(/[.:]$/, '').trimEnd();
  return unmarked === '' ? trimmed : unmarked;
}

function checkValues(name: string, value: unknown): void {
  checkArray(name, value, 'texts or numbers');
  for (let i = 0; i < value.length; i++) {
    const entry = value[i];
    if (typeof entry !== 'string' && !Number.isFinite(entry)) {
      throw invalidArgument(`${name}[${i}] must be a string or a number, not ${shown(entry)}`);
    }
  }
}
