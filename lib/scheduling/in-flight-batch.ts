/**
 * The in-flight batch: the sequences that share the next native call. A pass takes rows up to a budget. Running targets
 * come first, the least recently advanced of them before the others, so that each has its turn if there are too many.
 * The queue gets the rest of the budget, in the order in which its calls are due. Of a call with many sequences one
 * joins at a time: after it the call stands at the end of the queue again. A call at the head of the queue that does
 * not fit is passed over only so many times; then it goes first.
 */
import type { Job, RunningTarget } from './call.js';
import type { CallQueue } from './queue.js';
import type { SourceEntry } from './source-cache.js';

/** The members of one native call, from its composition to its end. */
export interface InFlightBatch {
  id: number;
  /** Sources that are being encoded, and the jobs that wait for each. */
  entries: Map<SourceEntry, Job[]>;
  targets: RunningTarget[];
  rows: number;
  /** True if the call may run more than one pass, because nobody else wants to join. */
  free: boolean;
  begun: number;
}

export function isEmpty(batch: InFlightBatch): boolean {
  return batch.targets.length === 0 && batch.entries.size === 0;
}

/** The candidates for a batch, and its limits. */
export interface Sharing {
  queue: CallQueue;
  /** The least recently advanced first. */
  running: () => readonly RunningTarget[];
  /** Rows of a pass; a longer sequence goes alone. */
  rowBudget: number;
  patience: number;
  /** True if sources may join. */
  sources: boolean;
  /** Lets a sequence begin whose source is there already: its targets are running then. */
  begin: (job: Job, now: number) => void;
}

export function compose(sharing: Sharing): InFlightBatch {
  const { queue, rowBudget, patience } = sharing;
  const batch: InFlightBatch = {
    id: 0,
    entries: new Map(),
    targets: [],
    rows: 0,
    free: false,
    begun: performance.now(),
  };
  const fits = (rows: number, taken: number) => taken === 0 || taken + rows <= rowBudget;
  const chosen = new Set<RunningTarget>();
  const take = (targets: readonly RunningTarget[]) => {
    for (const target of targets) {
      if (chosen.has(target) || !fits(target.rows, batch.rows)) continue;
      chosen.add(target);
      batch.rows += target.rows;
    }
  };

  const overdue = sharing.sources && (queue.at(0)?.passedOver ?? -1) >= patience;
  let taken = overdue ? admit(batch, 0, sharing) : 0;
  take(sharing.running());
  // A sequence whose source is there already needs about as many rows, for its targets.
  taken = Math.max(taken, batch.rows);
  // A full pass need not look at all who wait.
  for (let place = 0; place < queue.length && sharing.sources && taken < rowBudget;) {
    if (fits(queue.at(place)!.pending.at(-1)!.sequence.ids.length, taken)) {
      taken += admit(batch, place, sharing);
    } else {
      place++;
    }
  }
  take(sharing.running());

  batch.targets = [...chosen].filter(({ job }) => !job.call.ended);
  const first = queue.at(0);
  if (first) first.passedOver++;
  batch.free = queue.length === 0 && batch.targets.length === sharing.running().length;
  return batch;
}

/** Lets the next sequence of the call at this place of the queue begin; the rows of its source. */
function admit(batch: InFlightBatch, place: number, { queue, begin }: Sharing): number {
  const call = queue.at(place)!;
  queue.remove(call);
  const job = call.pending.pop()!;
  call.passedOver = 0;
  call.begun = true;
  job.moments.joined = batch.begun;
  call.joined ??= batch.begun;
  if (call.pending.length > 0) {
    call.due = batch.begun + call.slack;
    queue.add(call);
  }
  const { entry } = job;
  const rows = entry.ids.length;
  if (entry.source) {
    begin(job, batch.begun);
  } else if (entry.encoding) {
    batch.entries.get(entry)!.push(job);
  } else {
    entry.encoding = true;
    batch.entries.set(entry, [job]);
    batch.rows += rows;
  }
  return rows;
}
