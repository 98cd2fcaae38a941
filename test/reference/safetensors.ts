/**
 * Reads the tensors of a `.safetensors` file, or of all shards of a directory: F32, F16 and BF16 as doubles,
 * I32 as it is. It trusts the file: for the project's own fixtures only.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromBf16, fromFp16 } from './stored.js';

export interface Tensor<Values = Float64Array | Int32Array> {
  shape: number[];
  values: Values;
}

export class Tensors {
  readonly #byName = new Map<string, Tensor>();

  /** One file. */
  static file(path: string): Tensors {
    const tensors = new Tensors();
    tensors.#add(path);
    return tensors;
  }

  /** `model*.safetensors` of a checkpoint directory. */
  static checkpoint(directory: string): Tensors {
    const tensors = new Tensors();
    for (const name of readdirSync(directory))
      if (/^model.*\.safetensors$/.test(name)) tensors.#add(join(directory, name));
    return tensors;
  }

  #add(path: string): void {
    const file = readFileSync(path);
    const start = 8 + Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    for (const [name, entry] of Object.entries(header)) {
      if (name === '__metadata__') continue;
      const [begin, end] = entry.data_offsets;
      const bytes = new Uint8Array(file.subarray(start + begin, start + end)).buffer;
      this.#byName.set(name, { shape: entry.shape, values: decode(bytes, entry.dtype) });
    }
  }

  names(): string[] {
    return [...this.#byName.keys()];
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  get(name: string): Tensor<Float64Array> {
    const tensor = this.#byName.get(name);
    if (!(tensor?.values instanceof Float64Array)) throw new Error(`no float tensor ${name}`);
    return tensor as Tensor<Float64Array>;
  }

  integers(name: string): Tensor<Int32Array> {
    const tensor = this.#byName.get(name);
    if (!(tensor?.values instanceof Int32Array)) throw new Error(`no I32 tensor ${name}`);
    return tensor as Tensor<Int32Array>;
  }
}

function decode(bytes: ArrayBuffer, type: string): Float64Array | Int32Array {
  switch (type) {
    case 'F32':
      return Float64Array.from(new Float32Array(bytes));
    case 'F16':
      return Float64Array.from(new Uint16Array(bytes), fromFp16);
    case 'BF16':
      return Float64Array.from(new Uint16Array(bytes), fromBf16);
    case 'I32':
      return new Int32Array(bytes);
    default:
      throw new Error(`no reader for ${type}`);
  }
}
