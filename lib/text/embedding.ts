/**
 * One vector for a text, made of its final states. How is in the files of sentence-transformers where a model has them:
 * `modules.json`, the pooling module's `config.json` and `sentence_bert_config.json`; else it is the mean, as long as it
 * is. Prefixes that a model was trained with (`query: `) are the caller's to write.
 */
import { join } from 'node:path';
import { MaskPredictError, shown } from '../errors.js';
import { readOptionalJson, readOptionalObject, type JsonObject } from '../json-files.js';
import { embedding, normalizeOption, poolingOption, type Pooling } from '../token/readings.js';
import { kindOf, modulesFile, poolingFile, transformerFile } from './model-files.js';
import { Reading } from './reading.js';
import { textOptions, type TextOptions, type TextReader } from './text.js';

export interface EmbedOptions extends TextOptions {
  /**
   * `'mean'` of the final states of all ids, those of `<s>` and `</s>` included, or `'first'`, the final state of `<s>`.
   * Default: as the model's files say, else `'mean'`.
   */
  pooling?: Pooling;
  /** True: vectors are divided by their Euclidean length. Default: as the model's files say, else false. */
  normalize?: boolean;
}

/** @internal */
export const embedOptions = [...textOptions, 'pooling', 'normalize'];

/** How a model's texts are embedded, if the caller does not say it. @internal */
export interface EmbeddingSettings {
  pooling: Pooling;
  normalize: boolean;
  /** Ids with `<s>` and `</s>`; Infinity: as many as there are positions. */
  maxIds: number;
  lowerCase: boolean;
  /** Why embeddings as the model's files want them cannot be made here. */
  problem: string | undefined;
}

/** @internal */
export class Embedder {
  readonly #texts: TextReader;
  readonly #settings: EmbeddingSettings;

  constructor(texts: TextReader, settings: EmbeddingSettings) {
    this.#texts = texts;
    this.#settings = settings;
  }

  embedding(text: string, options: EmbedOptions, name: string): Reading<Float32Array> {
    const { maxIds, lowerCase, problem, ...settings } = this.#settings;
    const pooling = poolingOption(options.pooling, settings.pooling);
    const normalize = normalizeOption(options.normalize, settings.normalize);
    if (problem !== undefined && (options.pooling ?? options.normalize) === undefined) {
      throw new MaskPredictError(
        'ERR_MODEL_FORMAT',
        `${problem}; with pooling or normalize given, embed() makes that of the final states alone`,
      );
    }
    const given = lowerCase && typeof text === 'string' ? text.toLowerCase() : text;
    const { ids } = this.#texts.text(given, options, name, 0, maxIds);
    return new Reading(ids, { kind: pooling }, (answer) => embedding(answer, normalize));
  }
}

/**
 * Reads the files of sentence-transformers in a model directory. Throws for one that is damaged.
 * @internal
 */
export function readEmbeddingSettings(directory: string): EmbeddingSettings {
  const settings: EmbeddingSettings = {
    pooling: 'mean',
    normalize: false,
    maxIds: Infinity,
    lowerCase: false,
    problem: undefined,
  };
  readModules(directory, settings);
  const pooling = readOptionalObject(directory, poolingFile(directory));
  if (pooling) readPooling(pooling, settings, directory);
  readTransformer(directory, settings);
  return settings;
}

function readModules(directory: string, settings: EmbeddingSettings): void {
  const modules = readOptionalJson(directory, modulesFile);
  if (modules === undefined) return;
  if (!Array.isArray(modules)) {
    throw damaged(directory, modulesFile, `holds ${shown(modules)}, not an array`);
  }
  for (const module of modules as unknown[]) {
    const kind = kindOf(module);
    if (kind === 'Normalize') settings.normalize = true;
    else if (kind !== 'Transformer' && kind !== 'Pooling') {
      settings.problem ??= `${join(directory, modulesFile)} asks for a module ${shown(kind)}, which is not run here`;
    }
  }
}

const modes = 'pooling_mode_';

/** `pooling_mode_mean_tokens: true` and the like, of which exactly one must be set. */
function readPooling(config: JsonObject, settings: EmbeddingSettings, directory: string): void {
  const chosen = Object.keys(config).filter((key) => key.startsWith(modes) && config[key] === true);
  const named = config['pooling_mode'];
  const mode = typeof named === 'string' ? [named] : chosen.map((key) => key.slice(modes.length));
  if (mode.length === 0) return;
  if (mode.length === 1 && (mode[0] === 'mean_tokens' || mode[0] === 'mean')) {
    settings.pooling = 'mean';
  } else if (mode.length === 1 && (mode[0] === 'cls_token' || mode[0] === 'cls')) {
    settings.pooling = 'first';
  } else {
    settings.problem ??=
      `the pooling of ${directory} is ${mode.join(' and ')}; here there are the mean (mean_tokens) and the ` +
      `first token (cls_token)`;
  }
}

function readTransformer(directory: string, settings: EmbeddingSettings): void {
  const file = transformerFile;
  const config = readOptionalObject(directory, file);
  const most = config?.['max_seq_length'];
  if (most !== undefined && most !== null) {
    if (!Number.isInteger(most) || (most as number) < 2) {
      throw damaged(directory, file, `has max_seq_length ${shown(most)}; it must be 2 or more`);
    }
    settings.maxIds = most as number;
  }
  settings.lowerCase = config?.['do_lower_case'] === true;
}

function damaged(directory: string, file: string, what: string): MaskPredictError {
  return new MaskPredictError('ERR_MODEL_FORMAT', `${join(directory, file)} ${what}`);
}
