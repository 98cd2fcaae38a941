/**
 * The data of a training: one or several sources of examples, tokenised once. A file's ids are kept in a cache file
 * whose name is a hash of the file's bytes, the tokenizer's and whatever else decides the ids, so a second start finds
 * them; those of a caller's iterable are kept while the dataset is open.
 *
 * An example longer than the model reads is left out and counted. An output without a token is an error that names its
 * place, and so is a source without examples.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { checkOptions } from '../options.js';
import { pauses } from '../pauses.js';
import { userCache } from '../user-cache.js';
import type { Tokenizer } from '../text/tokenizer.js';
import {
  isTable,
  placedExamples,
  readExamples,
  type Example,
  type Fields,
  type PlacedExample,
} from './examples.js';
import { mostIds, TokenCache, TokenCacheWriter, type TokenExample } from './token-cache.js';

/** A file whose examples are seen `weight` times an epoch, above 0 (default 1; 0.5: another half each epoch). */
export interface WeightedFile {
  file: string;
  weight?: number;
}

/** A file, several of them, or examples. */
export type DatasetSource =
  string | readonly WeightedFile[] | AsyncIterable<Example> | Iterable<Example>;

/** @internal */
export interface DatasetOptions {
  tokenizer: Tokenizer;
  /** Its file's content: a part of the cache's name. */
  tokenizerBytes: Uint8Array;
  fields: Fields;
  /** Ids with `<s>` and `</s>`; longer examples are left out. */
  maxSource: number;
  maxTarget: number;
  /** Directory of the cache files. */
  cache: string;
  /** So many of the first examples keep their texts. Default 0. */
  texts?: number;
  /** Examples read so far of a file that is being tokenised. */
  onProgress?: ((name: string, examples: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Where token caches are by default: `$XDG_CACHE_HOME/mask-predict`, or `~/.cache/mask-predict`.
 * @internal
 */
export function defaultCache(environment: NodeJS.ProcessEnv = process.env): string {
  return join(userCache(environment), 'mask-predict');
}

interface Part {
  name: string;
  weight: number;
  cache: TokenCache;
}

/** @internal */
export class Dataset {
  readonly parts: readonly Part[];
  /** Equal for equal ids and weights. */
  readonly fingerprint: string;
  readonly examples: number;
  readonly leftOut: number;
  /** Texts of the first examples; as many as were asked for. */
  readonly texts: readonly Example[];
  /** The first example of each part. */
  readonly #firsts: number[];

  private constructor(parts: Part[], fingerprint: string, texts: Example[]) {
    this.parts = parts;
    this.fingerprint = fingerprint;
    this.texts = texts;
    this.#firsts = [];
    let examples = 0;
    for (const { cache } of parts) {
      this.#firsts.push(examples);
      examples += cache.examples;
    }
    this.examples = examples;
    this.leftOut = parts.reduce((sum, { cache }) => sum + cache.leftOut, 0);
  }

  static async open(source: DatasetSource, options: DatasetOptions): Promise<Dataset> {
    const opened: OpenedPart[] = [];
    try {
      if (isFiles(source)) {
        const tokenizerHash = sha256(options.tokenizerBytes);
        for (const { file, weight } of files(source)) {
          opened.push({ ...(await openFile(file, tokenizerHash, options)), name: file, weight });
        }
      } else {
        opened.push({ ...(await openIterable(source, options)), name: 'the dataset', weight: 1 });
      }
    } catch (error) {
      for (const { cache } of opened) await cache.close();
      throw error;
    }
    const identity = opened.map(({ key, weight }) => [key, weight]);
    const texts = opened.flatMap((part) => part.texts).slice(0, options.texts ?? 0);
    return new Dataset(opened, sha256(JSON.stringify(identity)), texts);
  }

  /** Ids of an example's source and target together. */
  rows(example: number): number {
    const part = this.#partOf(example);
    return this.parts[part]!.cache.rows(example - this.#firsts[part]!);
  }

  read(example: number): Promise<TokenExample> {
    const part = this.#partOf(example);
    return this.parts[part]!.cache.read(example - this.#firsts[part]!);
  }

  async close(): Promise<void> {
    for (const { cache } of this.parts) await cache.close();
  }

  #partOf(example: number): number {
    let part = this.#firsts.length - 1;
    while (this.#firsts[part]! > example) part--;
    return part;
  }
}

interface Opened {
  cache: TokenCache;
  key: string;
  texts: Example[];
}
type OpenedPart = Opened & Part;

function isFiles(source: DatasetSource): source is string | readonly WeightedFile[] {
  if (typeof source === 'string') return true;
  if (Array.isArray(source)) return source.length === 0 || Object.hasOwn(source[0] ?? {}, 'file');
  const iterable = source as Partial<AsyncIterable<Example> & Iterable<Example>> | null;
  if (iterable?.[Symbol.asyncIterator] || iterable?.[Symbol.iterator]) return false;
  throw invalidArgument(
    'the dataset must be a path, a list of { file, weight } or an async iterable of examples, ' +
      `not ${shown(source)}`,
  );
}

function files(source: string | readonly WeightedFile[]): Required<WeightedFile>[] {
  if (typeof source === 'string') return [{ file: source, weight: 1 }];
  if (source.length === 0) throw invalidArgument('the dataset has no files');
  return source.map((entry, index) => {
    checkOptions(`file ${index} of the dataset`, entry, ['file', 'weight']);
    const { file, weight = 1 } = entry;
    if (typeof file !== 'string' || file === '') {
      throw invalidArgument(`file ${index} of the dataset must be a path, not ${shown(file)}`);
    }
    if (!(typeof weight === 'number' && weight > 0 && weight <= 1000)) {
      throw invalidArgument(
        `the weight of ${file} must be a number above 0 and up to 1000, not ${shown(weight)}`,
      );
    }
    return { file, weight };
  });
}

async function openFile(
  file: string,
  tokenizerHash: string,
  options: DatasetOptions,
): Promise<Opened> {
  const { fields, maxSource, maxTarget } = options;
  const data = await hashOf(file, options.signal);
  const kind = isTable(file) ? 'tsv' : fields;
  const key = sha256(JSON.stringify([1, data, tokenizerHash, kind, maxSource, maxTarget]));
  const path = join(options.cache, `${key.slice(0, 40)}.tokens`);
  const found = await TokenCache.open(path);
  if (found) return { cache: found, key, texts: await firstTexts(file, options) };
  const read = createHash('sha256');
  const examples = readExamples(file, fields, (bytes) => read.update(bytes));
  const { cache, texts } = await tokenise(file, examples, path, options, () => {
    if (read.digest('hex') === data) return true;
    throw invalidArgument(`${file} changed while it was read; start again when nobody writes it`);
  });
  return { cache, key, texts };
}

/**
 * Writes the ids of a file of examples to `out`, in the layout of token-cache.ts: for programs that train elsewhere.
 * @internal
 */
export async function writeTokens(
  file: string,
  out: string,
  options: DatasetOptions,
): Promise<{ examples: number; leftOut: number }> {
  const examples = readExamples(file, options.fields);
  const { cache } = await tokenise(file, examples, out, options, () => true);
  const { leftOut } = cache;
  await cache.close();
  return { examples: cache.examples, leftOut };
}

async function openIterable(
  iterable: AsyncIterable<Example> | Iterable<Example>,
  options: DatasetOptions,
): Promise<Opened> {
  const ids = createHash('sha256');
  const path = join(tmpdir(), `mask-predict-${process.pid}.tokens`);
  const onIds = (part: Int32Array) => ids.update(part);
  const name = 'the dataset';
  const examples = placedExamples(iterable);
  const { cache, texts } = await tokenise(name, examples, path, options, () => false, onIds);
  return { cache, key: ids.digest('hex'), texts };
}

/** Writes the ids of `examples`. `whole` is called when all are read: is the cache to be kept? */
async function tokenise(
  name: string,
  examples: AsyncIterable<PlacedExample[]>,
  path: string,
  options: DatasetOptions,
  whole: () => boolean,
  onIds: (ids: Int32Array) => void = () => {},
): Promise<{ cache: TokenCache; texts: Example[] }> {
  const { onProgress, signal } = options;
  const texts: Example[] = [];
  const writer = await TokenCacheWriter.create(path);
  try {
    let leftOut = 0;
    const pause = pauses();
    for await (const some of examples) {
      for (const example of some) {
        const encoded = encode(example, options);
        if (encoded) {
          await writer.add(encoded.source, encoded.target);
          onIds(encoded.source);
          onIds(encoded.target);
          if (texts.length < (options.texts ?? 0)) texts.push(textsOnly(example));
        } else leftOut++;
        await pause();
        signal?.throwIfAborted();
      }
      onProgress?.(name, writer.examples + leftOut);
    }
    checkCount(name, writer.examples, leftOut, options);
    return { cache: await writer.finish(leftOut, whole()), texts };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

function checkCount(
  name: string,
  examples: number,
  leftOut: number,
  { maxSource, maxTarget }: DatasetOptions,
): void {
  if (examples > 0) return;
  throw invalidArgument(
    leftOut === 0
      ? `${name} has no examples`
      : `${name}: all ${leftOut} examples have more than ${maxSource} ids in the instruction or ${maxTarget} in the ` +
          'output; maxSource and maxTarget say how many are read',
  );
}

/** An example's ids; undefined if it is too long. */
function encode(
  { instruction, output, place }: PlacedExample,
  { tokenizer, maxSource, maxTarget }: DatasetOptions,
): TokenExample | undefined {
  const target = tokenizer.encode(output, { maxIds: maxTarget });
  if (target.ids.length < 3) throw invalidArgument(`${place}: the output has no tokens`);
  if (target.truncated) return undefined;
  const source = tokenizer.encode(instruction, { maxIds: maxSource });
  return source.truncated ? undefined : { source: source.ids, target: target.ids };
}

/** The texts of the first examples that are not too long. */
async function firstTexts(file: string, options: DatasetOptions): Promise<Example[]> {
  const texts: Example[] = [];
  const { texts: count = 0, fields } = options;
  if (count === 0) return texts;
  for await (const some of readExamples(file, fields)) {
    for (const example of some) {
      if (texts.length < count && encode(example, options)) texts.push(textsOnly(example));
    }
    if (texts.length === count) break;
  }
  return texts;
}

function textsOnly({ instruction, output }: Example): Example {
  return { instruction, output };
}

async function hashOf(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) {
      hash.update(chunk as Buffer);
      signal?.throwIfAborted();
    }
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${file} cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
  return hash.digest('hex');
}

function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The ids that are read at most: what the option says, the model and the cache. @internal */
export function idsOption(name: string, value: unknown, most: number): number {
  if (value === undefined) return Math.min(most, mostIds);
  if (typeof value === 'number' && Number.isInteger(value) && value >= 3 && value <= most) {
    return value;
  }
  throw invalidArgument(`${name} must be an integer from 3 to ${most}, not ${shown(value)}`);
}
