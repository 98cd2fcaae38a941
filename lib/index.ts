export { bundledModels, embeddedModel } from './bundled-models.js';
export type { ModelOptions } from './text/loading.js';
export { modelDirectory } from './hub/model-directory.js';
export type { HubOptions, ModelDirectoryOptions, Transfer } from './hub/settings.js';
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
export type { Classification, ClassifyInput } from './text/classification.js';
export type { EmbedOptions } from './text/embedding.js';
export type {
  FillLabelsOptions,
  FillMaskOptions,
  LabelCandidate,
  MaskCandidate,
} from './text/fill-mask.js';
export type { LikelihoodOptions } from './text/pseudo-log-likelihood.js';
export type { TextScore } from './text/scoring.js';
export type { FilledMask, Pooling } from './token/readings.js';
export type { QueueOptions, SchedulingOptions } from './scheduling/options.js';
export type {
  DeviceStatistics,
  LatencyStatistics,
  ModelStatistics,
  Phase,
} from './scheduling/statistics.js';
export type { BatchEvent, RequestEvent } from './scheduling/diagnostics.js';
export { Engine } from './token/engine.js';
export type { EngineConfig } from './token/engine-config.js';
export { convert } from './text/convert.js';
export type { ConvertOptions, Converted } from './text/convert.js';
export { quantize } from './text/quantize.js';
export type { QuantizeOptions } from './text/quantize.js';
export { trim } from './text/trim.js';
export type { TrimOptions, Trimmed } from './text/trim.js';
export { Source, Target } from './token/sequences.js';
export type {
  EmbedOptions as EngineEmbedOptions,
  FillMaskOptions as EngineFillMaskOptions,
} from './token/readings.js';
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
  RemaskOptions,
  RemaskRule,
  StopRule,
  TargetAttention,
} from './token/engine-options.js';
export type { Answer, AskOptions } from './text/multiple-choice.js';
export { Tokenizer } from './text/tokenizer.js';
export type {
  DecodeOptions as TokenizerDecodeOptions,
  EncodeOptions,
  Encoding,
  TokenizerOptions,
} from './text/tokenizer.js';
export { MaskPredictError } from './errors.js';
export type { ErrorCode } from './errors.js';
export type { Vocabulary } from './token/vocabulary.js';
export { averageModels } from './training/average-models.js';
export type { AverageModelsOptions } from './training/average-models.js';
export { Trainer } from './training/trainer.js';
export type { TrainerMemory, TrainerStepOptions } from './training/trainer.js';
export type {
  ResumeOptions,
  TrainerLoadOptions,
  TrainerOptions,
  TrainerShape,
} from './training/trainer-options.js';
export type { StepOptions, StepPart, StepResult, StepRunner } from './training/step.js';
export type { DatasetSource, WeightedFile } from './training/dataset.js';
export type { Example, Fields } from './training/examples.js';
export type { ScheduleName } from './training/schedule.js';
export type { DataEvent, DataOptions, TrainingStep, TrainOptions } from './training/train.js';
export type {
  AnswerScores,
  ValidateOptions,
  Validation,
  ValidationIterations,
} from './training/validate.js';
