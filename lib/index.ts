export { MaskPredict, embeddedModel } from './mask-predict.js';
export type {
  Generation,
  GenerateOptions,
  LengthOption,
  RefinedToken,
  RefinementStep,
  TextOptions,
} from './mask-predict.js';
export { Engine, Source, Target } from './engine.js';
export type {
  Architecture,
  ArchitectureName,
  CallOptions,
  DecodeOptions,
  Device,
  EngineConfig,
  EngineLoadOptions,
  EngineOptions,
  EngineRandomOptions,
  Logger,
  Precision,
  PredictOptions,
  SamplingOptions,
} from './engine.js';
export { Tokenizer } from './tokenizer.js';
export type { EncodeOptions, Encoding } from './tokenizer.js';
export { MaskPredictError } from './errors.js';
export type { ErrorCode } from './errors.js';
