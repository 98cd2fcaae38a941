/**
 * The part of a content that is on the disk: it can grow, start again, and be compared with its hash when it is whole.
 *
 * It is never made shorter. On a file system without locks two processes may have the same file open, and what they write
 * to a place is the same; but one may have given it its name already when the other starts again.
 */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import type { HubFile } from './listing.js';

const piece = 2 ** 20;

export class PartialFile {
  readonly #path: string;
  readonly #file: HubFile;
  #handle: FileHandle;
  #hash: Hash;
  #length = 0;

  private constructor(path: string, file: HubFile, handle: FileHandle) {
    this.#path = path;
    this.#file = file;
    this.#handle = handle;
    this.#hash = beginHash(file);
  }

  /** The part of `file` at `path`, as far as there is one. One that is too long is none. */
  static async open(path: string, file: HubFile): Promise<PartialFile> {
    let part = new PartialFile(path, file, await openFile(path));
    try {
      const { size } = await part.#handle.stat();
      if (size > file.size) await part.startAgain();
      else await part.#hashExisting(size);
      return part;
    } catch (error) {
      await part.close();
      throw error;
    }
  }

  /** Bytes from the start that are here. */
  get length(): number {
    return this.#length;
  }

  /** Bytes that are missing. */
  get missing(): number {
    return this.#file.size - this.#length;
  }

  /** Appends bytes, no more than are missing. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done;
      const { bytesWritten } = await this.#handle.write(bytes, done, rest, this.#length + done);
      done += bytesWritten;
    }
    this.#hash.update(bytes);
    this.#length += bytes.length;
  }

  /** Goes back to the first byte. The same bytes are going to come again. */
  rewind(): void {
    this.#length = 0;
    this.#hash = beginHash(this.#file);
  }

  /** Forgets everything that is here, in a new file: the old one had wrong bytes. */
  async startAgain(): Promise<void> {
    await this.#handle.close();
    await rm(this.#path, { force: true });
    this.#handle = await openFile(this.#path);
    this.rewind();
  }

  /** The hash of the bytes that are here, in the form the listing has it. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  /** Waits until the bytes would survive a power failure. */
  settle(): Promise<void> {
    return this.#handle.sync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #hashExisting(size: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(piece);
    while (this.#length < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, piece, this.#length);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#length += bytesRead;
    }
  }
}

function openFile(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | constants.O_CREAT, 0o666);
}

/** Git's SHA-1 is that of a header and the content. */
function beginHash({ algorithm, size }: HubFile): Hash {
  if (algorithm === 'sha256') return createHash('sha256');
  return createHash('sha1').update(`blob ${size}\0`);
}
