/**
 * A lock between processes, and between calls of one process: the lock of the system on a file (`flock`), the one that
 * Python's huggingface_hub takes on the same file. A process that ends, however it ends, holds it no longer.
 *
 * It saves work and guards the part that a transfer left. Where a file system has no such locks, nothing is locked:
 * two transfers of a content then write the same bytes to the same places.
 */
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { native } from '../token/native.js';

const interval = 100;

/** Does `work` while it has the lock on `path`. `waiting` is called again and again while another one has it. */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  waiting: () => Promise<void>,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    const file = await open(path, 'a', 0o664);
    try {
      while (native.lockFile(file.fd) === 'busy') {
        await wait(interval, undefined, signal && { signal }).catch(() => signal?.throwIfAborted());
        await waiting();
      }
      if (await isStill(file, path)) return await work();
    } finally {
      await file.close();
    }
  }
}

/** True if `path` is still the file that is locked: whoever cleans a cache may have removed it. */
async function isStill(file: FileHandle, path: string): Promise<boolean> {
  const [own, named] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
  return named !== undefined && own.ino === named.ino && own.dev === named.dev;
}
