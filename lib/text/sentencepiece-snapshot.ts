/**
 * A loaded SentencePiece model in a file. SentencePiece takes most of a second for XLM-R's 250,000 pieces, and stops the
 * event loop meanwhile; what it has made then is the memory of its WebAssembly, 48 MiB, which is read back in a tenth of
 * that, on another thread.
 *
 * A snapshot belongs to one model file and one build of sentencepiece-js, by the SHA-256 of both. It is used only if it
 * is whole (a checksum over all of it), if nobody but its owner, who is this user or root, may write to it, and if
 * the tokenizer then gives the same ids for a text as when it was written. Otherwise, and wherever it cannot be read or
 * written, the model is loaded as if there were none: a snapshot is never needed.
 *
 * They are in `$XDG_CACHE_HOME/mask-predict/tokenizers`, by default `~/.cache/mask-predict/tokenizers`; the environment
 * variable `MASK_PREDICT_TOKENIZER_CACHE` names another folder, or `off`. The newest four are kept.
 *
 * The file: a line of JSON (Header), filled up with spaces to HEADER_BYTES; where each piece is in the model file, two
 * int32 for each piece; the memory. All in the byte order of WebAssembly, which is that of every machine that the addon
 * is built for.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { sep } from 'node:path';
import * as zlib from 'node:zlib';
import type { SentencePieceProcessor } from 'sentencepiece-js';
import { userCache } from '../user-cache.js';

/** Smaller model files load quickly enough. */
const SMALLEST_MODEL = 2 ** 20;

const HEADER_BYTES = 4096;

/** Bytes that are read and summed at a time: a few milliseconds of the event loop. */
const PART = 4 * 2 ** 20;

/** Snapshots that stay when another is written. */
const KEPT = 4;

/** Missing in Node.js 22.0 and 22.1: no snapshots there. */
const crc32 = zlib.crc32 as typeof zlib.crc32 | undefined;

const PROBE = 'Hello World! これはテスト。 Größe 123, \u{1f600}';

interface Header {
  model: string;
  library: string;
  pieces: number;
  /** Bytes of the memory. */
  memory: number;
  /** CRC-32 of the table of pieces and the memory. */
  checksum: number;
  /** Where the processor is in the memory, and its shared pointer. */
  pointer: number;
  sharedPointer: number;
  /** The ids of PROBE. */
  ids: number[];
}

/**
 * The parts of a processor that a snapshot needs. The types of sentencepiece-js do not name them: inside() checks that they
 * are there, and without them there is no snapshot.
 */
interface Inside {
  memory: () => Uint8Array;
  allocate: (bytes: number) => number;
  handle: { ptr: number; smartPtr: number };
}

function inside(processor: SentencePieceProcessor): Inside | undefined {
  const { sentencepiece, processor: object } = processor as unknown as {
    sentencepiece?: { HEAPU8?: unknown; _malloc?: unknown };
    processor?: { $$?: { ptr?: unknown; smartPtr?: unknown } };
  };
  const handle = object?.$$;
  if (!(sentencepiece?.HEAPU8 instanceof Uint8Array)) return undefined;
  if (typeof sentencepiece._malloc !== 'function') return undefined;
  if (typeof handle?.ptr !== 'number' || typeof handle.smartPtr !== 'number') return undefined;
  return {
    memory: () => sentencepiece.HEAPU8 as Uint8Array,
    allocate: sentencepiece._malloc as (bytes: number) => number,
    handle: handle as Inside['handle'],
  };
}

/** The snapshot of one model file, which may not exist yet. */
export class Snapshot {
  readonly #folder: string;
  readonly #path: string;
  readonly #keys: Pick<Header, 'model' | 'library'>;
  /** Writes that this process has begun and not ended. */
  static readonly #writes = new Set<Promise<void>>();

  private constructor(folder: string, keys: Pick<Header, 'model' | 'library'>) {
    this.#folder = folder;
    this.#path = [folder, `${keys.model.slice(0, 24)}-${keys.library.slice(0, 8)}.snapshot`].join(
      sep,
    );
    this.#keys = keys;
  }

  /** For the model file with this content; undefined where none is wanted. */
  static async of(model: Buffer): Promise<Snapshot | undefined> {
    if (model.length < SMALLEST_MODEL || crc32 === undefined) return undefined;
    try {
      const folder = snapshotFolder(process.env);
      if (folder === undefined) return undefined;
      const library = await readFile(createRequire(import.meta.url).resolve('sentencepiece-js'));
      return new Snapshot(folder, { model: digest(model), library: digest(library) });
    } catch {
      return undefined; // there is no such file in a bundle, or this user has no home directory
    }
  }

  /**
   * A processor that has loaded the model, and where the pieces are in the model's file, as SentencePieceModel has it;
   * undefined if there is no sound snapshot. `start` gives a processor that has loaded nothing.
   */
  async read(
    start: () => Promise<SentencePieceProcessor>,
  ): Promise<{ processor: SentencePieceProcessor; table: Int32Array } | undefined> {
    let file: FileHandle | undefined;
    try {
      file = await open(this.#path);
      const header = await this.#readHeader(file);
      if (!header) return undefined;
      const processor = await start();
      const table = new Int32Array(2 * header.pieces);
      return (await fill(processor, table, header, file)) ? { processor, table } : undefined;
    } catch {
      return undefined; // loading the model says what is wrong, if anything is
    } finally {
      await file?.close();
    }
  }

  /** Resolves when this process writes no snapshot: a test removes the folder of snapshots then. */
  static async idle(): Promise<void> {
    while (Snapshot.#writes.size > 0) await Promise.all(Snapshot.#writes);
  }

  /**
   * Writes the memory of a processor that has loaded the model, in the background; says nothing where that is not
   * possible.
   */
  write(processor: SentencePieceProcessor, table: Int32Array): void {
    const write = this.#write(processor, table).finally(() => Snapshot.#writes.delete(write));
    Snapshot.#writes.add(write);
  }

  async #write(processor: SentencePieceProcessor, table: Int32Array): Promise<void> {
    const temporary = `${this.#path}.${randomUUID()}`;
    try {
      const parts = this.#parts(processor, table);
      if (!parts) return;
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const file = await open(temporary, 'wx', 0o600);
      try {
        for (const part of parts) await file.writeFile(part);
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
      await prune(this.#folder);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** The file in three parts. */
  #parts(processor: SentencePieceProcessor, table: Int32Array): Uint8Array[] | undefined {
    const wasm = inside(processor);
    if (!wasm) return undefined;
    const ids = processor.encodeIds(PROBE);
    const memory = wasm.memory().slice(); // later texts change it
    const tableBytes = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
    const header: Header = {
      ...this.#keys,
      pieces: table.length / 2,
      memory: memory.length,
      checksum: crc32!(memory, crc32!(tableBytes)),
      pointer: wasm.handle.ptr,
      sharedPointer: wasm.handle.smartPtr,
      ids,
    };
    const text = Buffer.alloc(HEADER_BYTES, ' ');
    text.write(`${JSON.stringify(header)}\n`);
    return [text, tableBytes, memory];
  }

  /** The header, if the file is of these keys, of the right size, and nobody else may write to it. */
  async #readHeader(file: FileHandle): Promise<Header | undefined> {
    const { size, uid, mode } = await file.stat();
    const own = process.getuid?.();
    if (own !== undefined && ((uid !== own && uid !== 0) || (mode & 0o022) !== 0)) return undefined;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    if (bytesRead < HEADER_BYTES) return undefined;
    const header = JSON.parse(buffer.toString()) as Header;
    if (header.model !== this.#keys.model || header.library !== this.#keys.library)
      return undefined;
    return size === HEADER_BYTES + 8 * header.pieces + header.memory ? header : undefined;
  }
}

function snapshotFolder(environment: NodeJS.ProcessEnv): string | undefined {
  const asked = environment['MASK_PREDICT_TOKENIZER_CACHE'];
  if (asked === 'off') return undefined;
  return asked || [userCache(environment), 'mask-predict', 'tokenizers'].join(sep);
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Puts a snapshot into a processor and its table of pieces; false if it is not what was written. */
async function fill(
  processor: SentencePieceProcessor,
  table: Int32Array,
  header: Header,
  file: FileHandle,
): Promise<boolean> {
  const wasm = inside(processor);
  if (!wasm) return false;
  if (wasm.memory().length < header.memory) wasm.allocate(header.memory);
  const memory = wasm.memory();
  if (memory.length < header.memory) return false;
  const tableSum = await readSummed(file, new Uint8Array(table.buffer), HEADER_BYTES, 0);
  const kept = memory.subarray(0, header.memory);
  const sum = await readSummed(file, kept, HEADER_BYTES + table.byteLength, tableSum);
  if (sum !== header.checksum) return false;
  memory.fill(0, header.memory);
  wasm.handle.ptr = header.pointer;
  wasm.handle.smartPtr = header.sharedPointer;
  return processor.encodeIds(PROBE).join() === header.ids.join();
}

/** Fills `target` from a place in a file; the CRC-32 of `sum`'s bytes and these. Throws where the file ends before. */
async function readSummed(
  file: FileHandle,
  target: Uint8Array,
  position: number,
  sum: number,
): Promise<number> {
  for (let at = 0; at < target.length;) {
    const length = Math.min(PART, target.length - at);
    const { bytesRead } = await file.read(target, at, length, position + at);
    if (bytesRead === 0) throw new Error('the file ends');
    sum = crc32!(target.subarray(at, at + bytesRead), sum);
    at += bytesRead;
  }
  return sum;
}

/** Leaves the newest files of a folder; what a process left half-written goes when it is an hour old. */
async function prune(folder: string): Promise<void> {
  const entries = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const path = [folder, name].join(sep);
      return { path, whole: name.endsWith('.snapshot'), time: (await stat(path)).mtimeMs };
    }),
  );
  const whole = entries.filter((entry) => entry.whole).sort((a, b) => b.time - a.time);
  const cut = entries.filter(
    ({ path, whole, time }) =>
      !whole && /\.snapshot\.[0-9a-f-]{36}$/.test(path) && Date.now() - time > 3_600_000,
  );
  for (const { path } of [...whole.slice(KEPT), ...cut]) await rm(path, { force: true });
}
