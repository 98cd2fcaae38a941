/**
 * Who shares a pass. It takes rows up to a budget. Running targets come first, the least recently advanced of them
 * before the others, so that each has its turn where there are too many; what room they leave goes to the queue, in
 * the order its calls are due. Of a call with many sequences one joins at a time: after it the call stands at the end
 * of the queue again. The first in line is passed over for lack of room only so many times; then it goes first.
 */
import type { Job, RunningTarget } from './call.js';
import type { CallQueue } from './queue.js';
import type { SourceEntry } from './source-cache.js';

/** A native call: what is composed here, until it has ended. */
export interface Flight {
  id: number;
  /** Sources on their way, and who waits for each. */
  entries: Map<SourceEntry, Job[]>;
  targets: RunningTarget[];
  rows: number;
  /** Whether it goes on after a pass, because nobody else wants to join. */
  free: boolean;
  begun: number;
}

export function isEmpty(flight: Flight): boolean {
  return flight.targets.length === 0 && flight.entries.size === 0;
}

/** Who wants to, and how many can. */
export interface Sharing {
  queue: CallQueue;
  /** The least recently advanced first. */
  running: () => readonly RunningTarget[];
  /** Rows; what is longer goes alone. */
  room: number;
  patience: number;
  /** Whether sources may join. */
  sources: boolean;
  /** Lets a sequence begin whose source is there already: its targets are running then. */
  begin: (job: Job, now: number) => void;
}

export function compose(sharing: Sharing): Flight {
  const { queue, room, patience } = sharing;
  const flight: Flight = {
    id: 0,
    entries: new Map(),
    targets: [],
    rows: 0,
    free: false,
    begun: performance.now(),
  };
  const fits = (rows: number, taken: number) => taken === 0 || taken + rows <= room;
  const chosen = new Set<RunningTarget>();
  const take = (targets: readonly RunningTarget[]) => {
    for (const target of targets) {
      if (chosen.has(target) || !fits(target.rows, flight.rows)) continue;
      chosen.add(target);
      flight.rows += target.rows;
    }
  };

  const overdue = sharing.sources && (queue.at(0)?.passedOver ?? -1) >= patience;
  let taken = overdue ? admit(flight, 0, sharing) : 0;
  take(sharing.running());
  // A sequence whose source is there already needs about as much room, for its targets.
  taken = Math.max(taken, flight.rows);
  // A full pass need not look at all who wait.
  for (let place = 0; place < queue.length && sharing.sources && taken < room;) {
    if (fits(queue.at(place)!.pending.at(-1)!.sequence.ids.length, taken)) {
      taken += admit(flight, place, sharing);
    } else {
      place++;
    }
  }
  take(sharing.running());

  flight.targets = [...chosen].filter(({ job }) => !job.call.ended);
  const first = queue.at(0);
  if (first) first.passedOver++;
  flight.free = queue.length === 0 && flight.targets.length === sharing.running().length;
  return flight;
}

/** Lets the next sequence of the call at this place of the queue begin; the rows of its source. */
function admit(flight: Flight, place: number, { queue, begin }: Sharing): number {
  const call = queue.at(place)!;
  queue.remove(call);
  const job = call.pending.pop()!;
  call.passedOver = 0;
  call.begun = true;
  job.moments.joined = flight.begun;
  call.joined ??= flight.begun;
  if (call.pending.length > 0) {
    call.due = flight.begun + call.slack;
    queue.add(call);
  }
  const { entry } = job;
  const rows = entry.ids.length;
  if (entry.source) {
    begin(job, flight.begun);
  } else if (entry.encoding) {
    flight.entries.get(entry)!.push(job);
  } else {
    entry.encoding = true;
    flight.entries.set(entry, [job]);
    flight.rows += rows;
  }
  return rows;
}
