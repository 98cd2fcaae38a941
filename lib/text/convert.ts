/**
 * A checkpoint of fairseq, or of Hugging Face in any form, becomes a model directory: `config.json`, one
 * `model.safetensors`, and the SentencePiece model.
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ConversionFacts } from '../../native/binding.cjs';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { readOptionalObject, type JsonObject } from '../json-files.js';
import { checkFunction, checkOptions, checkSignal, integerOption } from '../options.js';
import type { SaveOptions } from '../token/engine-options.js';
import { checkFree, written } from '../token/saved-model.js';
import { withConversion } from './conversion.js';
import { tokenizerFile } from './loading.js';
import { copyTextFiles } from './model-files.js';
import { readSentencePieceModel } from './sentencepiece-model.js';

export interface ConvertOptions extends SaveOptions {
  /** The SentencePiece model to put beside the weights. Default: `sentencepiece.bpe.model` beside the input. */
  tokenizer?: string;
  /** `'bf16'` rounds every weight to bfloat16. Default: weights stay as they are. */
  to?: 'bf16';
  /** The number of attention heads, where a fairseq checkpoint does not say it (`encoder_attention_heads`). */
  heads?: number;
  /** Called with 0 … 1 while the weights are written. */
  onProgress?: (fraction: number) => void;
}

export interface Converted {
  /** The `config.json` that was written. */
  config: Record<string, unknown>;
  /** Tensors of the input that have no place in the model, by name. */
  leftOut: string[];
}

const optionNames = ['tokenizer', 'to', 'heads', 'onProgress', 'overwrite', 'signal'];

/**
 * Converts `input` to a model directory `out` that {@link Engine.load} and, with a tokenizer, `MaskPredict.load` read.
 * `input` is a file of fairseq (`model.pt`, `checkpoint*.pt`, or one of the `…-model_part-N.pt` of a model, which are
 * joined), a `.bin` or `.safetensors` of Hugging Face, or a directory with one model. Nothing in a pickle is called.
 * Tensors are written one after the other from the mapped file. `config.json` always has `vocab_size` and
 * `mask_token_id`: that id comes from the SentencePiece model (its pieces + 1), from `dict.txt` beside the input (its
 * lines + 4) and from a `config.json` there, which must agree; without any of them it is the last row of the embeddings
 * that is not all zeros.
 */
export async function convert(
  input: string,
  out: string,
  options: ConvertOptions = {},
): Promise<Converted> {
  checkOptions('convert()', options, optionNames);
  const { to, signal, onProgress } = options;
  checkSignal(signal);
  checkFunction('onProgress', onProgress);
  if (to !== undefined && to !== 'bf16') {
    throw invalidArgument(
      `to must be 'bf16', not ${shown(to)}; without it weights stay as they are`,
    );
  }
  const heads = integerOption('heads', options.heads, 0, 1, 1024);
  const model = findModel(input);
  await checkFree(out, options.overwrite);
  if (existsSync(out) && realpathSync(out) === realpathSync(model.directory)) {
    throw invalidArgument(`${out} is the model itself; name another directory to convert to`);
  }
  const tokenizer = tokenizerOf(model, options.tokenizer);
  const settings = readSettings(model);

  return withConversion({ signal, onProgress }, async (run) => {
    const facts = await run((conversion) => conversion.read(model.kind, model.paths));
    const maskTokenId = await maskTokenIdOf(model, tokenizer, settings, facts);
    const config = configOf(model, facts, settings, heads);
    config.vocab_size = facts.vocabulary;
    config.mask_token_id = maskTokenId;
    if (to === 'bf16') config.torch_dtype = 'bfloat16';
    const path = join(out, 'config.json');
    await written(path, () => rm(path, { force: true })); // written last: what is not whole has none
    await run((conversion) => conversion.write(join(out, 'model.safetensors'), to === 'bf16'));
    if (tokenizer !== undefined) {
      const copy = join(out, tokenizerFile);
      await written(copy, () => copyFile(tokenizer, copy));
    }
    await written(path, () => writeFile(path, `${JSON.stringify(config, undefined, 2)}\n`));
    if (model.kind === 'huggingface') {
      await written(out, () => copyTextFiles(model.directory, out));
    }
    return { config, leftOut: facts.leftOut };
  });
}

interface Model {
  kind: 'fairseq' | 'huggingface';
  /** A directory or files. */
  paths: string[];
  /** Where the tokenizer and the like are. */
  directory: string;
}

const huggingFaceFiles = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
];
const partName = /^(.*)-model_part-(\d+)\.pt$/;

/** Finds out which kind of model `input` is; throws if that is not clear. */
function findModel(input: unknown): Model {
  if (typeof input !== 'string' || input === '') {
    throw invalidArgument(`the model to convert must be a path, not ${shown(input)}`);
  }
  const status = statSync(input, { throwIfNoEntry: false });
  if (!status) throw new MaskPredictError('ERR_MODEL_FORMAT', `there is no file ${input}`);
  if (!status.isDirectory()) return modelOfFile(input);

  const names = readdirSync(input);
  if (huggingFaceFiles.some((name) => names.includes(name))) {
    return { kind: 'huggingface', paths: [input], directory: input };
  }
  const models = new Map<string, string>();
  for (const name of names.filter((name) => name.endsWith('.pt')).sort()) {
    const stem = partName.exec(name)?.[1] ?? name;
    if (!models.has(stem)) models.set(stem, name);
  }
  const [first, ...others] = models.values();
  if (first === undefined) {
    const files = [...huggingFaceFiles, 'model.pt', 'checkpoint*.pt'].join(', ');
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${input} has no model: none of ${files}`);
  }
  if (others.length > 0) {
    const list = [first, ...others].join(', ');
    throw invalidArgument(`${input} has several models; name one of the files: ${list}`);
  }
  return modelOfFile(join(input, first));
}

function modelOfFile(file: string): Model {
  const directory = dirname(file);
  const name = basename(file);
  if (name.endsWith('.index.json')) return { kind: 'huggingface', paths: [directory], directory };
  if (name.endsWith('.bin') || name.endsWith('.safetensors')) {
    return { kind: 'huggingface', paths: [file], directory };
  }
  if (!name.endsWith('.pt')) {
    throw invalidArgument(`${file} is none of .pt, .bin and .safetensors`);
  }
  const stem = partName.exec(name)?.[1];
  return {
    kind: 'fairseq',
    paths: stem === undefined ? [file] : partsOf(directory, stem),
    directory,
  };
}

/** The parts 0, 1, … of a model that was trained on several devices at once. */
function partsOf(directory: string, stem: string): string[] {
  const parts = new Map<number, string>();
  for (const name of readdirSync(directory)) {
    const match = partName.exec(name);
    if (match?.[1] === stem) parts.set(Number(match[2]), join(directory, name));
  }
  return Array.from(parts.keys(), (_, number) => {
    const part = parts.get(number);
    if (part !== undefined) return part;
    throw new MaskPredictError(
      'ERR_MODEL_FORMAT',
      `${join(directory, `${stem}-model_part-${number}.pt`)} is missing; there are ${parts.size} other parts`,
    );
  });
}

function tokenizerOf({ directory }: Model, given: unknown): string | undefined {
  if (given !== undefined && (typeof given !== 'string' || given === '')) {
    throw invalidArgument(
      `tokenizer must be the path of a SentencePiece model, not ${shown(given)}`,
    );
  }
  const beside = join(directory, tokenizerFile);
  return given ?? (existsSync(beside) ? beside : undefined);
}

/** The config.json beside the model, if there is one. */
function readSettings({ kind, directory }: Model): JsonObject | undefined {
  const settings = readOptionalObject(directory, 'config.json');
  if (settings !== undefined || kind === 'fairseq') return settings;
  const file = join(directory, 'config.json');
  throw new MaskPredictError('ERR_MODEL_FORMAT', `${file} is missing; it says what model it is`);
}

/** The id of `<mask>`, as all who know it say. */
async function maskTokenIdOf(
  { directory }: Model,
  tokenizer: string | undefined,
  settings: JsonObject | undefined,
  { vocabulary, lastRowInUse }: ConversionFacts,
): Promise<number> {
  const said: [who: string, id: number][] = [];
  if (tokenizer !== undefined) {
    const bytes = await readFile(tokenizer).catch((cause: Error) => {
      throw new MaskPredictError('ERR_TOKENIZER', `${tokenizer}: ${cause.message}`, { cause });
    });
    said.push([tokenizer, readSentencePieceModel(bytes, tokenizer).pieces + 1]);
  }
  const dictionary = join(directory, 'dict.txt');
  if (existsSync(dictionary)) {
    const lines = (await readFile(dictionary, 'utf8')).split('\n').filter((line) => line !== '');
    said.push([dictionary, lines.length + 4]);
  }
  if (typeof settings?.mask_token_id === 'number') {
    said.push([join(directory, 'config.json'), settings.mask_token_id]);
  }
  const [first, ...others] = said;
  const other = others.find(([, id]) => id !== first![1]);
  if (first && other) {
    throw new MaskPredictError(
      'ERR_MODEL_FORMAT',
      `<mask> is ${first[1]} according to ${first[0]}, but ${other[1]} according to ${other[0]}; ` +
        'they do not belong to the same model',
    );
  }
  const id = first?.[1] ?? lastRowInUse;
  if (Number.isInteger(id) && id >= 4 && id < vocabulary) return id;
  throw new MaskPredictError(
    'ERR_MODEL_FORMAT',
    `<mask> is ${id} according to ${first?.[0] ?? 'the embeddings'}, but the model has ids 4 … ${vocabulary - 1} for it`,
  );
}

function configOf(
  { kind, paths }: Model,
  facts: ConversionFacts,
  settings: JsonObject | undefined,
  given: number,
): Record<string, unknown> {
  if (kind === 'huggingface') return { ...settings };
  if (given > 0 && facts.heads > 0 && given !== facts.heads) {
    throw invalidArgument(`heads is ${given}, but ${paths[0]} says ${facts.heads}`);
  }
  const heads = facts.heads || given;
  if (heads === 0) {
    throw invalidArgument(
      `${paths[0]} does not say how many attention heads the model has; name them: heads (--heads N); ` +
        '12 in XLM-R base, 16 in large, 32 in XL and XXL',
    );
  }
  if (facts.hidden % heads !== 0) {
    throw invalidArgument(`${heads} heads do not divide ${facts.hidden}, the model's width`);
  }
  const large = facts.modelType === 'xlm-roberta-xl';
  return {
    architectures: [large ? 'XLMRobertaXLForMaskedLM' : 'XLMRobertaForMaskedLM'],
    model_type: facts.modelType,
    vocab_size: facts.vocabulary,
    hidden_size: facts.hidden,
    num_hidden_layers: facts.layers,
    num_attention_heads: heads,
    intermediate_size: facts.feedForward,
    hidden_act: 'gelu',
    max_position_embeddings: facts.maxPositions,
    type_vocab_size: 1,
    layer_norm_eps: 1e-5, // fairseq's, which no checkpoint of it says
    bos_token_id: 0,
    pad_token_id: 1,
    eos_token_id: 2,
    ...(facts.lengths > 0 && { length_vocab_size: facts.lengths }),
    tie_word_embeddings: facts.tieWordEmbeddings,
  };
}
