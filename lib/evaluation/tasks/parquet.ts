/** Parquet files through `hyparquet`, which is loaded when there is one: an optional peer, with `hyparquet-compressors`. */
import { invalidArgument, MaskPredictError } from '../../errors.js';
import type { Row } from './tasks.js';

interface Hyparquet {
  asyncBufferFromFile(file: string): Promise<unknown>;
  parquetReadObjects(options: {
    file: unknown;
    compressors: unknown;
  }): Promise<Record<string, unknown>[]>;
}

/** All rows of a file, its 64-bit integers as numbers. @internal */
export async function readParquet(file: string): Promise<Row[]> {
  const { asyncBufferFromFile, parquetReadObjects } = (await loaded(
    file,
    'hyparquet',
  )) as Hyparquet;
  const { compressors } = (await loaded(file, 'hyparquet-compressors')) as { compressors: unknown };
  try {
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file), compressors });
    return rows.map((row) => plain(row) as Row);
  } catch (cause) {
    throw new MaskPredictError(
      'ERR_INVALID_ARGUMENT',
      `${file} cannot be read as Parquet: ${(cause as Error).message}`,
      { cause },
    );
  }
}

async function loaded(file: string, name: string): Promise<unknown> {
  try {
    return (await import(name)) as unknown;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw invalidArgument(
      `${file} is Parquet, which the package ${name} reads: npm install hyparquet hyparquet-compressors`,
    );
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (
    typeof value !== 'object' ||
    value === null ||
    Object.getPrototypeOf(value) !== Object.prototype
  )
    return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]));
}
