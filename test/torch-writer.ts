/**
 * Files as torch.save writes them, right or wrong ones: pickles of any value, and the two containers around them.
 */
import type { StoredTensor, Tensors } from './safetensors-writer.js';

export class Tuple {
  constructor(readonly items: readonly Pickled[]) {}
}
/** A name in a Python module. */
export class Global {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}
}
/** The object that calling `callable` gives, with `state` put into it and `items` set if there are some. */
export class Made {
  constructor(
    readonly callable: Pickled,
    readonly args: Pickled,
    readonly state?: Pickled,
    readonly items?: Map<string, Pickled>,
  ) {}
}
/** Bytes of a storage; the same object twice is the same storage. */
export class Storage {
  constructor(
    readonly type: string,
    readonly bytes: Buffer,
    readonly valueBytes: number,
    /** The number of values that the pickle states; default: as many as there are. */
    readonly values = bytes.length / valueBytes,
  ) {}
}
/** Opcodes as they are. */
export class Opcodes {
  constructor(readonly bytes: Buffer) {}
}

export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Tuple
  | Global
  | Made
  | Storage
  | Opcodes
  | Pickled[]
  | Map<string, Pickled>;

export const tuple = (...items: Pickled[]) => new Tuple(items);

const rebuildTensor = new Global('torch._utils', '_rebuild_tensor_v2');
const orderedDictionary = new Made(new Global('collections', 'OrderedDict'), tuple());
const storageTypes: Record<string, [string, number]> = {
  F32: ['FloatStorage', 4],
  F16: ['HalfStorage', 2],
  BF16: ['BFloat16Storage', 2],
  F64: ['DoubleStorage', 8],
  I64: ['LongStorage', 8],
};

/** A tensor of a storage: torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict()). */
export function view(
  storage: Pickled,
  offset: Pickled,
  shape: readonly Pickled[],
  strides: readonly Pickled[],
): Made {
  const args = [storage, offset, new Tuple(shape), new Tuple(strides), false, orderedDictionary];
  return new Made(rebuildTensor, new Tuple(args));
}

export function storageOf({ dtype, bytes }: StoredTensor): Storage {
  const [name, width] = storageTypes[dtype]!;
  return new Storage(name, Buffer.from(bytes), width);
}

export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  shape.reduceRight((stride, extent, i) => {
    strides[i] = stride;
    return stride * extent;
  }, 1);
  return strides;
}

export const torchTensor = (tensor: StoredTensor): Made =>
  view(storageOf(tensor), 0, tensor.shape, rowMajor(tensor.shape));

/** A state dictionary. */
export function stateOf(tensors: Tensors): Map<string, Pickled> {
  return new Map([...tensors].map(([name, tensor]) => [name, torchTensor(tensor)]));
}

function number(value: number | bigint, bytes: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)));
  return buffer.subarray(0, bytes);
}

/** A pickle of protocol 2, and the storages it names, in order; their keys are 0, 1, 2, … */
export function pickle(value: Pickled): { bytes: Buffer; storages: Storage[] } {
  const parts: Buffer[] = [Buffer.from([0x80, 2])];
  const storages: Storage[] = [];
  const op = (code: string, ...operands: Buffer[]) =>
    parts.push(Buffer.from(code, 'latin1'), ...operands);
  const text = (value: string) => op('X', number(Buffer.byteLength(value), 4), Buffer.from(value));
  const write = (value: Pickled): void => {
    if (value === null) op('N');
    else if (typeof value === 'boolean') op(value ? '\x88' : '\x89');
    else if (typeof value === 'string') text(value);
    else if (typeof value === 'number' && !Number.isInteger(value)) {
      const real = Buffer.alloc(8);
      real.writeDoubleBE(value);
      op('G', real);
    } else if (typeof value === 'number' && value === (value | 0)) op('J', number(value, 4));
    else if (typeof value === 'number' || typeof value === 'bigint')
      op('\x8a', Buffer.from([8]), number(value, 8));
    else if (value instanceof Tuple) {
      op('(');
      value.items.forEach(write);
      op('t');
    } else if (value instanceof Global) op('c', Buffer.from(`${value.module}\n${value.name}\n`));
    else if (value instanceof Made) {
      write(value.callable);
      write(value.args);
      op('R');
      if (value.items) writeItems(value.items);
      if (value.state !== undefined) {
        write(value.state);
        op('b');
      }
    } else if (value instanceof Storage) {
      if (!storages.includes(value)) storages.push(value);
      const key = String(storages.indexOf(value));
      write(tuple('storage', new Global('torch', value.type), key, 'cpu', value.values));
      op('Q');
    } else if (value instanceof Opcodes) parts.push(value.bytes);
    else if (Array.isArray(value)) {
      op('](');
      value.forEach(write);
      op('e');
    } else {
      op('}');
      writeItems(value);
    }
  };
  const writeItems = (items: Map<string, Pickled>) => {
    op('(');
    for (const [key, member] of items) {
      text(key);
      write(member);
    }
    op('u');
  };
  write(value);
  op('.');
  return { bytes: Buffer.concat(parts), storages };
}

export interface ZipEntry {
  name: string;
  content: Buffer;
  /** 0: stored. */
  method?: number;
  flags?: number;
}

/** A zip archive without compression; `large` writes zip64's fields as archives above 4 GiB have them. */
export function zip(entries: readonly ZipEntry[], { large = false } = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  const put = (...buffers: Buffer[]) => {
    parts.push(...buffers);
    at += buffers.reduce((sum, { length }) => sum + length, 0);
  };
  const short = (value: number) => number(value, 2);
  const long = (value: number) => number(value, 4);
  for (const { name, content, method = 0, flags = 0 } of entries) {
    const start = at;
    const size = long(content.length);
    const local = [short(45), short(flags), short(method), long(0), long(0)];
    const title = Buffer.from(name);
    const names = [short(title.length), short(0), title];
    put(Buffer.from('PK\x03\x04'), ...local, size, size, ...names, content);
    const elsewhere = long(-1);
    const extra = large
      ? [1, 24].map(short).concat([content.length, content.length, start].map((n) => number(n, 8)))
      : [];
    directory.push(
      ...[Buffer.from('PK\x01\x02'), short(45), ...local],
      ...(large ? [elsewhere, elsewhere] : [size, size]),
      ...[short(title.length), short(large ? 28 : 0), short(0), short(0), short(0), long(0)],
      ...[large ? elsewhere : long(start), title, ...extra],
    );
  }
  const start = at;
  put(...directory);
  const bytes = at - start;
  if (large) {
    const end = at;
    put(Buffer.from('PK\x06\x06'), number(44, 8), short(45), short(45), long(0), long(0));
    put(...[entries.length, entries.length, bytes, start].map((n) => number(n, 8)));
    put(Buffer.from('PK\x06\x07'), long(0), number(end, 8), long(1));
  }
  const count = short(large ? -1 : entries.length);
  put(Buffer.from('PK\x05\x06'), short(0), short(0), count, count);
  put(long(large ? -1 : bytes), long(large ? -1 : start), short(0));
  return Buffer.concat(parts);
}

/** The entries of the archive torch.save writes for a value. */
export function torchEntries(value: Pickled): ZipEntry[] {
  const { bytes, storages } = pickle(value);
  return [
    { name: 'archive/data.pkl', content: bytes },
    ...storages.map(({ bytes }, key) => ({ name: `archive/data/${key}`, content: bytes })),
    { name: 'archive/version', content: Buffer.from('3\n') },
  ];
}

export const torchFile = (value: Pickled): Buffer => zip(torchEntries(value));

const machine = new Map<string, Pickled>([
  ['protocol_version', 1001],
  ['little_endian', true],
]);
const magic = new Opcodes(Buffer.from('8a0a6cfc9c46f9206aa85019', 'hex'));

export interface Legacy {
  magic: Pickled;
  version: Pickled;
  machine: Pickled;
  keys: Pickled[];
  /** Behind the storages. */
  rest: Buffer;
}

/** The format before torch 1.6, with some parts changed. */
export function legacyTorchFile(value: Pickled, change: Partial<Legacy> = {}): Buffer {
  const { bytes, storages } = pickle(value);
  const keys = change.keys ?? storages.map((_, key) => String(key));
  return Buffer.concat([
    ...[change.magic ?? magic, change.version ?? 1001, change.machine ?? machine].map(
      (part) => pickle(part).bytes,
    ),
    bytes,
    pickle(keys).bytes,
    ...storages.flatMap(({ bytes, valueBytes }) => [number(bytes.length / valueBytes, 8), bytes]),
    change.rest ?? Buffer.alloc(0),
  ]);
}
