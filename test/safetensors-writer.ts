/**
 * Writes safetensors files, wrong ones too: a header is a list of entries rather than an object, so that
 * it can have any order, any name and the same name twice; header, bytes and the length between them are
 * put together without a check.
 */
export interface StoredTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export type Tensors = Map<string, StoredTensor>;

export type Header = [name: string, description: unknown][];

/** The tensors of a file that is known to be right. */
export function readTensors(file: Buffer): Tensors {
  const begin = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, begin)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors: Tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bytes = file.subarray(begin + offsets[0], begin + offsets[1]);
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
}

/** Header and bytes of a right file with the tensors in the order given. */
export function layOut(tensors: Tensors): { header: Header; data: Buffer } {
  const header: Header = [];
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header.push([name, { dtype, shape, data_offsets: [end, (end += bytes.length)] }]);
  }
  return { header, data: Buffer.concat([...tensors.values()].map((tensor) => tensor.bytes)) };
}

export function headerText(header: Header): string {
  const members = header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return `{${members.join(',')}}`;
}

/** `length` is what the file says its header's length is. */
export function safetensors(
  header: string | Uint8Array,
  data: Uint8Array,
  length = BigInt(Buffer.from(header).length),
): Buffer {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length);
  return Buffer.concat([prefix, Buffer.from(header), data]);
}

export function safetensorsOf(tensors: Tensors): Buffer {
  const { header, data } = layOut(tensors);
  return safetensors(headerText(header), data);
}
