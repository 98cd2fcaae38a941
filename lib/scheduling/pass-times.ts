/**
 * How slow the devices of a model are, measured by their passes. A pass of few rows takes longer for each of its rows than
 * one of many, so each is compared with passes of about as many rows, on whichever device those ran: devices are told apart,
 * and not how busy they were.
 */

/** The share of a new measurement in a running mean. */
const share = 1 / 8;

/** The most that one pass may differ from the others: the first one of a device also loads its kernels, for instance. */
const extreme = 4;

/** @internal */
export class PassTimes {
  /** By the binary logarithm of the rows: milliseconds of a pass, of all devices together. */
  readonly #usual: number[] = [];

  /** Passes that a device ran in so many milliseconds, with so many rows each. */
  record(device: Slowness, rows: number, passes: number, milliseconds: number): void {
    const time = milliseconds / passes;
    const size = Math.round(Math.log2(rows));
    const usual = this.#usual[size] ?? time;
    this.#usual[size] = usual + share * (time - usual);
    if (!(usual > 0)) return;
    const ratio = Math.min(Math.max(time / usual, 1 / extreme), extreme);
    device.slowness += share * (ratio - device.slowness);
  }
}

/** @internal */
export interface Slowness {
  /** Its passes' time over that of other devices' passes of as many rows. 1 until something is known. */
  slowness: number;
}
