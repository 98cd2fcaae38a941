/** BLEU (Papineni et al., 2002) with the tokenizers and smoothings of sacreBLEU (Post, 2018), number for number. */
import { invalidArgument, shown } from '../errors.js';
import { booleanOption, checkOptions, integerOption } from '../options.js';
import { bleuTokenizers, type BleuTokenizer } from './bleu-tokenizers.js';
import { choiceOption, numberOption } from './choices.js';
import { readCorpus, type Corpus, type References } from './corpus.js';
import { commonNGrams, countNGrams, numberNGrams, type Level } from './n-grams.js';
import { SentenceStatistics } from './sentence-statistics.js';
import { signature, yesOrNo } from './signature.js';
import { trimEnd } from './white-space.js';

/** A way to treat an order that has n-grams but no right one (Chen and Cherry, 2014); see {@link BleuOptions.smooth}. */
export type BleuSmoothing = 'exp' | 'floor' | 'add-k' | 'none';

export interface BleuOptions {
  /** Default `'13a'`. */
  tokenize?: BleuTokenizer;
  /**
   * Default `'exp'`: the first such order counts half a right n-gram, the next a quarter, and so on. `'floor'` counts
   * `smoothValue` of them. `'add-k'` adds `smoothValue` to the right and to all n-grams of each order above 1. `'none'`
   * leaves the precision at 0, and so the score.
   */
  smooth?: BleuSmoothing;
  /** For `'floor'` (default 0.1) and `'add-k'` (default 1): 0 or more. A floor above 1 can give more than 100. */
  smoothValue?: number;
  /** Compares in lower case. Default false. */
  lowercase?: boolean;
  /**
   * Averages over the orders the hypotheses are long enough for; meant for single sentences. Default false: a corpus
   * without any n-gram of the highest order scores 0.
   */
  effectiveOrder?: boolean;
  /**
   * The highest order of n-grams, 1 … 16. Default 4. With 2 it is BLEU-2 and the signature says `order:2`. Others mean
   * other things by that name: NLTK's `corpus_bleu` with the weights (0.5, 0.5) is `{ order: 2, tokenize: 'none', smooth:
   * 'none' }`, but that it counts a wrong pair for a hypothesis without any; the precision of pairs alone is
   * `brevityPenalty * precisions[1]`.
   */
  order?: number;
}

export interface BleuScore {
  /** 0 … 100. */
  score: number;
  /** The precision of each order, smoothed, 0 … 100; 0 for all where no n-gram is right. */
  precisions: number[];
  /** 0 … 1: exp(1 - referenceLength / hypothesisLength) if the hypotheses are shorter. */
  brevityPenalty: number;
  /** Tokens of all hypotheses. */
  hypothesisLength: number;
  /** Tokens of the references, of each hypothesis the one closest in length; the shorter of two that are as close. */
  referenceLength: number;
  /** How it was computed: `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:mask-predict-…`. */
  signature: string;
}

type Settings = Required<Omit<BleuOptions, 'smoothValue'>> & { smoothValue: number };

/**
 * BLEU of a corpus: the same number that sacreBLEU prints.
 *
 * `references`: one list per reference set, with a text (or `null`) for every hypothesis: `[['…', '…']]` for one set. The
 * order of the sets does not matter. Throws `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function bleu(
  hypotheses: readonly string[],
  references: References,
  options: BleuOptions = {},
): BleuScore {
  const settings = readOptions('bleu()', options);
  const corpus = readCorpus(hypotheses, references);
  const sum = statisticsOf(corpus, settings).sum();
  return { ...scoreOf(sum, settings), signature: signatureOf(corpus, settings) };
}

/** The numbers that {@link bleu} sums over the sentences: for `bootstrap()`. Arguments and errors are the same. */
export function bleuStatistics(
  hypotheses: readonly string[],
  references: References,
  options: BleuOptions = {},
): SentenceStatistics {
  const settings = readOptions('bleuStatistics()', options);
  return statisticsOf(readCorpus(hypotheses, references), settings);
}

const smoothValues: Readonly<Record<BleuSmoothing, number>> = {
  exp: 0,
  floor: 0.1,
  'add-k': 1,
  none: 0,
};

function readOptions(call: string, options: BleuOptions): Settings {
  const names = ['tokenize', 'smooth', 'smoothValue', 'lowercase', 'effectiveOrder', 'order'];
  checkOptions(call, options, names);
  const smooth = choiceOption<BleuSmoothing>(
    'smooth',
    options.smooth,
    'exp',
    Object.keys(smoothValues),
  );
  if (options.smoothValue !== undefined && smooth !== 'floor' && smooth !== 'add-k') {
    throw invalidArgument(
      `smoothValue is for smooth 'floor' and 'add-k'; ${shown(smooth)} has no value`,
    );
  }
  return {
    tokenize: choiceOption<BleuTokenizer>(
      'tokenize',
      options.tokenize,
      '13a',
      Object.keys(bleuTokenizers),
    ),
    smooth,
    smoothValue: numberOption('smoothValue', options.smoothValue, smoothValues[smooth], 0, 1e6),
    lowercase: booleanOption('lowercase', options.lowercase, false),
    effectiveOrder: booleanOption('effectiveOrder', options.effectiveOrder, false),
    order: integerOption('order', options.order, 4, 1, 16),
  };
}

function signatureOf({ referenceCount }: Corpus, settings: Settings): string {
  const { smooth, smoothValue, order } = settings;
  const valued = smooth === 'floor' || smooth === 'add-k';
  return signature({
    nrefs: referenceCount,
    case: settings.lowercase ? 'lc' : 'mixed',
    eff: yesOrNo(settings.effectiveOrder),
    tok: settings.tokenize,
    smooth: valued ? `${smooth}[${smoothValue.toFixed(2)}]` : smooth,
    order: order === 4 ? undefined : order,
  });
}

/** For each sentence: hypothesis length, reference length, right n-grams of each order, all n-grams of each order. */
function statisticsOf(corpus: Corpus, settings: Settings): SentenceStatistics {
  const tokenize = bleuTokenizers[settings.tokenize];
  const tokensOf = (text: string) =>
    tokenize(trimEnd(settings.lowercase ? text.toLowerCase() : text));
  const rows = corpus.hypotheses.map((hypothesis, i) =>
    sentenceRow(tokensOf(hypothesis), corpus.references[i]!.map(tokensOf), settings.order),
  );
  return new SentenceStatistics(rows, (sum) => scoreOf(sum, settings).score);
}

function sentenceRow(hypothesis: string[], references: string[][], order: number): number[] {
  const levels = numberNGrams([hypothesis, ...references], order);
  return [
    hypothesis.length,
    closestLength(hypothesis.length, references),
    ...levels.map(rightNGrams),
    ...levels.map(({ sequences }) => sequences[0]!.length),
  ];
}

/** N-grams of the first sequence that another one has too: each at most as often as in the one that has it most often. */
function rightNGrams(level: Level): number {
  const most = new Int32Array(level.size);
  for (let s = 1; s < level.sequences.length; s++) {
    countNGrams(level, s).forEach((count, ngram) => {
      if (count > most[ngram]!) most[ngram] = count;
    });
  }
  return commonNGrams(countNGrams(level, 0), most);
}

function closestLength(length: number, references: readonly string[][]): number {
  return references
    .map((reference) => reference.length)
    .reduce((best, other) => {
      const nearer = Math.abs(other - length) - Math.abs(best - length);
      return nearer < 0 || (nearer === 0 && other < best) ? other : best;
    });
}

function scoreOf(sum: Float64Array, settings: Settings): Omit<BleuScore, 'signature'> {
  const [hypothesisLength, referenceLength] = sum as unknown as [number, number];
  const { order } = settings;
  const right = [...sum.subarray(2, 2 + order)];
  const { precisions, orders } = smoothedPrecisions(right, sum.subarray(2 + order), settings);
  const brevityPenalty = brevityPenaltyOf(hypothesisLength, referenceLength);
  const score = right.every((count) => count === 0)
    ? 0
    : 100 * brevityPenalty * geometricMean(precisions.slice(0, orders).map((one) => one / 100));
  return { score, precisions, brevityPenalty, hypothesisLength, referenceLength };
}

function brevityPenaltyOf(hypothesisLength: number, referenceLength: number): number {
  if (hypothesisLength >= referenceLength) return 1;
  return hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0;
}

/**
 * The geometric mean of values up to 1. Percentages would not do: the mean of ones is exactly 1, but exp(log(100)) is a
 * little more than 100.
 */
function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** The precisions, and over how many orders to average: those behind an order without n-grams stay 0. */
function smoothedPrecisions(
  right: readonly number[],
  all: Float64Array,
  { order, smooth, smoothValue, effectiveOrder }: Settings,
): { precisions: number[]; orders: number } {
  const precisions = new Array<number>(order).fill(0);
  let orders = order;
  if (right.every((count) => count === 0)) return { precisions, orders };
  let share = 1;
  for (let n = 0; n < order; n++) {
    const added = smooth === 'add-k' && n > 0 ? smoothValue : 0;
    const total = all[n]! + added;
    if (total === 0) break;
    if (effectiveOrder) orders = n + 1;
    let counted = right[n]! + added;
    if (counted === 0 && smooth === 'exp') counted = share /= 2;
    if (counted === 0 && smooth === 'floor') counted = smoothValue;
    precisions[n] = (100 * counted) / total;
  }
  return { precisions, orders };
}
