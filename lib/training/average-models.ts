/**
 * Several models of one training become one: each weight is the mean of theirs. Models near the end of a training lie around
 * a better one than any of them, as Vaswani et al. (2017) and Popel and Bojar (2018) found for translation.
 */
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { checkOptions, checkSignal } from '../options.js';
import { tokenizerFile } from '../text/loading.js';
import { addedTokensFile } from '../text/model-files.js';
import { written } from '../token/saved-model.js';
import { readAt, readSafetensorsHeader } from './safetensors-header.js';
import { replaceDirectory, writeWhole } from './whole-directory.js';

export interface AverageModelsOptions {
  /** The type that the means are rounded to. Default: that of the first model. */
  precision?: 'fp32' | 'fp16' | 'bf16';
  signal?: AbortSignal;
}

type StoredType = 'F32' | 'F16' | 'BF16';

interface StoredTensor {
  dtype: StoredType;
  shape: number[];
  /** Bytes from the beginning of the data to the tensor's beginning and end. */
  data_offsets: [number, number];
}

interface ModelFile {
  directory: string;
  handle: FileHandle;
  /** The offset of the data in the file. */
  begin: number;
  tensors: Map<string, StoredTensor>;
}

const weightsFile = 'model.safetensors';
const companions = ['config.json', tokenizerFile, addedTokensFile];
const bytesOf = { F32: 4, F16: 2, BF16: 2 } as const;
const types = { fp32: 'F32', fp16: 'F16', bf16: 'BF16' } as const;
/** Values that are in memory at once, of each model. */
const pieceSize = 1 << 18;

/**
 * Writes to `out` the mean of the models in `directories`, at least two, each as {@link Trainer.save} writes it: one
 * `model.safetensors` of F32, F16 or BF16. They must have the same config.json, tokenizer, names and shapes:
 * `ERR_MODEL_FORMAT` names what differs. Sums are in double precision. `out` is written beside its place and renamed; one
 * that is there is replaced if it has nothing but a model's files.
 */
export async function averageModels(
  directories: readonly string[],
  out: string,
  options: AverageModelsOptions = {},
): Promise<void> {
  checkOptions('averageModels()', options, ['precision', 'signal']);
  const { precision, signal } = options;
  checkSignal(signal);
  if (precision !== undefined && !Object.hasOwn(types, precision)) {
    throw invalidArgument(`precision must be 'fp32', 'fp16' or 'bf16', not ${shown(precision)}`);
  }
  const all = Array.isArray(directories) ? (directories as readonly unknown[]) : [];
  if (all.length < 2 || !all.every((directory) => typeof directory === 'string')) {
    throw invalidArgument('an average needs at least two model directories');
  }
  if (directories.includes(out)) {
    throw invalidArgument(`${out} is one of the models; name another directory for the average`);
  }
  const shared = await readShared(directories);
  const files: ModelFile[] = [];
  try {
    for (const directory of directories) files.push(await openModel(directory));
    for (const file of files.slice(1)) checkSame(files[0]!, file);
    await replaceDirectory(out, [...companions, weightsFile], async (partial) => {
      await writeMeans(files, join(partial, weightsFile), precision && types[precision], signal);
      for (const [name, bytes] of shared) await writeWhole(join(partial, name), bytes);
    });
  } finally {
    for (const { handle } of files) await handle.close();
  }
}

/** The files beside the weights, which all models have alike. */
async function readShared(directories: readonly string[]): Promise<Map<string, Uint8Array>> {
  const shared = new Map<string, Uint8Array>();
  for (const name of companions) {
    const contents = await Promise.all(
      directories.map((directory) => readIfThere(join(directory, name))),
    );
    const [first] = contents;
    const other = contents.findIndex((content) => !sameContent(content, first));
    if (other >= 0) {
      throw new MaskPredictError(
        'ERR_MODEL_FORMAT',
        `${join(directories[other]!, name)} is not the one of ${directories[0]}: only models of one training have an average`,
      );
    }
    if (first) shared.set(name, first);
  }
  if (!shared.has('config.json')) {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${directories[0]} has no config.json`);
  }
  return shared;
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${path} cannot be read: ${error.message}`, {
      cause: error,
    });
  });
}

function sameContent(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

async function openModel(directory: string): Promise<ModelFile> {
  const path = join(directory, weightsFile);
  const failed = (reason: string, cause?: unknown) =>
    new MaskPredictError('ERR_MODEL_FORMAT', `${path} ${reason}`, { cause });
  const handle = await open(path, 'r').catch((cause: Error) => {
    throw failed(`cannot be read (${cause.message}): a saved model of a training has it`, cause);
  });
  try {
    const { entries, begin, bytes } = await readSafetensorsHeader(handle);
    const named = Object.entries(entries).filter(([name]) => name !== '__metadata__');
    const tensors = new Map(named.map(([name, entry]) => [name, readTensor(name, entry, bytes)]));
    return { directory, handle, begin, tensors };
  } catch (cause) {
    await handle.close();
    throw failed((cause as Error).message, cause);
  }
}

/** Throws an Error that says what is wrong with the tensor. */
function readTensor(name: string, entry: unknown, dataBytes: number): StoredTensor {
  const { dtype, shape, data_offsets } = { ...(entry as StoredTensor) };
  if (!Object.hasOwn(bytesOf, dtype)) {
    throw new Error(`has a tensor "${name}" of ${dtype}: only F32, F16 and BF16 have an average`);
  }
  const isList = [shape, data_offsets].every((list) => Array.isArray(list));
  const [begin, end] = isList ? data_offsets : [NaN, NaN];
  const fits = () => end - begin === valuesOf(shape) * bytesOf[dtype];
  if (!(begin >= 0 && end <= dataBytes && fits())) {
    throw new Error(`has a tensor "${name}" that does not lie in the file`);
  }
  return { dtype, shape, data_offsets };
}

function valuesOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function checkSame(first: ModelFile, other: ModelFile): void {
  const fail = (reason: string): never => {
    throw new MaskPredictError(
      'ERR_MODEL_FORMAT',
      `${other.directory} ${reason} ${first.directory}: only models of one training have an average`,
    );
  };
  for (const name of new Set([...first.tensors.keys(), ...other.tensors.keys()])) {
    const [a, b] = [first.tensors.get(name), other.tensors.get(name)];
    if (!a || !b || String(a.shape) !== String(b.shape)) {
      fail(`has not the tensor "${name}" of`);
    }
  }
}

async function writeMeans(
  files: readonly ModelFile[],
  path: string,
  type: StoredType | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const plan = [...files[0]!.tensors].map(([name, { dtype, shape }]) => ({
    name,
    shape,
    dtype: type ?? dtype,
    values: valuesOf(shape),
  }));
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const { name, shape, dtype, values } of plan) {
    header[name] = { dtype, shape, data_offsets: [end, (end += values * bytesOf[dtype])] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const target = await written(path, () => open(path, 'w'));
  const write = (bytes: Uint8Array) => written(path, () => target.writeFile(bytes));
  try {
    await write(Buffer.concat([length, padded]));
    for (const { name, dtype, values } of plan) {
      for (let from = 0; from < values; from += pieceSize) {
        signal?.throwIfAborted();
        await write(
          encode(await meanOf(files, name, from, Math.min(pieceSize, values - from)), dtype),
        );
      }
    }
    await written(path, () => target.sync());
  } finally {
    await target.close();
  }
}

async function meanOf(
  files: readonly ModelFile[],
  name: string,
  from: number,
  count: number,
): Promise<Float64Array> {
  const sum = new Float64Array(count);
  for (const { handle, begin, tensors } of files) {
    const { dtype, data_offsets } = tensors.get(name)!;
    const size = bytesOf[dtype];
    const bytes = await readAt(handle, begin + data_offsets[0] + from * size, count * size);
    const value = decoders[dtype];
    for (let i = 0; i < count; i++) sum[i]! += value(bytes, i * size);
  }
  return sum.map((total) => total / files.length);
}

const word = new DataView(new ArrayBuffer(4));

function floatOfBits(bits: number): number {
  word.setUint32(0, bits >>> 0);
  return word.getFloat32(0);
}

const decoders: Record<StoredType, (bytes: Buffer, at: number) => number> = {
  F32: (bytes, at) => bytes.readFloatLE(at),
  BF16: (bytes, at) => floatOfBits(bytes.readUInt16LE(at) << 16),
  F16: (bytes, at) => halfToNumber(bytes.readUInt16LE(at)),
};

function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function encode(values: Float64Array, type: StoredType): Buffer {
  if (type === 'F32') return Buffer.from(Float32Array.from(values).buffer);
  const round = type === 'BF16' ? numberToBfloat16 : numberToHalf;
  return Buffer.from(Uint16Array.from(values, round).buffer);
}

/** To the nearest, ties to even. */
function numberToBfloat16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** To the nearest, ties to even; beyond the largest number infinity. */
function numberToHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (Number.isNaN(value)) return 0x7e00;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size || 1e-30)));
  const steps = roundToEven(size / 2 ** (exponent - 10));
  // A carry into the exponent is right as it is; below 2^-14 the exponent's field is 0.
  return sign | (steps < 1024 ? steps : ((exponent + 15) << 10) + (steps - 1024));
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
