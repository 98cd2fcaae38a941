/** The header of a safetensors file that a training wrote: the tensors' places, and what is said beside them. */
import type { FileHandle } from 'node:fs/promises';

export interface SafetensorsHeader {
  /** By tensor and by `__metadata__`, unchecked. */
  entries: Record<string, unknown>;
  /** Where the data begin in the file, and their bytes. */
  begin: number;
  bytes: number;
}

/** Bytes of a header, at most, as the format has it. */
const longest = 100e6;

/** Throws an Error that says what is wrong with the file. */
export async function readSafetensorsHeader(file: FileHandle): Promise<SafetensorsHeader> {
  const { size } = await file.stat();
  const start = await readAt(file, 0, 8);
  const length = start.length < 8 ? NaN : Number(start.readBigUInt64LE());
  if (!(length > 0 && length <= Math.min(longest, size - 8)))
    throw new Error('is no safetensors file');
  const text = (await readAt(file, 8, length)).toString();
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (cause) {
    throw new Error('has a header that is not JSON', { cause });
  }
  if (typeof entries !== 'object' || entries === null || Array.isArray(entries)) {
    throw new Error('has a header that is no JSON object');
  }
  return { entries: { ...entries }, begin: 8 + length, bytes: size - 8 - length };
}

/** `length` bytes from `position` on; fewer where the file ends. */
export async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) return buffer.subarray(0, done);
    done += bytesRead;
  }
  return buffer;
}
