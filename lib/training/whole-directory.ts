/**
 * A directory that is written beside its place and renamed into it when it is whole. A crash leaves the old one or the
 * new one, never a part: at the worst the old one lies beside its place, where {@link restoreDirectory} finds it.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { invalidArgument } from '../errors.js';
import { written } from '../token/saved-model.js';

const replacedName = (directory: string) => `${directory}.replaced`;

/** Puts back what a crash in the middle of a replacement left beside its place. */
export async function restoreDirectory(directory: string): Promise<void> {
  const replaced = replacedName(directory);
  if (existsSync(directory) || !existsSync(replaced)) return;
  await written(directory, () => rename(replaced, directory));
}

/**
 * Makes `directory` what `write` puts into the empty directory it is given. One that is there already is replaced, but
 * only if it has no other files than `own`: it could be anybody's.
 */
export async function replaceDirectory(
  directory: string,
  own: readonly string[],
  write: (directory: string) => Promise<void>,
): Promise<void> {
  if (typeof directory !== 'string' || directory === '') {
    throw invalidArgument('the directory to save to must be a string');
  }
  await restoreDirectory(directory);
  const there = existsSync(directory);
  const files = there ? await written(directory, () => readdir(directory)) : [];
  const other = files.find((file) => !own.includes(file));
  if (other !== undefined) {
    throw invalidArgument(
      `${directory} has a file ${other}, which is not of a saved model; name another directory`,
    );
  }
  const partial = `${directory}.partial`;
  const replaced = replacedName(directory);
  await written(partial, async () => {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
  });
  try {
    await write(partial);
    await flush(partial);
    if (there) await written(directory, () => rename(directory, replaced));
    await written(directory, () => rename(partial, directory));
    await flush(dirname(directory));
    await rm(replaced, { recursive: true, force: true });
  } catch (error) {
    await restoreDirectory(directory);
    await rm(partial, { recursive: true, force: true }).catch(() => {});
    throw error;
  }
}

/** Writes a small file, to the disk. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await written(path, async () => {
    const file = await open(path, 'w');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

/** Forces a directory to the disk, so that renames in it last. Not every system can do that. */
async function flush(directory: string): Promise<void> {
  const handle = await open(directory, 'r').catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
