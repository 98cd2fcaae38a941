export { MaskPredict, embeddedModel } from './mask-predict.js';
export type {
  Generation,
  GenerateOptions,
  LengthOption,
  ModelOptions,
  RefinedToken,
  RefinementStep,
  TextOptions,
} from './mask-predict.js';
export type { QueueOptions, SchedulingOptions } from './scheduling/options.js';
export type { LatencyStatistics, ModelStatistics } from './scheduling/statistics.js';
export type { IterationEvent, RequestEvent } from './scheduling/diagnostics.js';
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
  SourceOptions,
  StopRule,
} from './engine-options.js';
export { Tokenizer } from './tokenizer.js';
export type { EncodeOptions, Encoding } from './tokenizer.js';
export { MaskPredictError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { Vocabulary } from './vocabulary.js';
