/**
 * A model directory becomes an engine, a tokenizer and a scheduler that belong together: options are checked before
 * anything is read, and the two files against each other.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MaskPredictError } from '../errors.js';
import { modelDirectory } from '../hub/model-directory.js';
import { hubOptionNames, type HubOptions, type Transfer } from '../hub/settings.js';
import { readOptionalObject } from '../json-files.js';
import { checkOptions, integerOption } from '../options.js';
import { Devices, type DevicesOptions } from '../scheduling/devices.js';
import { readSchedulingOptions, type SchedulingOptions } from '../scheduling/options.js';
import { nativeRunner, type PassRunner } from '../scheduling/passes.js';
import { Scheduler, type Scheduling } from '../scheduling/scheduler.js';
import { SourceCache } from '../scheduling/source-cache.js';
import { Engine, loadOptions } from '../token/engine.js';
import type { Device, EngineLoadOptions, Logger } from '../token/engine-options.js';
import { allowedIds, type Vocabulary } from '../token/vocabulary.js';
import { readClassSettings, type ClassSettings } from './classification.js';
import { readEmbeddingSettings, type EmbeddingSettings } from './embedding.js';
import { loadEngines, readDevices } from './engines.js';
import { idsOfLanguages } from './languages.js';
import { Tokenizer } from './tokenizer.js';

export interface ModelOptions extends Omit<EngineLoadOptions, 'onProgress'>, HubOptions {
  /**
   * Several GPUs, such as `['cuda:0', 'cuda:1']`, instead of `device`: each holds the whole model and takes the calls, or
   * prompts of a call, for which its wait is expected to be the shortest; of idle ones the first. `memoryLimit`, `threads`,
   * `scheduling.rowBudget` and `sourceCache.bytes` are of each. Not `'auto'`, nor `'cpu'` beside others, nor a GPU twice. Answers
   * have the same bits wherever they are made, if the GPUs are of one kind. A GPU whose context is lost takes no more calls, and
   * the logger is told. Those it had begin anew on another one, where no step of theirs was read and for the first time; else
   * they are `ERR_DEVICE`, as all are when no GPU is left. Default: the one that `device` says.
   */
  devices?: readonly Device[];
  /**
   * Called with 0 … 1 while the model loads. Where files must come from the hub first, it is called with 0 … 1 of that
   * before, and with a second argument that says how far the transfer is.
   */
  onProgress?: (fraction: number, transfer?: Transfer) => void;
  /** How concurrent calls share the model. The defaults suit one service. */
  scheduling?: SchedulingOptions;
  /**
   * Keeps encoded sources that nobody uses, up to so many bytes, so that a prompt that is asked again is not encoded
   * again; the least recently used go first. Equal prompts at the same time are encoded once too. One that was encoded
   * for answers of given lengths is encoded again to predict a length. Default: none are kept.
   */
  sourceCache?: { bytes: number };
}

/** @internal The tokenizer's file in a model directory. */
export const tokenizerFile = 'sentencepiece.bpe.model';

/** @internal ModernBERT's, and what it goes with. */
export const byteLevelFiles = ['tokenizer.json', 'tokenizer_config.json'] as const;

/** @internal */
export interface LoadedModel {
  /** One for each device. */
  engines: Engine[];
  tokenizer: Tokenizer;
  scheduler: Scheduling;
  embedding: EmbeddingSettings;
  classes: ClassSettings;
}

/** @internal What `MaskPredict.load()` does. */
export async function loadModel(name: string | URL, options: ModelOptions): Promise<LoadedModel> {
  const names = [...loadOptions, ...hubOptionNames, 'devices', 'scheduling', 'sourceCache'];
  checkOptions('MaskPredict.load()', options, names);
  const { devices, scheduling, sourceCache, revision, cache, token, offline, ...engineOptions } =
    options;
  const several = readDevices(devices, options.device);
  const sharing = readSchedulingOptions(scheduling);
  const kept = readSourceCache(sourceCache);
  const { onProgress, logger, signal } = engineOptions;
  const hubOptions = { revision, cache, token, offline, onProgress, logger, signal };
  const directory = await modelDirectory(name, hubOptions);
  checkDirectory(directory);
  const embedding = readEmbeddingSettings(directory);
  const tokenizer = await loadTokenizer(directory, options.maskTokenId);
  const load = (own: EngineLoadOptions) => loadEngine(directory, own, tokenizer);
  const engines = several
    ? await loadEngines(several, load, engineOptions)
    : [await load(engineOptions)];
  const schedule = (engine: Engine, runner: PassRunner, more: { queueLimit?: number } = {}) =>
    new Scheduler(runner, new SourceCache(kept), { ...sharing(engine), ...more });
  const runners = engines.map((engine) => nativeRunner(Engine.native(engine)));
  const scheduler = several
    ? new Devices(
        engines.map(({ device }, index) => ({ name: device, runner: runners[index]! })),
        {
          queueLimit: sharing(engines[0]!).queueLimit,
          schedule: (runner, index) => schedule(engines[index]!, runner, { queueLimit: Infinity }),
          onLost: warnOfLoss(logger),
        },
      )
    : schedule(engines[0]!, runners[0]!);
  return { engines, tokenizer, scheduler, embedding, classes: readClassSettings(directory) };
}

/** A device that is lost is worth a word, wherever it goes. */
function warnOfLoss(logger: Logger | undefined): DevicesOptions['onLost'] {
  return (name, { message }, left) => {
    const warning = `${name} takes no more calls, and ${left} devices are left: ${message}`;
    if (logger) logger('warn', warning);
    else process.emitWarning(warning, { type: 'MaskPredictWarning', code: 'MASK_PREDICT_LOST' });
  };
}

/** @internal The tokenizer of a model directory, whose `<mask>` is `maskTokenId` if that is given. */
export function loadTokenizer(
  directory: string,
  maskTokenId: number | undefined,
): Promise<Tokenizer> {
  const settings = maskTokenId === undefined ? {} : { maskTokenId };
  const file = join(directory, tokenizerFile);
  if (readOptionalObject(directory, 'config.json')?.['model_type'] === 'modernbert') {
    return Tokenizer.load(join(directory, byteLevelFiles[0]), settings);
  }
  if (!existsSync(file) && existsSync(join(directory, byteLevelFiles[0]))) {
    throw new MaskPredictError(
      'ERR_TOKENIZER',
      `${directory} has tokenizer.json, which is not read, but no ${tokenizerFile}; put that of the model it was ` +
        'trained from beside it (all XLM-R models of one vocabulary share the file)',
    );
  }
  return Tokenizer.load(file, settings);
}

function checkDirectory(directory: string): void {
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `there is no model directory ${directory}`);
  }
}

/** Bytes of sources that nobody uses and that are kept. */
function readSourceCache(sourceCache: ModelOptions['sourceCache']): number {
  if (sourceCache !== undefined) checkOptions('sourceCache', sourceCache, ['bytes']);
  return integerOption('sourceCache.bytes', sourceCache?.bytes, 0, 0, Number.MAX_SAFE_INTEGER);
}

/** The ids that a vocabulary allows. */
async function answerable(vocabulary: Vocabulary, tokenizer: Tokenizer): Promise<Int32Array> {
  const { languages } = vocabulary as { languages?: unknown };
  if (languages === undefined) return allowedIds(vocabulary);
  const ids = await idsOfLanguages(languages, tokenizer, 'vocabulary.languages');
  return allowedIds(vocabulary, ids);
}

/** The engine for a tokenizer: it shares the id of `<mask>`, and has a row for each of the tokenizer's ids. */
async function loadEngine(
  directory: string,
  options: EngineLoadOptions,
  tokenizer: Tokenizer,
): Promise<Engine> {
  const { vocabulary } = options;
  const { maskTokenId } = tokenizer;
  const engine = await Engine.load(directory, {
    ...options,
    maskTokenId,
    ...(vocabulary && { vocabulary: { allowedIds: await answerable(vocabulary, tokenizer) } }),
  });
  if (engine.config.vocabulary >= tokenizer.vocabulary) return engine;
  await engine.close();
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `${directory}: the tokenizer has ids up to ${tokenizer.vocabulary - 1}, the model only ` +
      `${engine.config.vocabulary}`,
  );
}
