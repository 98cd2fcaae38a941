/**
 * A content comes into the cache: at most one process at a time transfers it, from where the last one stopped, and it gets
 * its name when its size and its hash are those of the listing.
 */
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MaskPredictError } from '../errors.js';
import type { RepositoryCache } from './cache.js';
import type { Answer, Hub } from './hub.js';
import type { HubFile } from './listing.js';
import { withLock } from './lock.js';
import { PartialFile } from './partial-file.js';
import { Interruption, persist } from './persistence.js';

const retries = 5;

export interface TransferTask {
  hub: Hub;
  cache: RepositoryCache;
  commit: string;
  pause: number;
  signal: AbortSignal | undefined;
  /** Called with the bytes that are here, also where another process transfers them. */
  report: (bytes: number) => void;
}

/** Makes `file` part of the snapshot. */
export function transfer(file: HubFile, task: TransferTask): Promise<void> {
  const { cache, commit, signal, report } = task;
  const blob = cache.blob(file.hash);
  const part = cache.partial(file.hash);
  const reportOther = async () => report((await stat(part).catch(() => undefined))?.size ?? 0);
  return cache.writing(() =>
    withLock(cache.lock(file.hash), signal, reportOther, async () => {
      if (await cache.has(commit, file.name, file.size)) return;
      const fresh = !(await cache.hasBlob(file));
      if (fresh) {
        await mkdir(dirname(blob), { recursive: true });
        await complete(part, file, task);
        await rename(part, blob);
      }
      await cache.show(commit, file, fresh);
    }),
  );
}

/** The part becomes the whole, or an error. */
async function complete(path: string, file: HubFile, task: TransferTask): Promise<void> {
  const part = await PartialFile.open(path, file);
  try {
    const resumed = part.length > 0;
    await receiveAll(part, file, task);
    if (part.digest() !== file.hash && resumed) {
      // The bytes of the earlier transfer may be the wrong ones, after a power failure for instance.
      await part.startAgain();
      await receiveAll(part, file, task);
    }
    if (part.digest() !== file.hash) {
      await rm(path, { force: true });
      throw wrongContent(file, `its ${nameOf(file)} is ${part.digest()}, not ${file.hash}`);
    }
    await part.settle();
  } finally {
    await part.close();
  }
}

function receiveAll(part: PartialFile, file: HubFile, task: TransferTask): Promise<void> {
  const { hub, commit, pause, signal, report } = task;
  report(part.length);
  return persist({ retries, pause, signal, reached: () => part.length }, async () => {
    if (part.missing === 0) return;
    const answer = await hub.file(commit, file.name, part.length);
    try {
      await receive(answer, part, file, report);
    } finally {
      await answer.discard();
    }
  });
}

/** Appends what an answer has; throws an Interruption where it ends too early. */
async function receive(
  answer: Answer,
  part: PartialFile,
  file: HubFile,
  report: (bytes: number) => void,
): Promise<void> {
  await checkHead(answer.response, part, file);
  for await (const bytes of answer.read()) {
    if (bytes.length > part.missing) {
      throw wrongContent(file, `it has more than the ${file.size} bytes it should have`);
    }
    await part.append(bytes);
    report(part.length);
  }
  if (part.missing > 0) {
    throw new Interruption(
      `the connection ended ${part.missing} bytes before the end of ${file.name}`,
    );
  }
}

/** The answer must go on where the part ends, or begin at the first byte, and agree about the size. */
async function checkHead(
  { status, headers }: Response,
  part: PartialFile,
  file: HubFile,
): Promise<void> {
  if (status === 206) {
    const [, from, total] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
    if (Number(from) !== part.length) {
      throw wrongContent(file, `bytes from ${part.length} on were asked for, and others came`);
    }
    if (total !== '*') checkSize(Number(total), file);
  } else if (status === 200) {
    const length = headers.get('content-length');
    if (length !== null && !headers.has('content-encoding')) checkSize(Number(length), file);
    part.rewind();
  } else {
    await part.startAgain();
    throw new Interruption(`the hub does not go on with ${file.name} (status ${status})`);
  }
}

function checkSize(size: number, file: HubFile): void {
  if (size === file.size) return;
  throw wrongContent(file, `it has ${size} bytes instead of ${file.size}`);
}

function wrongContent({ name }: HubFile, reason: string): MaskPredictError {
  return new MaskPredictError(
    'ERR_HUB_CONTENT',
    `the ${name} that the hub sends is not the one that it lists: ${reason}; nothing of it was kept under its name. ` +
      `Try again; if that does not help, something between here and the hub changes files`,
  );
}

function nameOf({ algorithm }: HubFile): string {
  return algorithm === 'sha256' ? 'SHA-256' : 'SHA-1 of git';
}
