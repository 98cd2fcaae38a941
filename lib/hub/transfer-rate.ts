/** How fast something grows: over the last few seconds, so that a connection that slows down is seen. */
const window = 5000;
const step = 250;

export class TransferRate {
  /** Moments in milliseconds and bytes, at least a step apart, oldest first. */
  readonly #samples: { at: number; bytes: number }[] = [];

  /** Takes note of bytes that are here at a moment; returns bytes per second. Fewer than before: it started again. */
  measure(bytes: number, at: number): number {
    const samples = this.#samples;
    const last = samples.at(-1);
    if (last && bytes < last.bytes) samples.length = 0;
    if (!last || samples.length === 0 || at - last.at >= step) samples.push({ at, bytes });
    while (samples.length > 2 && at - samples[1]!.at > window) samples.shift();
    const first = samples[0]!;
    return at > first.at ? (1000 * (bytes - first.bytes)) / (at - first.at) : 0;
  }
}
