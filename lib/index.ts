export { embeddedModel } from './text/loading.js';
export type { ModelOptions } from './text/loading.js';
export { MaskPredict } from './text/mask-predict.js';
export type {
  Generation,
  GenerateOptions,
  LengthCandidate,
  LengthCandidates,
  LengthOption,
  RefinedToken,
  RefinementStep,
  TextOptions,
} from './text/mask-predict.js';
export type { QueueOptions, SchedulingOptions } from './scheduling/options.js';
export type { LatencyStatistics, ModelStatistics } from './scheduling/statistics.js';
export type { IterationEvent, RequestEvent } from './scheduling/diagnostics.js';
export { Engine } from './token/engine.js';
export type { EngineConfig } from './token/engine-config.js';
export { quantize } from './text/quantize.js';
export type { QuantizeOptions } from './text/quantize.js';
export { Source, Target } from './token/sequences.js';
export type { Architecture, ArchitectureName } from './token/architectures.js';
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
} from './token/engine-options.js';
export { Tokenizer } from './text/tokenizer.js';
export type { EncodeOptions, Encoding, TokenizerOptions } from './text/tokenizer.js';
export { MaskPredictError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { Vocabulary } from './token/vocabulary.js';
