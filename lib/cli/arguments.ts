/**
 * Arguments of the commands: names and types by node:util's parseArgs, values checked here. Whatever is wrong
 * with them is a {@link UsageError} that names the option and what it takes.
 */
import { parseArgs } from 'node:util';
import type { ModelOptions } from '../text/loading.js';
import type { Device, EngineLoadOptions, Precision } from '../token/engine-options.js';
import type { TextOptions } from '../text/text.js';

/** The command line is wrong; the message says where. */
export class UsageError extends Error {}

export interface OptionTable {
  [name: string]: { type: 'string' | 'boolean'; short?: string; multiple?: boolean };
}

export const hubOptions: OptionTable = {
  revision: { type: 'string' },
  cache: { type: 'string' },
  offline: { type: 'boolean' },
};

export const modelOptions: OptionTable = {
  model: { type: 'string' },
  ...hubOptions,
  device: { type: 'string' },
  devices: { type: 'string' },
  precision: { type: 'string' },
  'head-precision': { type: 'string' },
  threads: { type: 'string' },
  'memory-limit': { type: 'string' },
  'no-map': { type: 'boolean' },
};

export const textOptions: OptionTable = {
  'parse-special': { type: 'boolean' },
  'no-truncate': { type: 'boolean' },
};

const precisions: readonly Precision[] = ['auto', 'fp32', 'bf16', 'fp16', 'int8', 'fp8'];
/** `simt` is the emulated GPU of a test build. */
const deviceName = /^(auto|cpu|(cuda|simt)(:(\d+|(GPU|MIG)-[\da-f-]+))?)$/i;
const units: Record<string, number> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

const durations: Record<string, number> = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 };

/** The options and texts of one command. */
export class Arguments {
  readonly texts: string[];
  readonly #values: Record<string, string | boolean | string[] | undefined>;

  constructor(given: readonly string[], table: OptionTable) {
    // Node.js turns bytes that are not UTF-8 into this character, so nobody wrote such a text.
    if (given.some((argument) => argument.includes('\ufffd'))) {
      throw new UsageError('an argument is not UTF-8: use a terminal and a locale in UTF-8');
    }
    try {
      const { values, positionals } = parseArgs({
        args: [...given],
        options: table,
        allowPositionals: true,
      });
      this.texts = positionals;
      this.#values = values as Record<string, string | boolean | string[] | undefined>;
    } catch (error) {
      throw new UsageError((error as Error).message);
    }
  }

  has(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    return this.#values[name] as string | undefined;
  }

  /** All values of an option that may be given several times. */
  list(name: string): string[] {
    return (this.#values[name] as string[] | undefined) ?? [];
  }

  /** The first two of `names` that are both given are a UsageError. */
  atMostOne(...names: string[]): void {
    const [first, second] = names.filter((name) => this.#values[name] !== undefined);
    if (second !== undefined) throw new UsageError(`--${first} and --${second} exclude each other`);
  }

  integer(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      throw new UsageError(
        `--${name} takes a whole number from ${least} to ${most}, not '${text}'`,
      );
    }
    return value;
  }

  /** A decimal number. */
  number(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^\d*\.?\d+(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      const range = most === Number.MAX_VALUE ? `${least} up` : `${least} to ${most}`;
      throw new UsageError(`--${name} takes a number from ${range}, not '${text}'`);
    }
    return value;
  }

  choice<T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.text(name);
    if (text === undefined || values.includes(text as T)) return text as T | undefined;
    throw new UsageError(`--${name} takes ${values.join(', ')}, not '${text}'`);
  }

  /** Milliseconds. */
  duration(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const [, number, unit] = /^(\d+(?:\.\d+)?) ?(s|m|h|d)$/.exec(text) ?? [];
    const milliseconds = Math.floor(Number(number) * (durations[unit ?? ''] ?? NaN));
    if (!(milliseconds >= 1 && milliseconds <= Number.MAX_SAFE_INTEGER)) {
      throw new UsageError(`--${name} takes a time such as 30s, 90m, 12h or 2d, not '${text}'`);
    }
    return milliseconds;
  }

  bigInteger(name: string): bigint | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^-?\d+$/.test(text))
      throw new UsageError(`--${name} takes a whole number, not '${text}'`);
    return BigInt(text);
  }

  /** Options of {@link modelOptions}, but the model itself. */
  engineOptions(): EngineLoadOptions & Pick<ModelOptions, 'devices'> {
    this.atMostOne('device', 'devices');
    const device = this.text('device');
    if (device !== undefined && !deviceName.test(device)) {
      throw new UsageError(`--device takes auto, cpu, cuda, cuda:N or cuda:UUID, not '${device}'`);
    }
    const devices = this.text('devices')?.split(',');
    if (devices?.some((name) => name === 'auto' || !deviceName.test(name))) {
      throw new UsageError(
        `--devices takes GPUs such as cuda:0,cuda:1, not '${this.text('devices')}'`,
      );
    }
    const precision = this.choice('precision', precisions);
    const headPrecision = this.choice('head-precision', precisions);
    const threads = this.integer('threads', 1, 256);
    const memoryLimit = this.bytes('memory-limit');
    return {
      ...(device !== undefined && { device: device as Device }),
      ...(devices !== undefined && { devices: devices as Device[] }),
      ...(precision !== undefined && { precision }),
      ...(headPrecision !== undefined && { headPrecision }),
      ...(threads !== undefined && { threads }),
      ...(memoryLimit !== undefined && { memoryLimit }),
      ...(this.has('no-map') && { map: false }),
    };
  }

  /** Options of {@link textOptions}. */
  textOptions(): TextOptions {
    return {
      parseSpecial: this.has('parse-special'),
      overflow: this.has('no-truncate') ? 'error' : 'truncate',
    };
  }

  bytes(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const [, number, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
    const bytes = Math.floor(Number(number) * (units[unit?.toLowerCase() ?? ''] ?? NaN));
    if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER)) {
      throw new UsageError(`--${name} takes bytes such as 4GiB, 500MB or 1000000, not '${text}'`);
    }
    return bytes;
  }
}
