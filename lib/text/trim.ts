/** A model becomes one of fewer pieces: its tokenizer, its embeddings and its head have only those that are used. */
import { existsSync, realpathSync } from 'node:fs';
import { readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { readOptionalJson, readOptionalObject, type JsonObject } from '../json-files.js';
import { checkFunction, checkOptions, checkSignal } from '../options.js';
import { directoryPath } from '../token/directory-path.js';
import type { SaveOptions } from '../token/engine-options.js';
import { checkFree, written } from '../token/saved-model.js';
import { withConversion } from './conversion.js';
import { idsOfLanguages } from './languages.js';
import { loadTokenizer, tokenizerFile } from './loading.js';
import { poolingFiles, writeJson } from './model-files.js';
import { countPieces, mostFrequent } from './piece-counts.js';
import { SentencePieceSubset } from './sentencepiece-subset.js';
import type { Tokenizer } from './tokenizer.js';

export interface TrimOptions extends SaveOptions {
  /**
   * BCP 47 tags, such as `['de', 'en']`: keeps the pieces whose characters all belong to the scripts of these languages or
   * to none, as `vocabulary.languages` does.
   */
  languages?: readonly string[];
  /** Files of text, UTF-8, packed by gzip or not: keeps the pieces that their lines use most. */
  texts?: string | readonly string[];
  /** The share of the occurrences in `texts` that the kept pieces cover, above 0, up to 1. Default: 0.999. */
  keep?: number;
  /** Called with 0 … 1 while texts are read, then again while the weights are written. */
  onProgress?: (fraction: number, stage: 'texts' | 'weights') => void;
}

export interface Trimmed {
  /** The `config.json` that was written. */
  config: Record<string, unknown>;
  /** The model's id of each id of the trimmed one, rising. */
  ids: Int32Array;
  /** Pieces of the tokenizer. */
  pieces: { before: number; after: number };
  /** Bytes of the weights' files and the tokenizer's. */
  bytes: { before: number; after: number };
  /** Tensors of the model that have no place in the trimmed one, by name. */
  leftOut: string[];
}

const optionNames = ['languages', 'texts', 'keep', 'onProgress', 'overwrite', 'signal'];
const weightsFile = 'model.safetensors';

/**
 * Writes the model directory `model` with fewer pieces to `out`, which must be empty or not there, unless `overwrite` is
 * set. Kept are the pieces of `languages` and of `texts` (one of them must be given), every character of theirs and of a
 * piece that occurs in `texts` that is a piece itself, and what no SentencePiece model can be without. A text whose pieces
 * are all kept has the same pieces, the same states and the same logits as before; probabilities are over the kept pieces.
 * Ids are others: `ids` of the result tells which. Added tokens with ids behind `<mask>` are left out.
 *
 * `ERR_INVALID_ARGUMENT` for wrong options and what cannot be read or written, `ERR_TOKENIZER` and `ERR_MODEL_FORMAT` for
 * what is no XLM-R with its SentencePiece model, or one that `quantize` wrote. Whatever fails leaves nothing of its own in
 * `out`.
 */
export async function trim(
  model: string | URL,
  out: string,
  options: TrimOptions = {},
): Promise<Trimmed> {
  const { languages, texts, keep, signal, onProgress } = checked(options);
  const directory = directoryPath(model);
  await checkFree(out, options.overwrite);
  if (existsSync(out) && existsSync(directory) && realpathSync(out) === realpathSync(directory)) {
    throw invalidArgument(
      `${out} is the model itself; name another directory for the trimmed model`,
    );
  }
  const config = readConfig(directory);
  const tokenizer = await loadTokenizer(directory, numberOf(config['mask_token_id']));
  const file = join(directory, tokenizerFile);
  const sentencePiece = new SentencePieceSubset(await readFile(file), file);
  const named = languages && (await idsOfLanguages(languages, tokenizer, 'languages'));

  const progress = onProgress && ((fraction: number) => onProgress(fraction, 'weights'));
  return withConversion({ signal, onProgress: progress }, async (run) => {
    const facts = await run((conversion) => conversion.read('huggingface', [directory]));
    checkRows(directory, tokenizer, facts.vocabulary);
    const counts =
      texts &&
      (await countPieces(texts, tokenizer, {
        signal,
        onProgress: onProgress && ((fraction) => onProgress(fraction, 'texts')),
      }));
    const pieces = keptPieces(sentencePiece, named, counts, keep);
    const ids = idsOf(pieces, tokenizer);
    await run((conversion) => conversion.keepRows(ids));
    const trimmed = { ...config, vocab_size: ids.length, mask_token_id: ids.length - 1 };
    const own = [weightsFile, tokenizerFile, ...poolingFiles(directory), 'config.json'];
    await wholeOrNothing(out, own, async () => {
      await run((conversion) => conversion.write(join(out, weightsFile), false));
      const copy = join(out, tokenizerFile);
      await written(copy, () => writeFile(copy, sentencePiece.write(pieces)));
      for (const name of poolingFiles(directory)) {
        const path = join(out, name);
        await written(path, () => writeJson(path, readOptionalJson(directory, name)));
      }
      signal?.throwIfAborted();
      const path = join(out, 'config.json');
      await written(path, () => writeJson(path, trimmed));
    });
    return {
      config: trimmed,
      ids,
      pieces: { before: sentencePiece.size, after: pieces.length },
      bytes: {
        before: facts.fileBytes + (await stat(file)).size,
        after: await bytesOf(out, [weightsFile, tokenizerFile]),
      },
      leftOut: facts.leftOut,
    };
  });
}

/** The options with their defaults; `texts` is a list. */
function checked(options: TrimOptions) {
  checkOptions('trim()', options, optionNames);
  const { languages, keep, signal, onProgress } = options;
  checkSignal(signal);
  checkFunction('onProgress', onProgress);
  const texts = typeof options.texts === 'string' ? [options.texts] : options.texts;
  const isPath = (path: unknown) => typeof path === 'string' && path !== '';
  if (texts !== undefined && !(Array.isArray(texts) && texts.length > 0 && texts.every(isPath))) {
    throw invalidArgument('texts must be the path of a file, or an array of paths');
  }
  if (languages === undefined && texts === undefined) {
    throw invalidArgument(
      'nothing says which pieces to keep: name languages (--languages de,en), texts (--texts FILE), or both',
    );
  }
  if (keep !== undefined && texts === undefined) {
    throw invalidArgument(
      'keep is a share of the pieces of texts (--texts FILE), which are missing',
    );
  }
  if (keep !== undefined && !(typeof keep === 'number' && keep > 0 && keep <= 1)) {
    throw invalidArgument(`keep must be a share above 0, up to 1, not ${shown(keep)}`);
  }
  return { languages, texts, keep: keep ?? 0.999, signal, onProgress };
}

function readConfig(directory: string): JsonObject {
  const config = readOptionalObject(directory, 'config.json');
  const file = join(directory, 'config.json');
  if (config === undefined) {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${file} is missing; it says what model it is`);
  }
  const type = config['model_type'];
  if (type === 'xlm-roberta' || type === 'xlm-roberta-xl') return config;
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `${file}: model_type is ${shown(type)}; only xlm-roberta and xlm-roberta-xl can be trimmed`,
  );
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function checkRows(directory: string, { maskTokenId }: Tokenizer, rows: number): void {
  if (rows > maskTokenId) return;
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `${directory}: the tokenizer has ids up to ${maskTokenId}, the model only ${rows}`,
  );
}

/** SentencePiece's ids of the pieces to keep, rising. */
function keptPieces(
  sentencePiece: SentencePieceSubset,
  named: Int32Array | undefined,
  counts: Float64Array | undefined,
  keep: number,
): Int32Array {
  const frequent = counts ? mostFrequent(counts, keep) : [];
  const seen = counts ? [...counts.keys()].filter((id) => counts[id]! > 0) : [];
  const pieceOf = (id: number) => id - 1;
  const wanted = [...(named ?? []), ...frequent].filter((id) => id > 3).map(pieceOf);
  return sentencePiece.closure(wanted, seen.map(pieceOf));
}

/** XLM-R's ids of SentencePiece's pieces and of its special tokens, rising. */
function idsOf(pieces: Int32Array, { maskTokenId }: Tokenizer): Int32Array {
  const ordinary = Array.from(pieces.subarray(3), (piece) => piece + 1);
  return Int32Array.of(0, 1, 2, 3, ...ordinary, maskTokenId);
}

/** Runs `write`, which writes `names` into `out`; where it fails, they and the folders made for them are taken away. */
async function wholeOrNothing(
  out: string,
  names: readonly string[],
  write: () => Promise<void>,
): Promise<void> {
  const there = existsSync(out);
  const config = join(out, 'config.json');
  await written(config, () => rm(config, { force: true })); // written last: what is not whole has none
  try {
    await write();
  } catch (error) {
    const folders = new Set(names.map((name) => dirname(join(out, name))));
    if (!there) folders.add(out);
    else folders.delete(dirname(config));
    for (const name of names) await rm(join(out, name), { force: true }).catch(() => {});
    // The deepest first; one that has files of others stays.
    for (const folder of [...folders].sort().reverse()) await rmdir(folder).catch(() => {});
    throw error;
  }
}

async function bytesOf(directory: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(
    names.map(async (name) => (await stat(join(directory, name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
