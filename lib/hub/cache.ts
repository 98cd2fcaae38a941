/**
 * The cache of one repository, in the layout of Python's huggingface_hub, which shares it:
 *
 *     CACHE/models--OWNER--NAME/blobs/HASH             contents; HASH.incomplete while it is transferred
 *                               snapshots/COMMIT/FILE  links to contents; copies where links are not allowed
 *                               refs/REVISION          the commit that a branch or tag was at last
 *                               trees/COMMIT.json      sizes and hashes of all files of a commit
 *     CACHE/.locks/models--OWNER--NAME/HASH.lock       who transfers a content
 *
 * Everything gets its name by a rename when it is whole, so a reader never sees a part.
 */
import { randomBytes } from 'node:crypto';
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { MaskPredictError } from '../errors.js';
import { readListing, writtenListing, type HubFile, type Listing } from './listing.js';

export class RepositoryCache {
  readonly #cache: string;
  readonly #folder: string;
  readonly #symlinks: boolean;

  /** `cache` is an absolute path, `repository` is `owner/name`. Without `symlinks` snapshots have the files themselves. */
  constructor(cache: string, repository: string, symlinks: boolean) {
    this.#cache = cache;
    this.#folder = `models--${repository.replace('/', '--')}`;
    this.#symlinks = symlinks;
  }

  snapshot(commit: string): string {
    return this.#path('snapshots', commit);
  }

  blob(hash: string): string {
    return this.#path('blobs', hash);
  }

  partial(hash: string): string {
    return `${this.blob(hash)}.incomplete`;
  }

  lock(hash: string): string {
    return join(this.#cache, '.locks', this.#folder, `${hash}.lock`);
  }

  /** The commit of a revision as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const commit = (await this.#read('refs', revision))?.trim();
    return commit !== undefined && isCommit(commit) ? commit : undefined;
  }

  async rememberCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    await this.#write(this.#path('refs', ...revision.split('/')), commit);
  }

  async listing(commit: string): Promise<Listing | undefined> {
    const text = await this.#read('trees', `${commit}.json`);
    return text === undefined ? undefined : readListing(text);
  }

  rememberListing(commit: string, listing: Listing): Promise<void> {
    return this.#write(this.#path('trees', `${commit}.json`), writtenListing(listing));
  }

  /** True if a snapshot has a file, of that many bytes if they are given. */
  async has(commit: string, name: string, size?: number): Promise<boolean> {
    return hasFile(join(this.snapshot(commit), name), size);
  }

  hasBlob({ hash, size }: HubFile): Promise<boolean> {
    return hasFile(this.blob(hash), size);
  }

  /** Bytes of a content that an earlier transfer left. */
  async partialSize({ hash, size }: HubFile): Promise<number> {
    const found = await stat(this.partial(hash)).catch(() => undefined);
    return Math.min(found?.size ?? 0, size);
  }

  /** The files that a snapshot has, down to one folder in it. */
  async names(commit: string): Promise<string[]> {
    const folder = this.snapshot(commit);
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    const folders = entries.filter((entry) => entry.isDirectory());
    const inside = await Promise.all(
      folders.map(async ({ name }) =>
        (await readdir(join(folder, name))).map((file) => `${name}/${file}`),
      ),
    );
    return [...entries.map(({ name }) => name), ...inside.flat()];
  }

  readFile(commit: string, name: string): Promise<string> {
    return readFile(join(this.snapshot(commit), name), 'utf8');
  }

  /**
   * Gives a content that is there as a blob its name in a snapshot. Where there are no links, a content that is `fresh`
   * moves there, as it does in Python, and takes its bytes once; another one may be of other snapshots and is copied.
   */
  async show(commit: string, { name, hash }: HubFile, fresh: boolean): Promise<void> {
    const path = join(this.snapshot(commit), name);
    const blob = this.blob(hash);
    const temporary = temporaryFor(path);
    await this.writing(async () => {
      await mkdir(dirname(path), { recursive: true });
      if (this.#symlinks && (await linked(relative(dirname(path), blob), temporary))) {
        return rename(temporary, path);
      }
      if (fresh) return rename(blob, path);
      try {
        await copyFile(blob, temporary);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  /** Throws `ERR_CACHE` if the disk has less free space than that. */
  async checkSpace(bytes: number): Promise<void> {
    await this.writing(async () => {
      await mkdir(this.#path('blobs'), { recursive: true });
      const { blocks, bavail, bsize } = await statfs(this.#cache);
      // A file system without blocks does not know.
      if (blocks > 0 && bavail * bsize < bytes) throw this.#full(`${mebibytes(bytes)} are to come`);
    });
  }

  /** Returns the result of `work`; an error of the file system then names its path and a remedy. */
  async writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (error instanceof MaskPredictError || !/^E[A-Z0-9]+$/.test(code ?? '')) throw error;
      if (code === 'ENOSPC' || code === 'EDQUOT') throw this.#full(`it gave ${code}`, error);
      throw new MaskPredictError(
        'ERR_CACHE',
        `the cache ${this.#cache} cannot be written: ${message}; ` +
          `name another one (the option cache, HF_HUB_CACHE)`,
        { cause: error },
      );
    }
  }

  #full(reason: string, cause?: unknown): MaskPredictError {
    return new MaskPredictError(
      'ERR_CACHE',
      `the disk of the cache ${this.#cache} is full: ${reason}; free some space, or name another cache (the option cache, ` +
        `HF_HUB_CACHE); what was transferred is kept, and the next call goes on from there`,
      { cause },
    );
  }

  #path(...parts: string[]): string {
    return join(this.#cache, this.#folder, ...parts);
  }

  async #read(...parts: string[]): Promise<string | undefined> {
    try {
      return await readFile(this.#path(...parts), 'utf8');
    } catch {
      return undefined;
    }
  }

  #write(path: string, text: string): Promise<void> {
    const temporary = temporaryFor(path);
    return this.writing(async () => {
      await mkdir(dirname(path), { recursive: true });
      try {
        await writeFile(temporary, text);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** As `stat` sees it: a link whose content is gone is no file. */
async function hasFile(path: string, size?: number): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && (size === undefined || found.size === size);
  } catch {
    return false;
  }
}

/** A name beside `path` that no other process uses. */
function temporaryFor(path: string): string {
  return `${path}.${randomBytes(4).toString('hex')}.tmp`;
}

/** False where the system or the file system has no symbolic links, or does not allow them to this user. */
async function linked(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'].includes(code ?? ''))
      return false;
    throw error;
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
