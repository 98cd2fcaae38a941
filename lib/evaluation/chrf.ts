/** chrF and chrF++ (Popović, 2015 and 2017): F-scores of character and word n-grams, number for number as sacreBLEU. */
import { booleanOption, checkOptions, integerOption } from '../options.js';
import { numberOption } from './choices.js';
import { readCorpus, type Corpus, type References } from './corpus.js';
import { commonNGrams, countNGrams, numberNGrams, type Level } from './n-grams.js';
import { SentenceStatistics } from './sentence-statistics.js';
import { signature, yesOrNo } from './signature.js';
import { splitWords, visibleCodePoints } from './white-space.js';

export interface ChrfOptions {
  /** The highest order of character n-grams, 1 … 16. Default 6. */
  order?: number;
  /** The highest order of word n-grams, 0 … 16. Default 0: none. 2 is chrF++. */
  wordOrder?: number;
  /** How many times as much recall counts as precision, 0.001 … 1000. Default 2. */
  beta?: number;
  /** Compares in lower case. Default false. */
  lowercase?: boolean;
  /** Counts white space among the characters. Default false. */
  whitespace?: boolean;
  /**
   * Default true: precision and recall are averaged over the orders both sides have n-grams of, and F is of these
   * averages. False: F is averaged over all orders, an order without n-grams counts as (nearly) 0; as chrF++.py and NLTK.
   */
  effectiveOrder?: boolean;
}

export interface ChrfScore {
  /** 0 … 100. */
  score: number;
  /** How it was computed: `nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:mask-predict-…`; `beta` if it is not 2. */
  signature: string;
}

type Settings = Required<ChrfOptions>;

/**
 * chrF of a corpus: the same number that sacreBLEU prints.
 *
 * `references`: one list per reference set, with a text (or `null`) for every hypothesis: `[['…', '…']]` for one set. Of
 * several references of a hypothesis the one with the highest F counts; of two with the same F, the first. Throws
 * `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function chrf(
  hypotheses: readonly string[],
  references: References,
  options: ChrfOptions = {},
): ChrfScore {
  const settings = readOptions('chrf()', options);
  const corpus = readCorpus(hypotheses, references);
  const sum = statisticsOf(corpus, settings).sum();
  return { score: fScore(sum, settings), signature: signatureOf(corpus, settings) };
}

/** The numbers that {@link chrf} sums over the sentences: for `bootstrap()`. Arguments and errors are the same. */
export function chrfStatistics(
  hypotheses: readonly string[],
  references: References,
  options: ChrfOptions = {},
): SentenceStatistics {
  const settings = readOptions('chrfStatistics()', options);
  return statisticsOf(readCorpus(hypotheses, references), settings);
}

function readOptions(call: string, options: ChrfOptions): Settings {
  const names = ['order', 'wordOrder', 'beta', 'lowercase', 'whitespace', 'effectiveOrder'];
  checkOptions(call, options, names);
  return {
    order: integerOption('order', options.order, 6, 1, 16),
    wordOrder: integerOption('wordOrder', options.wordOrder, 0, 0, 16),
    beta: numberOption('beta', options.beta, 2, 0.001, 1000),
    lowercase: booleanOption('lowercase', options.lowercase, false),
    whitespace: booleanOption('whitespace', options.whitespace, false),
    effectiveOrder: booleanOption('effectiveOrder', options.effectiveOrder, true),
  };
}

function signatureOf({ referenceCount }: Corpus, settings: Settings): string {
  return signature({
    nrefs: referenceCount,
    case: settings.lowercase ? 'lc' : 'mixed',
    eff: yesOrNo(settings.effectiveOrder),
    nc: settings.order,
    nw: settings.wordOrder,
    space: yesOrNo(settings.whitespace),
    beta: settings.beta === 2 ? undefined : settings.beta,
  });
}

/**
 * For each sentence and order: the number of n-grams of the hypothesis, of the chosen reference, and of those they have
 * in common.
 */
function statisticsOf(corpus: Corpus, settings: Settings): SentenceStatistics {
  const cased = (text: string) => (settings.lowercase ? text.toLowerCase() : text);
  const rows = corpus.hypotheses.map((hypothesis, i) =>
    sentenceRow([hypothesis, ...corpus.references[i]!].map(cased), settings),
  );
  return new SentenceStatistics(rows, (sum) => fScore(sum, settings));
}

/** The row of the best reference. `texts`: the hypothesis, then its references. */
function sentenceRow(texts: readonly string[], settings: Settings): number[] {
  const characters = settings.whitespace ? (text: string) => Array.from(text) : visibleCodePoints;
  const levels = [
    ...numberNGrams(texts.map(characters), settings.order),
    ...(settings.wordOrder > 0
      ? numberNGrams(texts.map(wordsAndPunctuation), settings.wordOrder)
      : []),
  ];
  const hypothesis = levels.map((level) => countNGrams(level, 0));
  let best: number[] = [];
  let bestScore = -1;
  for (let r = 1; r < texts.length; r++) {
    const row = levels.flatMap((level, n) => compare(level, hypothesis[n]!, r));
    const score = fScore(row, settings);
    if (score > bestScore) [best, bestScore] = [row, score];
  }
  return best;
}

/** An order that the reference is too short for does not count against the hypothesis. */
function compare(level: Level, hypothesis: Int32Array, reference: number): number[] {
  const length = level.sequences[reference]!.length;
  const ownLength = length > 0 ? level.sequences[0]!.length : 0;
  return [ownLength, length, commonNGrams(hypothesis, countNGrams(level, reference))];
}

const punctuation = new Set('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~');

/** Words with one punctuation mark of ASCII set apart: the last character, else the first. */
function wordsAndPunctuation(text: string): string[] {
  return splitWords(text).flatMap((word) => {
    if (word.length === 1) return word;
    if (punctuation.has(word.at(-1)!)) return [word.slice(0, -1), word.at(-1)!];
    if (punctuation.has(word[0]!)) return [word[0]!, word.slice(1)];
    return word;
  });
}

/** Stands for the precision or recall of an order without n-grams where `effectiveOrder` is false. */
const nearlyZero = 1e-16;

/** 0 … 100, from three counts of each order: of the hypothesis, of the reference, in common. */
function fScore(counts: ArrayLike<number>, settings: Settings): number {
  const factor = settings.beta ** 2;
  const f = (precision: number, recall: number): number =>
    ((1 + factor) * precision * recall) / (factor * precision + recall);
  let sum = 0;
  let precisions = 0;
  let recalls = 0;
  let orders = 0;
  for (let i = 0; i < counts.length; i += 3) {
    const [own, reference, common] = [counts[i]!, counts[i + 1]!, counts[i + 2]!];
    const precision = own > 0 ? common / own : nearlyZero;
    const recall = reference > 0 ? common / reference : nearlyZero;
    sum += precision + recall > 0 ? f(precision, recall) : nearlyZero;
    if (own === 0 || reference === 0) continue;
    precisions += precision;
    recalls += recall;
    orders++;
  }
  if (!settings.effectiveOrder) return (100 * sum) / (counts.length / 3);
  return precisions > 0 ? 100 * f(precisions / orders, recalls / orders) : 0;
}
