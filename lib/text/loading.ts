/**
 * A model directory becomes an engine, a tokenizer and a scheduler that belong together: options are checked before
 * anything is read, and the two files against each other.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MaskPredictError } from '../errors.js';
import { modelDirectory } from '../hub/model-directory.js';
import { hubOptionNames, type HubOptions, type Transfer } from '../hub/settings.js';
import { readOptionalObject } from '../json-files.js';
import { checkOptions, integerOption } from '../options.js';
import { readSchedulingOptions, type SchedulingOptions } from '../scheduling/options.js';
import { nativeRunner } from '../scheduling/passes.js';
import { Scheduler } from '../scheduling/scheduler.js';
import { SourceCache } from '../scheduling/source-cache.js';
import { Engine, loadOptions } from '../token/engine.js';
import type { EngineLoadOptions } from '../token/engine-options.js';
import { allowedIds } from '../token/vocabulary.js';
import { readClassSettings, type ClassSettings } from './classification.js';
import { readEmbeddingSettings, type EmbeddingSettings } from './embedding.js';
import { idsOfLanguages } from './languages.js';
import { Tokenizer } from './tokenizer.js';

/** The directory of the small model that comes with the package. */
export const embeddedModel = fileURLToPath(new URL('../../models/numbers', import.meta.url));

export interface ModelOptions extends Omit<EngineLoadOptions, 'onProgress'>, HubOptions {
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
  engine: Engine;
  tokenizer: Tokenizer;
  scheduler: Scheduler;
  embedding: EmbeddingSettings;
  classes: ClassSettings;
}

/** @internal What `MaskPredict.load()` does. */
export async function loadModel(name: string | URL, options: ModelOptions): Promise<LoadedModel> {
  const names = [...loadOptions, ...hubOptionNames, 'scheduling', 'sourceCache'];
  checkOptions('MaskPredict.load()', options, names);
  const { scheduling, sourceCache, revision, cache, token, offline, ...engineOptions } = options;
  const sharing = readSchedulingOptions(scheduling);
  const kept = readSourceCache(sourceCache);
  const { onProgress, logger, signal } = engineOptions;
  const hubOptions = { revision, cache, token, offline, onProgress, logger, signal };
  const directory = await modelDirectory(name, hubOptions);
  checkDirectory(directory);
  const embedding = readEmbeddingSettings(directory);
  const tokenizer = await loadTokenizer(directory, options.maskTokenId);
  const engine = await loadEngine(directory, engineOptions, tokenizer);
  const runner = nativeRunner(Engine.native(engine));
  return {
    engine,
    tokenizer,
    scheduler: new Scheduler(runner, new SourceCache(kept), sharing(engine)),
    embedding,
    classes: readClassSettings(directory),
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
    ...(vocabulary && {
      vocabulary: {
        allowedIds: allowedIds(vocabulary, (languages) =>
          idsOfLanguages(languages, tokenizer, 'vocabulary.languages'),
        ),
      },
    }),
  });
  if (engine.config.vocabulary >= tokenizer.vocabulary) return engine;
  await engine.close();
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `${directory}: the tokenizer has ids up to ${tokenizer.vocabulary - 1}, the model only ` +
      `${engine.config.vocabulary}`,
  );
}
