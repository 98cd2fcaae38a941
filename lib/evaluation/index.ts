/**
 * Measures of generated text, equal to the ones everybody quotes: BLEU and chrF as sacreBLEU prints them, ROUGE as
 * Google's rouge_score, Distinct-n, accuracy, and the paired bootstrap over any of them. Needs no native addon.
 */
export { accuracy, type AccuracyOptions, type AccuracyScore } from './accuracy.js';
export { bleu, bleuStatistics } from './bleu.js';
export type { BleuOptions, BleuScore, BleuSmoothing } from './bleu.js';
export type { BleuTokenizer } from './bleu-tokenizers.js';
export { bootstrap } from './bootstrap.js';
export type { BootstrapOptions, BootstrapResult, Interval, SystemScores } from './bootstrap.js';
export { chrf, chrfStatistics, type ChrfOptions, type ChrfScore } from './chrf.js';
export type { References } from './corpus.js';
export { distinct, type DistinctOptions, type DistinctScore } from './distinct.js';
export { rouge } from './rouge.js';
export type { RougeOptions, RougeScore, RougeScores, RougeSummary } from './rouge.js';
export type { SentenceStatistics } from './sentence-statistics.js';
