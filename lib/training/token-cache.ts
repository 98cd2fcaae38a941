/**
 * Examples as ids in one file that is written once and read where it is needed, so that neither texts nor ids have to
 * fit into memory. In memory are two lengths for each example and a place for every sixty-fourth: 4 bytes an example.
 *
 * Layout, little-endian: the ids of all examples, int32, each source followed by its target; the lengths of source and
 * target of each example, uint16; a trailer of three uint64 (examples, ids, examples left out) and a magic word. A file
 * is written beside its name and renamed when it is whole.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MaskPredictError } from '../errors.js';

/** Ids of a source or target; lengths are stored in 16 bits. @internal */
export const mostIds = 65535;

const magic = Buffer.from('MPTOKEN1');
const trailerBytes = 32;
const perPlace = 64;
const bufferedIds = 2 ** 18;

/** @internal */
export interface TokenExample {
  source: Int32Array;
  target: Int32Array;
}

/** @internal */
export class TokenCache {
  readonly file: string;
  readonly examples: number;
  /** Examples of the data that were too long. */
  readonly leftOut: number;
  readonly #handle: FileHandle;
  readonly #lengths: Uint16Array;
  /** Where every sixty-fourth example begins, in ids. */
  readonly #places: Float64Array;

  private constructor(file: string, handle: FileHandle, lengths: Uint16Array, leftOut: number) {
    this.file = file;
    this.#handle = handle;
    this.#lengths = lengths;
    this.examples = lengths.length / 2;
    this.leftOut = leftOut;
    this.#places = new Float64Array(Math.ceil(this.examples / perPlace));
    let place = 0;
    for (let example = 0; example < this.examples; example++) {
      if (example % perPlace === 0) this.#places[example / perPlace] = place;
      place += this.rows(example);
    }
  }

  /** The cache in `file`; undefined if there is none or it is not whole. */
  static async open(file: string): Promise<TokenCache | undefined> {
    const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw unreadable(file, error);
    });
    if (!handle) return undefined;
    try {
      const cache = await TokenCache.#read(file, handle);
      if (!cache) await handle.close();
      return cache;
    } catch (error) {
      await handle.close();
      throw unreadable(file, error as Error);
    }
  }

  static async #read(file: string, handle: FileHandle): Promise<TokenCache | undefined> {
    const { size } = await handle.stat();
    if (size < trailerBytes) return undefined;
    const trailer = await readWhole(handle, trailerBytes, size - trailerBytes);
    const [examples, ids, leftOut] = [0, 8, 16].map((at) => Number(trailer.readBigUInt64LE(at)));
    const sizes = 4 * ids! + 4 * examples! + trailerBytes;
    if (!trailer.subarray(24).equals(magic) || size !== sizes) return undefined;
    const bytes = await readWhole(handle, 4 * examples!, 4 * ids!);
    const lengths = new Uint16Array(bytes.buffer, bytes.byteOffset, 2 * examples!);
    const cache = new TokenCache(file, handle, lengths, leftOut!);
    return lengths.reduce((sum, length) => sum + length, 0) === ids ? cache : undefined;
  }

  sourceLength(example: number): number {
    return this.#lengths[2 * example]!;
  }

  targetLength(example: number): number {
    return this.#lengths[2 * example + 1]!;
  }

  /** Ids of source and target together. */
  rows(example: number): number {
    return this.#lengths[2 * example]! + this.#lengths[2 * example + 1]!;
  }

  async read(example: number): Promise<TokenExample> {
    const begin = example - (example % perPlace);
    let place = this.#places[begin / perPlace]!;
    for (let before = begin; before < example; before++) place += this.rows(before);
    const bytes = await readWhole(this.#handle, 4 * this.rows(example), 4 * place).catch(
      (error: Error) => {
        throw unreadable(this.file, error);
      },
    );
    const ids = new Int32Array(bytes.buffer, bytes.byteOffset, this.rows(example));
    const source = ids.subarray(0, this.sourceLength(example));
    const target = ids.subarray(this.sourceLength(example));
    for (const part of [source, target]) {
      if (part[0] !== 0 || part.at(-1) !== 2) {
        throw unreadable(this.file, new Error(`example ${example} is damaged`));
      }
    }
    return { source, target };
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** Writes a cache; {@link finish} gives it its name. @internal */
export class TokenCacheWriter {
  readonly #file: string;
  readonly #part: string;
  readonly #handle: FileHandle;
  #ids = new Int32Array(bufferedIds);
  #buffered = 0;
  #written = 0;
  #lengths = new Uint16Array(1024);
  #examples = 0;

  private constructor(file: string, part: string, handle: FileHandle) {
    this.#file = file;
    this.#part = part;
    this.#handle = handle;
  }

  static async create(file: string): Promise<TokenCacheWriter> {
    const part = `${file}.${randomBytes(6).toString('hex')}.part`;
    const handle = await writing(file, async () => {
      await mkdir(dirname(file), { recursive: true });
      await removeForgottenParts(file);
      return open(part, 'wx+');
    });
    return new TokenCacheWriter(file, part, handle);
  }

  get examples(): number {
    return this.#examples;
  }

  async add(source: Int32Array, target: Int32Array): Promise<void> {
    if (this.#buffered + source.length + target.length > bufferedIds) await this.#flush();
    this.#ids.set(source, this.#buffered);
    this.#ids.set(target, this.#buffered + source.length);
    this.#buffered += source.length + target.length;
    if (2 * this.#examples === this.#lengths.length) {
      const longer = new Uint16Array(2 * this.#lengths.length);
      longer.set(this.#lengths);
      this.#lengths = longer;
    }
    this.#lengths[2 * this.#examples] = source.length;
    this.#lengths[2 * this.#examples + 1] = target.length;
    this.#examples++;
  }

  /** The whole cache under its name, or, with `keep` false, without any: it is gone when it is closed. */
  async finish(leftOut: number, keep: boolean): Promise<TokenCache> {
    await this.#flush();
    const trailer = Buffer.alloc(trailerBytes);
    [this.#examples, this.#written, leftOut].forEach((value, index) =>
      trailer.writeBigUInt64LE(BigInt(value), 8 * index),
    );
    magic.copy(trailer, 24);
    await writing(this.#file, async () => {
      await this.#write(Buffer.from(this.#lengths.buffer, 0, 4 * this.#examples));
      await this.#write(trailer);
      await this.#handle.sync();
      await this.#handle.close();
      if (keep) await rename(this.#part, this.#file);
    });
    const file = keep ? this.#file : this.#part;
    const cache = await TokenCache.open(file);
    if (!keep) await rm(this.#part, { force: true });
    if (!cache) throw unreadable(file, new Error('it is not what was written'));
    return cache;
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await rm(this.#part, { force: true }).catch(() => {});
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#ids.buffer, 0, 4 * this.#buffered);
    await writing(this.#file, () => this.#write(bytes));
    this.#written += this.#buffered;
    this.#buffered = 0;
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, from, bytes.length - from);
      from += bytesWritten;
    }
  }
}

/** Parts of a file that a process left behind when it was killed: nobody has written to them for a day. */
async function removeForgottenParts(file: string): Promise<void> {
  const directory = dirname(file);
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${basename(file)}.`) || !name.endsWith('.part')) continue;
    const path = join(directory, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
    if (Date.now() - mtimeMs > 86_400_000) await rm(path, { force: true });
  }
}

async function readWhole(handle: FileHandle, bytes: number, position: number): Promise<Buffer> {
  const buffer = Buffer.from(new ArrayBuffer(bytes));
  for (let from = 0; from < bytes;) {
    const most = Math.min(bytes - from, 2 ** 30);
    const { bytesRead } = await handle.read(buffer, from, most, position + from);
    if (bytesRead === 0) throw new Error('it ends too early');
    from += bytesRead;
  }
  return buffer;
}

function unreadable(file: string, cause: Error): MaskPredictError {
  return new MaskPredictError(
    'ERR_INVALID_ARGUMENT',
    `the token cache ${file} cannot be read: ${cause.message}; delete it, and it is made again`,
    { cause },
  );
}

async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `the token cache ${file} cannot be written: ${(cause as Error).message}; cache names another directory`,
      { cause },
    );
  }
}
