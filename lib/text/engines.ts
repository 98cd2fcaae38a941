/** The engines of a model: one, or with the option `devices` one for each of them, loaded side by side. */
import { onAbort } from '../abort.js';
import { invalidArgument, shown } from '../errors.js';
import { checkFunction, checkSignal } from '../options.js';
import type { Engine } from '../token/engine.js';
import type { Device, EngineLoadOptions } from '../token/engine-options.js';

/** The option `devices`, checked; undefined where it is not given. @internal */
export function readDevices(devices: unknown, device: unknown): Device[] | undefined {
  if (devices === undefined) return undefined;
  if (device !== undefined) {
    throw invalidArgument(
      `device and devices exclude each other: name all devices in devices, or one in device`,
    );
  }
  if (!Array.isArray(devices) || devices.length === 0) {
    const what = Array.isArray(devices) ? 'an empty one' : shown(devices);
    throw invalidArgument(
      `devices must be an array of devices such as ['cuda:0', 'cuda:1'], not ${what}`,
    );
  }
  const names = Array.from(devices as unknown[]);
  names.forEach((name, index) => {
    if (typeof name !== 'string') {
      throw invalidArgument(`devices[${index}] must be a string, not ${shown(name)}`);
    }
    if (name === 'auto') {
      throw invalidArgument(
        `devices[${index}] is 'auto', which may be any device; name each of them, or give device: 'auto'`,
      );
    }
    const first = names.indexOf(name);
    if (first < index) throw twice(first, index, name);
  });
  if (names.length > 1 && names.includes('cpu')) {
    throw invalidArgument(
      `devices has 'cpu' beside GPUs: the bits of an answer would depend on where it was made; leave one or the other out`,
    );
  }
  return names as Device[];
}

/** One engine for each device, in their order. What one of them fails with ends the loading of all. @internal */
export async function loadEngines(
  devices: readonly Device[],
  load: (options: EngineLoadOptions) => Promise<Engine>,
  options: EngineLoadOptions,
): Promise<Engine[]> {
  const { signal, onProgress } = options;
  checkSignal(signal);
  checkFunction('onProgress', onProgress);
  const stop = new AbortController();
  const forget = onAbort(signal, () => stop.abort(signal!.reason));
  const fractions = devices.map(() => 0);
  const loadOne = async (device: Device, index: number) => {
    const report = (fraction: number) => {
      fractions[index] = fraction;
      onProgress?.(fractions.reduce((sum, value) => sum + value, 0) / devices.length);
    };
    try {
      return await load({
        ...options,
        device,
        signal: stop.signal,
        ...(onProgress && { onProgress: report }),
      });
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  };
  signal?.throwIfAborted();
  const outcomes = await Promise.allSettled(devices.map(loadOne));
  forget();
  const engines = outcomes.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  try {
    if (engines.length < devices.length) throw stop.signal.reason;
    checkDifferent(devices, engines);
  } catch (error) {
    await Promise.all(engines.map((engine) => engine.close()));
    throw error;
  }
  return engines;
}

/** A GPU may have several names. */
function checkDifferent(devices: readonly Device[], engines: readonly Engine[]): void {
  const names = engines.map(({ device }) => device);
  names.forEach((name, index) => {
    const first = names.indexOf(name);
    if (first < index) throw twice(first, index, `${devices[first]}' and '${devices[index]}`, name);
  });
}

function twice(first: number, second: number, name: string, device?: string): Error {
  const same = device === undefined ? '' : `, which are the same one, ${device}`;
  return invalidArgument(
    `devices[${first}] and devices[${second}] are '${name}'${same}: name each device once`,
  );
}
