/** ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004), number for number as Google's rouge_score. */
import { booleanOption, checkOptions } from '../options.js';
import { readCorpus, type References } from './corpus.js';
import { commonNGrams, countNGrams, numberNGrams, type Level } from './n-grams.js';
import { porterStem } from './porter-stemmer.js';
import { signature, yesOrNo } from './signature.js';

export interface RougeOptions {
  /** Reduces words of more than three letters to their stem (Porter's, as NLTK has it). Default false. */
  stemmer?: boolean;
}

/** All 0 … 1. */
export interface RougeScore {
  precision: number;
  recall: number;
  /** Their harmonic mean; 0 if both are 0. */
  fmeasure: number;
}

export interface RougeScores {
  /** Words. */
  rouge1: RougeScore;
  /** Pairs of words. */
  rouge2: RougeScore;
  /** The longest common subsequence of words. */
  rougeL: RougeScore;
}

export interface RougeSummary extends RougeScores {
  /** The scores of each hypothesis, in order; those of the corpus are their means. */
  sentences: RougeScores[];
  /** How it was computed: `nrefs:1|stem:no|version:mask-predict-…`. */
  signature: string;
}

/**
 * ROUGE of a corpus: the means over the hypotheses.
 *
 * A word is a run of the letters a to z and digits, in lower case, so that text in another script has none and scores 0.
 * `references`: one list per reference set, with a text (or `null`) for every hypothesis: `[['…', '…']]` for one set. Of
 * several references of a hypothesis the one with the highest F counts, for each measure; of two with the same F, the
 * first. Throws `ERR_INVALID_ARGUMENT`, which names the argument.
 */
export function rouge(
  hypotheses: readonly string[],
  references: References,
  options: RougeOptions = {},
): RougeSummary {
  checkOptions('rouge()', options, ['stemmer']);
  const stemmer = booleanOption('stemmer', options.stemmer, false);
  const corpus = readCorpus(hypotheses, references);
  const wordsOf = stemmer ? stemsReader() : words;
  const sentences = corpus.hypotheses.map((hypothesis, i) =>
    bestScores([hypothesis, ...corpus.references[i]!].map(wordsOf)),
  );
  return {
    rouge1: mean(sentences.map(({ rouge1 }) => rouge1)),
    rouge2: mean(sentences.map(({ rouge2 }) => rouge2)),
    rougeL: mean(sentences.map(({ rougeL }) => rougeL)),
    sentences,
    signature: signature({ nrefs: corpus.referenceCount, stem: yesOrNo(stemmer) }),
  };
}

function words(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

/** Reads the words of a text as stems; a word that occurs again is not stemmed again. */
function stemsReader(): (text: string) => string[] {
  const stems = new Map<string, string>();
  return (text) =>
    words(text).map((word) => {
      if (word.length <= 3) return word;
      const known = stems.get(word);
      if (known !== undefined) return known;
      const stem = porterStem(word);
      stems.set(word, stem);
      return stem;
    });
}

/** `texts`: the hypothesis, then its references. */
function bestScores(texts: readonly string[][]): RougeScores {
  const [single, pairs] = numberNGrams(texts, 2) as [Level, Level];
  const scores = { rouge1: nothing, rouge2: nothing, rougeL: nothing };
  for (let r = 1; r < texts.length; r++) {
    scores.rouge1 = better(scores.rouge1, ngramScore(single, r));
    scores.rouge2 = better(scores.rouge2, ngramScore(pairs, r));
    scores.rougeL = better(scores.rougeL, subsequenceScore(single, r));
  }
  return scores;
}

const nothing: RougeScore = { precision: 0, recall: 0, fmeasure: 0 };

function better(best: RougeScore, other: RougeScore): RougeScore {
  return other.fmeasure > best.fmeasure ? other : best;
}

function ngramScore(level: Level, reference: number): RougeScore {
  const common = commonNGrams(countNGrams(level, 0), countNGrams(level, reference));
  return scoreOf(common, level, reference);
}

function subsequenceScore(level: Level, reference: number): RougeScore {
  const [hypothesis, other] = [level.sequences[0]!, level.sequences[reference]!];
  return scoreOf(longestCommonSubsequence(hypothesis, other), level, reference);
}

function scoreOf(common: number, { sequences }: Level, reference: number): RougeScore {
  const precision = common / Math.max(sequences[0]!.length, 1);
  const recall = common / Math.max(sequences[reference]!.length, 1);
  const fmeasure = common > 0 ? (2 * precision * recall) / (precision + recall) : 0;
  return { precision, recall, fmeasure };
}

/** Its length; one row of the table at a time. */
function longestCommonSubsequence(first: Int32Array, second: Int32Array): number {
  let above = new Int32Array(second.length + 1);
  let row = new Int32Array(second.length + 1);
  for (const symbol of first) {
    for (let i = 0; i < second.length; i++) {
      row[i + 1] = symbol === second[i] ? above[i]! + 1 : Math.max(row[i]!, above[i + 1]!);
    }
    [above, row] = [row, above];
  }
  return above[second.length]!;
}

function mean(scores: readonly RougeScore[]): RougeScore {
  const over = (part: keyof RougeScore): number =>
    scores.reduce((sum, score) => sum + score[part], 0) / scores.length;
  return { precision: over('precision'), recall: over('recall'), fmeasure: over('fmeasure') };
}
