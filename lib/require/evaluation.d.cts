/** The types of mask-predict/evaluation for CommonJS: those of the ES module, its values named one by one. */
import type * as api from '../../dist/evaluation/index.js' with { 'resolution-mode': 'import' };
export type * from '../../dist/evaluation/index.js' with { 'resolution-mode': 'import' };

export declare const accuracy: typeof api.accuracy;
export declare const bleu: typeof api.bleu;
export declare const bleuStatistics: typeof api.bleuStatistics;
export declare const bootstrap: typeof api.bootstrap;
export declare const chrf: typeof api.chrf;
export declare const chrfStatistics: typeof api.chrfStatistics;
export declare const compareEvaluations: typeof api.compareEvaluations;
export declare const distinct: typeof api.distinct;
export declare const evaluate: typeof api.evaluate;
export declare const markdownOf: typeof api.markdownOf;
export declare const rouge: typeof api.rouge;
export declare const study: typeof api.study;
