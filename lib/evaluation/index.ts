/**
 * Measures of generated text, equal to the ones everybody quotes: BLEU and chrF as sacreBLEU prints them, ROUGE as
 * Google's rouge_score, Distinct-n, accuracy, and the paired bootstrap over any of them. And evaluations as the paper asks
 * for them: tasks with their prompts, data sets, reports, studies, comparisons. Needs no native addon; a model is given.
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
export { compareEvaluations } from './runs/compare.js';
export type { CompareOptions, ComparedScores, Comparison } from './runs/compare.js';
export { evaluate } from './runs/evaluate.js';
export type { EvaluateOptions, Evaluation } from './runs/evaluate.js';
export type { AnswerRecord } from './runs/answer-log.js';
export type { EvaluationProgress } from './runs/answering.js';
export type { EvaluationCell, MeanScore } from './runs/cells.js';
export type { Measure } from './runs/measures.js';
export type { EvaluationLength } from './runs/plans.js';
export { markdownOf } from './runs/report.js';
export { study } from './runs/study.js';
export type { Study, StudyName, StudyOptions, StudyRow } from './runs/study.js';
export type { DataFile, HashedFile } from './tasks/examples.js';
export type { Prompt } from './tasks/prompts.js';
export type { DataFormat } from './tasks/rows.js';
