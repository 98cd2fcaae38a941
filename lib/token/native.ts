/** The native addon, loaded once and told which class its errors are made of. */
import { createRequire } from 'node:module';
import type binding from '../../native/binding.cjs';
import { MaskPredictError } from '../errors.js';

// Not an import: Node.js 20 lets nobody catch what a CommonJS module throws while it is imported. Under this name bundlers
// follow the call to the binary.
const require = createRequire(import.meta.url);
export const native = load();

function load(): typeof binding {
  try {
    return require('../../native/binding.cjs') as typeof binding;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw cause;
    throw new MaskPredictError(
      'ERR_DEVICE',
      'mask-predict is in a bundle without the files that lie beside its code (addon, models, page). Leave it out of the ' +
        "bundle: esbuild --external:mask-predict, webpack externals: { 'mask-predict': 'module mask-predict' }, Next.js " +
        "serverExternalPackages: ['mask-predict']",
      { cause },
    );
  }
}

native.initialize(MaskPredictError as never);

/**
 * A result of the addon with the arrays and objects of the realm that this code runs in. The addon makes those of the
 * realm that loaded it first, which in a test runner that gives each file a realm of its own (Jest, Vitest's vmThreads) is
 * another one: there a Float32Array would not equal a Float32Array. The numbers are not copied.
 */
export const ofThisRealm: <T>(value: T) => T =
  native.operations instanceof Object ? (value) => value : inThisRealm;

function inThisRealm<T>(value: T): T {
  return moved(value) as T;
}

const typedArrays = { Float32Array, Int32Array, Uint8Array, Uint16Array };

function moved(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Object) return value;
  if (Array.isArray(value)) return Array.from(value, moved);
  if (ArrayBuffer.isView(value)) {
    const name = Object.prototype.toString.call(value).slice(8, -1) as keyof typeof typedArrays;
    const { buffer, byteOffset, length } = value as unknown as {
      buffer: ArrayBuffer;
      byteOffset: number;
      length: number;
    };
    return new typedArrays[name](buffer, byteOffset, length);
  }
  // An instance of one of the addon's classes, such as NativeSource, stays: the package wraps it and never shows it.
  if (Object.getPrototypeOf(Object.getPrototypeOf(value)) !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, moved(own)]));
}
