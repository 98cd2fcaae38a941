/**
 * The listing of a commit of a repository: size and hash of each file. A commit never changes, so neither does its
 * listing; the cache keeps it in the form Python's huggingface_hub does (`trees/COMMIT.json`).
 *
 * A file that git keeps itself has git's SHA-1 of its content; a large one (LFS, Xet) has the SHA-256 of its content.
 */
import { MaskPredictError } from '../errors.js';

export interface HubFile {
  name: string;
  size: number;
  /** Also the name of its content in the cache. */
  hash: string;
  algorithm: 'sha256' | 'git-sha1';
}

/** Entries by file name, in the form they are kept. */
export type Listing = ReadonlyMap<string, ListedFile>;

interface ListedFile {
  size: number;
  blob_id: string;
  lfs_sha256?: string;
  lfs_size?: number;
  xet_hash?: string;
}

/** The file `name`, which must be in the listing. */
export function fileOf(listing: Listing, name: string): HubFile {
  const { size, blob_id, lfs_sha256, lfs_size } = listing.get(name)!;
  return lfs_sha256 === undefined
    ? { name, size, hash: blob_id, algorithm: 'git-sha1' }
    : { name, size: lfs_size ?? size, hash: lfs_sha256, algorithm: 'sha256' };
}

/** Reads entries of the hub's answer into `files`; folders are left out. */
export function addEntries(files: Map<string, ListedFile>, answer: unknown): void {
  if (!Array.isArray(answer)) throw malformed('no list of files');
  for (const entry of answer as Record<string, unknown>[]) {
    if (entry?.['type'] !== 'file') continue;
    const name = entry['path'];
    if (typeof name !== 'string') throw malformed('a file without a name');
    const { oid, size } = (entry['lfs'] ?? {}) as Record<string, unknown>;
    files.set(
      name,
      checked(name, {
        size: entry['size'],
        blob_id: entry['oid'],
        lfs_sha256: oid,
        lfs_size: size,
        xet_hash: entry['xetHash'],
      }),
    );
  }
}

const format = 1;

export function writtenListing(listing: Listing): string {
  const files = Object.fromEntries([...listing].sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({ format_version: format, files }, undefined, 1);
}

/** Undefined for a text of another form: it is asked for again then. */
export function readListing(text: string): Listing | undefined {
  try {
    const { format_version, files } = JSON.parse(text) as Record<string, unknown>;
    if (format_version !== format) return undefined;
    const entries = Object.entries(files as Record<string, Record<string, unknown>>);
    return new Map(entries.map(([name, entry]) => [name, checked(name, entry)]));
  } catch {
    return undefined;
  }
}

/** The hashes become names of files, so they must be hashes. */
function checked(name: string, entry: Record<string, unknown>): ListedFile {
  const { size, blob_id, lfs_sha256, lfs_size, xet_hash } = entry;
  if (!isSize(size) || !isHash(blob_id, 40)) throw malformed(`no size and hash of ${name}`);
  const file: ListedFile = { size, blob_id };
  if (lfs_sha256 !== undefined && lfs_sha256 !== null) {
    if (!isHash(lfs_sha256, 64)) throw malformed(`no SHA-256 of ${name}`);
    file.lfs_sha256 = lfs_sha256;
    if (isSize(lfs_size)) file.lfs_size = lfs_size;
  }
  if (typeof xet_hash === 'string') file.xet_hash = xet_hash;
  return file;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isHash(value: unknown, digits: number): value is string {
  return typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value);
}

function malformed(what: string): MaskPredictError {
  return new MaskPredictError(
    'ERR_HUB_CONTENT',
    `its answer has ${what}; is HF_ENDPOINT the address of a hub?`,
  );
}
