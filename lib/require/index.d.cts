/** The types of mask-predict for CommonJS: those of the ES module, its values named one by one. */
import type * as api from '../../dist/index.js' with { 'resolution-mode': 'import' };
export type * from '../../dist/index.js' with { 'resolution-mode': 'import' };

export declare const Engine: typeof api.Engine;
export type Engine = api.Engine;
export declare const MaskPredict: typeof api.MaskPredict;
export type MaskPredict = api.MaskPredict;
export declare const MaskPredictError: typeof api.MaskPredictError;
export type MaskPredictError = api.MaskPredictError;
export declare const Source: typeof api.Source;
export type Source = api.Source;
export declare const Target: typeof api.Target;
export type Target = api.Target;
export declare const Tokenizer: typeof api.Tokenizer;
export type Tokenizer = api.Tokenizer;
export declare const Trainer: typeof api.Trainer;
export type Trainer = api.Trainer;
export declare const averageModels: typeof api.averageModels;
export declare const convert: typeof api.convert;
export declare const bundledModels: typeof api.bundledModels;
export declare const embeddedModel: typeof api.embeddedModel;
export declare const modelDirectory: typeof api.modelDirectory;
export declare const quantize: typeof api.quantize;
export declare const trim: typeof api.trim;
