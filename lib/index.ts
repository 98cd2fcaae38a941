export { MaskPredict, embeddedModel } from './mask-predict.js';
export type {
  Generation,
  GenerateOptions,
  LengthOption,
  RefinedToken,
  RefinementStep,
  TextOptions,
} from './mask-predict.js';
export { Engine } from './engine.js';
export type { EngineConfig } from './engine.js';
export { quantize } from './quantize.js';
export type { QuantizeOptions } from './quantize.js';
export { Source, Target } from './sequences.js';
export type { Architecture, ArchitectureName } from './architectures.js';
export type {
  CallOptions,
  DecodeOptions,
  Device,
  EngineLoadOptions,
  EngineOptions,
  EngineRandomOptions,
  Logger,
  Precision,
  PredictOptions,
  SamplingOptions,
  SaveOptions,
} from './engine-options.js';
export { Tokenizer } from './tokenizer.js';
export type { EncodeOptions, Encoding } from './tokenizer.js';
export { MaskPredictError } from './errors.js';
export type { ErrorCode } from './errors.js';
