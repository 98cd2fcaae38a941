/**
 * Which examples make which step. The order is a function of seed and epoch alone, and known from lengths, without
 * reading an id: all examples of an epoch are shuffled; of each window of 8 192, sorted by length, steps are cut of at
 * most `rows` ids; and the window's steps are shuffled again.
 *
 * A file of weight w has each of its examples floor(w) times in an epoch, and one more time a share of w - floor(w) of
 * them, which is drawn anew each epoch.
 */
import { invalidArgument } from '../errors.js';
import type { Dataset } from './dataset.js';
import { pauses } from '../pauses.js';
import { Draws } from './random.js';

export const windowSize = 8192;

/** An example's place in a step; `occurrence` counts its appearances in this epoch from 0. */
export interface Slot {
  example: number;
  occurrence: number;
}

type Lengths = Pick<Dataset, 'rows' | 'examples'> & {
  parts: readonly { weight: number; cache: { examples: number } }[];
};

/** The steps of one epoch, in order. */
export async function* epochSteps(
  dataset: Lengths,
  seed: bigint,
  epoch: number,
  rows: number,
): AsyncGenerator<Slot[], void, void> {
  const slots = EpochSlots.draw(dataset, seed, epoch);
  const order = await shuffled(slots.count, new Draws(seed, 'order', epoch, 0));
  for (let window = 0; window * windowSize < order.length; window++) {
    const members = order.subarray(window * windowSize, (window + 1) * windowSize);
    const steps = cut(
      Array.from(members, (slot) => slots.at(slot)),
      dataset,
      rows,
    );
    const places = Uint32Array.from(steps.keys());
    new Draws(seed, 'steps', epoch, window).choose(places, places.length);
    for (const place of places) yield steps[place]!;
  }
}

/** The number of steps of one epoch. */
export async function countSteps(
  dataset: Lengths,
  seed: bigint,
  epoch: number,
  rows: number,
): Promise<number> {
  let steps = 0;
  const pause = pauses();
  for await (const _ of epochSteps(dataset, seed, epoch, rows)) {
    steps++;
    await pause();
  }
  return steps;
}

/** Throws unless every example fits into a step of `rows` ids. */
export function checkRows(dataset: Lengths, rows: number): void {
  for (let example = 0; example < dataset.examples; example++) {
    const own = dataset.rows(example);
    if (own <= rows) continue;
    throw invalidArgument(
      `an example has ${own} ids, a step at most ${rows}: raise rows, or leave longer ones out with maxSource and ` +
        'maxTarget',
    );
  }
}

/** Cuts `slots` into runs of at most `rows` ids each, in their order. */
export function runsOf(slots: readonly Slot[], dataset: Lengths, rows: number): Slot[][] {
  const runs: Slot[][] = [];
  let left = 0;
  for (const slot of slots) {
    const own = dataset.rows(slot.example);
    if (own > left) {
      runs.push([]);
      left = rows;
    }
    runs.at(-1)!.push(slot);
    left -= own;
  }
  return runs;
}

function cut(slots: Slot[], dataset: Lengths, rows: number): Slot[][] {
  // The sort is stable: equal lengths stay in their shuffled order.
  slots.sort((a, b) => dataset.rows(a.example) - dataset.rows(b.example));
  return runsOf(slots, dataset, rows);
}

async function shuffled(count: number, draws: Draws): Promise<Uint32Array> {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  const pause = pauses();
  for (let from = 0; from < count; from += windowSize) {
    draws.choose(order.subarray(from), windowSize);
    await pause();
  }
  return order;
}

/** The examples of an epoch before they are shuffled, by number. */
class EpochSlots {
  readonly count: number;
  readonly #parts: readonly { first: number; base: number; examples: number; last: Uint32Array }[];

  private constructor(
    parts: { first: number; base: number; examples: number; last: Uint32Array }[],
    count: number,
  ) {
    this.#parts = parts;
    this.count = count;
  }

  static draw({ parts }: Lengths, seed: bigint, epoch: number): EpochSlots {
    let first = 0;
    let base = 0;
    const drawn = parts.map(({ weight, cache: { examples } }, index) => {
      const draws = new Draws(seed, 'share', epoch, index);
      const part = { first, base, examples, last: share(weight, examples, draws) };
      first += Math.floor(weight) * examples + part.last.length;
      base += examples;
      return part;
    });
    if (first >= 2 ** 32) throw invalidArgument('the dataset has more than 2^32 examples an epoch');
    return new EpochSlots(drawn, first);
  }

  at(slot: number): Slot {
    let index = this.#parts.length - 1;
    while (this.#parts[index]!.first > slot) index--;
    const { first, base, examples, last } = this.#parts[index]!;
    const occurrence = Math.floor((slot - first) / examples);
    const local = (slot - first) % examples;
    const whole = slot - first < this.#wholes(index);
    return { example: base + (whole ? local : last[local]!), occurrence };
  }

  /** Slots of a part that are whole rounds of its examples. */
  #wholes(index: number): number {
    const end = this.#parts[index + 1]?.first ?? this.count;
    return end - this.#parts[index]!.first - this.#parts[index]!.last.length;
  }
}

/** The examples that a weight's fraction adds to its whole rounds, at least one if there are no whole rounds. */
function share(weight: number, examples: number, draws: Draws): Uint32Array {
  const count = Math.round((weight % 1) * examples);
  const least = weight < 1 ? 1 : 0;
  if (Math.max(count, least) === 0) return new Uint32Array();
  const all = Uint32Array.from({ length: examples }, (_, index) => index);
  draws.choose(all, Math.max(count, least));
  return all.slice(0, Math.max(count, least));
}
