/** The native conversion for as long as it is used: its calls stop with a signal, and with a callback that throws. */
import type { Call, NativeConversion } from '../../native/binding.cjs';
import { onAbort } from '../abort.js';
import { native } from '../token/native.js';

export interface ConversionOptions {
  signal?: AbortSignal | undefined;
  /** Called with 0 … 1 while the weights are written. */
  onProgress?: ((fraction: number) => void) | undefined;
}

/** Runs one call of the conversion to its end; rejects with the signal's reason, or with what `onProgress` threw. */
export type Run = <T>(start: (conversion: NativeConversion) => Call<T>) => Promise<T>;

export async function withConversion<T>(
  { signal, onProgress }: ConversionOptions,
  work: (run: Run) => Promise<T>,
): Promise<T> {
  let failure: { error: unknown } | undefined;
  let running = 0;
  const conversion = new native.NativeConversion(
    onProgress
      ? (fraction) => {
          try {
            onProgress(fraction);
          } catch (error) {
            failure ??= { error };
            conversion.cancel(running);
          }
        }
      : null,
  );
  try {
    return await work(async (start) => {
      signal?.throwIfAborted();
      const call = start(conversion);
      running = call.id;
      const forget = onAbort(signal, () => conversion.cancel(call.id));
      let outcome;
      try {
        outcome = { result: await call.promise };
      } catch (error) {
        failure ??= { error };
      } finally {
        forget();
      }
      signal?.throwIfAborted();
      if (failure) throw failure.error;
      return outcome!.result;
    });
  } finally {
    await conversion.close();
  }
}
