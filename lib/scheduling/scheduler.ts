/**
 * Continuous batching: the concurrent calls of a model share its passes. A call that arrives joins the next pass,
 * its source encoded beside the running targets; a target that is done leaves at once. Who shares a pass with whom
 * changes no bit of any result.
 *
 * A pass takes rows up to a budget. Running targets come first, the least recently advanced of them before the
 * others, so that each has its turn where there are too many; what room they leave goes to the queue, in the order
 * its calls are due. Of a call with many sequences one joins at a time: after it the call stands at the end of the
 * queue again. The first in line is passed over for lack of room only so many times; then it goes first.
 */
import { onAbort } from '../abort.js';
import { MaskPredictError } from '../errors.js';
import type { Source } from '../sequences.js';
import { Job, Pace, RunningTarget, ScheduledCall, type PacedView, type Sequence } from './call.js';
import { publishIteration } from './diagnostics.js';
import type { SchedulingOptions } from './options.js';
import type { PassResult, PassRunner } from './passes.js';
import type { SourceCache, SourceEntry } from './source-cache.js';
import { Statistics, type Ending, type ModelStatistics } from './statistics.js';

export interface ScheduledOptions {
  priority: number;
  deadline: number | undefined;
  signal: AbortSignal | undefined;
}

export interface PacedCall<R> {
  /** The next pass, or undefined after the last one. One at a time. */
  next(): Promise<PacedView | undefined>;
  result: Promise<R>;
  /** Frees everything; nothing if it has ended. */
  end(): void;
}

/** The native call that is running. */
interface Flight {
  id: number;
  /** Sources on their way, and who waits for each. */
  entries: Map<SourceEntry, Job[]>;
  targets: RunningTarget[];
  rows: number;
  /** Whether it goes on after a pass, because nobody else wants to join. */
  free: boolean;
  begun: number;
}

export class Scheduler {
  readonly #runner: PassRunner;
  readonly #options: Required<SchedulingOptions>;
  readonly #sources: SourceCache;
  readonly #statistics = new Statistics(performance.now());
  readonly #calls = new Set<ScheduledCall>();
  /** Calls with sequences that have not begun, the first to be served first. */
  readonly #queue: ScheduledCall[] = [];
  /** Targets that are being written, the least recently advanced first. */
  #running: RunningTarget[] = [];
  #flight: Flight | undefined;
  /** Whether the next pass is to be started soon. */
  #awaited = false;
  /** Rows that a pass may have: fewer than the budget after one of so many did not fit into memory. */
  #room: number;
  /** Whether there was no memory for a source: others have to end first. */
  #short = false;
  #closed: MaskPredictError | undefined;

  constructor(runner: PassRunner, sources: SourceCache, options: Required<SchedulingOptions>) {
    this.#runner = runner;
    this.#sources = sources;
    this.#options = options;
    this.#room = options.rowBudget;
  }

  /** Runs a call's sequences; their results in order. */
  run<R>(sequences: Sequence<R>[], options: ScheduledOptions): Promise<R[]> {
    try {
      return this.#submit(sequences, options).promise as Promise<R[]>;
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Runs a sequence of one target pass by pass, each when its reader asks for it. A reader that pauses holds its
   * source, and nothing else.
   */
  paced<R>(sequence: Sequence<R>, options: ScheduledOptions): PacedCall<R> {
    const pace = new Pace();
    const call = this.#submit([sequence], options, pace);
    const result = call.promise.then(([only]) => only as R);
    result.catch(() => {}); // next() says so, if there is still a reader
    const next = async () => {
      for (;;) {
        const view = pace.take();
        if (view) return view;
        if (call.ended) return void (await result);
        if (pace.resting) this.#resume(pace);
        await pace.changed();
      }
    };
    return { next, result, end: () => this.#end(call, 'aborted') };
  }

  statistics(): ModelStatistics {
    const statistics = this.#statistics;
    let waiting = 0;
    for (const call of this.#queue) if (!call.begun) waiting++;
    return {
      waiting,
      running: this.#calls.size - waiting,
      rows: this.#running.reduce((rows, target) => rows + target.rows, 0),
      passes: statistics.passes,
      passesPerSecond: statistics.passesPerSecond(performance.now()),
      latency: statistics.latency(),
      cacheBytes: this.#sources.bytes,
      sources: this.#sources.statistics,
      ...statistics.endings,
    };
  }

  /** Rejects all calls, and every later one, with `ERR_DISPOSED`. */
  close(
    reason = new MaskPredictError('ERR_DISPOSED', 'the model was closed during this call'),
  ): void {
    this.#closed ??= new MaskPredictError('ERR_DISPOSED', 'this model was closed');
    for (const call of [...this.#calls]) this.#end(call, 'failed', reason);
    this.#sources.evictIdle();
  }

  #submit(sequences: Sequence<unknown>[], options: ScheduledOptions, pace?: Pace): ScheduledCall {
    const { priority, deadline, signal } = options;
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const { expectedWait, queueLimit } = this.#options;
    const slack = Math.min(deadline ?? expectedWait, expectedWait) - priority * expectedWait;
    const call = new ScheduledCall(performance.now(), slack, pace);
    if (sequences.length === 0) {
      call.resolve([]);
      return call;
    }
    const waiting = this.#queue.reduce((count, { begun }) => count + (begun ? 0 : 1), 0);
    if (waiting >= queueLimit) {
      this.#statistics.endings.overloaded++;
      throw new MaskPredictError(
        'ERR_OVERLOADED',
        `the queue is full: ${queueLimit} calls are waiting (scheduling.queueLimit); try again later, or send ` +
          `fewer calls at once`,
      );
    }
    sequences.forEach((sequence, index) => {
      const job = new Job(call, sequence, index, this.#sources.lease(sequence.ids));
      call.jobs.add(job);
      call.pending.push(job);
    });
    call.open = sequences.length;
    call.pending.reverse();
    const stop = onAbort(signal, () => this.#end(call, 'aborted', signal!.reason));
    const timer = deadline === undefined ? undefined : this.#expire(call, deadline);
    call.forget = () => {
      stop();
      clearTimeout(timer);
    };
    this.#calls.add(call);
    this.#enqueue(call);
    this.#wake();
    return call;
  }

  #expire(call: ScheduledCall, deadline: number): NodeJS.Timeout {
    const expired = () => {
      if (call.begun) return;
      const message =
        `the call could not begin within its deadline of ${deadline} ms: ${this.#queue.length} calls are in the ` +
        `queue; try again later, or give it more time`;
      this.#end(call, 'overloaded', new MaskPredictError('ERR_OVERLOADED', message));
    };
    return setTimeout(expired, deadline).unref();
  }

  #enqueue(call: ScheduledCall): void {
    let place = this.#queue.length;
    while (place > 0 && this.#queue[place - 1]!.due > call.due) place--;
    this.#queue.splice(place, 0, call);
  }

  /** There is something new to do: in a new pass soon, or in the next one. */
  #wake(): void {
    if (this.#flight) {
      if (this.#flight.free) this.#runner.interrupt();
    } else if (!this.#awaited) {
      this.#awaited = true;
      // Not at once: calls that are made together begin together.
      void Promise.resolve().then(() => this.#start());
    }
  }

  #resume(pace: Pace): void {
    this.#running.unshift(pace.resting!);
    pace.resting = undefined;
    this.#wake();
  }

  #start(): void {
    this.#awaited = false;
    if (this.#flight || this.#closed) return;
    const flight = this.#compose();
    if (!flight) return;
    this.#flight = flight;
    try {
      const { id, promise } = this.#runner.start(
        [...flight.entries.keys()].map(({ ids }) => ids),
        flight.targets.map(({ job, plan, passed }) => ({
          plan,
          passed,
          until: flight.free && !job.call.pace ? plan.iterations : passed + 1,
          watched: job.call.pace !== undefined,
        })),
      );
      flight.id = id;
      promise.then(
        (result) => this.#finish(flight, result),
        (error: unknown) => this.#failed(flight, error),
      );
    } catch (error) {
      this.#failed(flight, error);
    }
  }

  /** What goes through the next pass together. */
  #compose(): Flight | undefined {
    const flight: Flight = {
      id: 0,
      entries: new Map(),
      targets: [],
      rows: 0,
      free: false,
      begun: performance.now(),
    };
    const fits = (rows: number, taken: number) => taken === 0 || taken + rows <= this.#room;
    const chosen = new Set<RunningTarget>();
    const take = (targets: RunningTarget[]) => {
      for (const target of targets) {
        if (chosen.has(target) || !fits(target.rows, flight.rows)) continue;
        chosen.add(target);
        flight.rows += target.rows;
      }
    };

    const [first] = this.#queue;
    const overdue = first !== undefined && first.passedOver >= this.#options.patience;
    let taken = overdue && !this.#short ? this.#admit(flight, 0) : 0;
    take(this.#running);
    // A sequence whose source is there already needs about as much room, for its targets.
    taken = Math.max(taken, flight.rows);
    for (let place = 0; place < this.#queue.length && !this.#short;) {
      if (fits(this.#queue[place]!.pending.at(-1)!.sequence.ids.length, taken)) {
        taken += this.#admit(flight, place);
      } else {
        place++;
      }
    }
    take(this.#running);

    flight.targets = [...chosen].filter(({ job }) => !job.call.ended);
    const left = this.#running.filter((target) => !chosen.has(target));
    this.#running = [...left, ...flight.targets];
    if (this.#queue[0]) this.#queue[0].passedOver++;
    if (flight.targets.length > 0 || flight.entries.size > 0) {
      flight.free = left.length === 0 && this.#queue.length === 0;
      return flight;
    }
    // Nothing runs that could give memory back: the next source fits now, or never.
    if (!this.#short) return undefined;
    this.#short = false;
    return this.#compose();
  }

  /** Lets the next sequence of the call at this place of the queue begin; the rows of its source. */
  #admit(flight: Flight, place: number): number {
    const call = this.#queue[place]!;
    this.#queue.splice(place, 1);
    const job = call.pending.pop()!;
    call.passedOver = 0;
    call.begun = true;
    job.moments.joined = flight.begun;
    if (call.pending.length > 0) {
      call.due = flight.begun + call.slack;
      this.#enqueue(call);
    }
    const { entry } = job;
    const rows = entry.ids.length;
    if (entry.source) {
      this.#begin(job, flight.begun);
    } else if (entry.encoding) {
      flight.entries.get(entry)!.push(job);
    } else {
      entry.encoding = true;
      flight.entries.set(entry, [job]);
      flight.rows += rows;
    }
    return rows;
  }

  #finish(flight: Flight, result: PassResult): void {
    this.#flight = undefined;
    const now = performance.now();
    this.#statistics.ran(result.passes, now);
    this.#room = Math.min(this.#options.rowBudget, 2 * this.#room);
    const gone = new Set<RunningTarget>();
    const done: Job[] = [];
    flight.targets.forEach((target, index) => {
      if (target.job.call.ended) return;
      if (this.#advanced(target, result, index, done)) gone.add(target);
    });
    this.#running = this.#running.filter((target) => !gone.has(target));
    const refused: [Job[], Error][] = [];
    [...flight.entries].forEach(([entry, jobs], index) => {
      const source = result.sources[index]!;
      this.#sources.encoded(entry, source instanceof Error ? undefined : source);
      if (source instanceof Error) refused.push([jobs, source]);
      else for (const job of jobs) this.#begin(job, now);
    });
    for (const job of done) this.#leave(job);
    for (const [jobs, error] of refused) this.#refused(jobs, error);
    // The next pass runs while the texts of this one are made.
    this.#start();
    for (const job of done) this.#complete(job);
    publishIteration(() => ({
      sources: flight.entries.size,
      targets: flight.targets.length,
      rows: flight.rows,
      passes: result.passes,
      duration: now - flight.begun,
      waiting: this.statistics().waiting,
    }));
  }

  /** Takes over what a pass did with a target; whether it leaves. */
  #advanced(target: RunningTarget, result: PassResult, index: number, done: Job[]): boolean {
    const { job, plan } = target;
    const { call } = job;
    const failure = result.failures?.[index];
    if (failure) {
      this.#end(call, 'failed', failure);
      return true;
    }
    target.passed = result.passed[index]!;
    const view = result.views?.[index];
    if (view) call.pace!.deliver({ ...view, iteration: target.passed, masked: plan.target.masked });
    if (result.done[index]) {
      const logProbs = result.logProbs?.[index];
      job.outcomes[target.index] = { passes: target.passed, logProbs };
      if (--job.left === 0) done.push(job);
    } else if (call.pace) {
      call.pace.resting = target;
    }
    return result.done[index]! || call.pace !== undefined;
  }

  /** A sequence's source is there: its targets run from now on. */
  #begin(job: Job, now: number): void {
    const { call, entry, sequence } = job;
    if (call.ended) return;
    job.moments.encoded = now;
    try {
      const plans = sequence.targets(entry.source as Source);
      job.left = plans.length;
      plans.forEach((plan, index) => this.#running.push(new RunningTarget(job, index, plan)));
    } catch (error) {
      return this.#end(call, 'failed', error);
    }
    if (job.left > 0) return;
    this.#leave(job);
    this.#complete(job);
  }

  /** A sequence needs its source no longer. */
  #leave(job: Job): void {
    if (!job.call.jobs.delete(job)) return;
    this.#sources.release(job.entry);
    this.#short = false;
  }

  /** A sequence has ended; with the last one its call. */
  #complete(job: Job): void {
    const { call } = job;
    if (call.ended) return;
    try {
      call.results[job.index] = job.sequence.result(job.outcomes, job.moments);
    } catch (error) {
      return this.#end(call, 'failed', error);
    }
    if (--call.open > 0) return;
    this.#statistics.completed(performance.now() - call.arrived);
    this.#forget(call);
    call.resolve(call.results);
    call.pace?.wake();
  }

  /** Sources there was no memory for: they wait for others to end, if there are any. */
  #refused(jobs: Job[], error: Error): void {
    const evicted = this.#sources.evictIdle();
    if (evicted || this.#running.length > 0) {
      this.#short = !evicted;
      this.#requeue(jobs);
    } else {
      for (const { call } of jobs) this.#end(call, 'failed', error);
    }
  }

  #requeue(jobs: Job[]): void {
    for (const job of jobs) {
      const { call } = job;
      if (call.ended) continue;
      call.pending.push(job);
      if (this.#queue.includes(call)) continue;
      call.due = call.arrived + call.slack;
      this.#enqueue(call);
    }
  }

  #failed(flight: Flight, error: unknown): void {
    this.#flight = undefined;
    const code =
      error instanceof MaskPredictError ? error.code : (error as { code?: unknown }).code;
    const jobs = [...flight.entries.values()].flat();
    for (const entry of flight.entries.keys()) this.#sources.encoded(entry, undefined);
    if (code === 'ERR_CANCELLED') {
      this.#requeue(jobs);
    } else if (code === 'ERR_OUT_OF_MEMORY' && flight.entries.size + flight.targets.length > 1) {
      // Each of them may fit without the others. Nothing was changed.
      this.#room = Math.max(1, Math.floor(flight.rows / 2));
      this.#requeue(jobs);
    } else {
      const calls = [...jobs, ...flight.targets.map(({ job }) => job)].map(({ call }) => call);
      for (const call of new Set(calls)) this.#end(call, 'failed', error);
      if (code === 'ERR_DISPOSED') this.close(error as MaskPredictError);
    }
    this.#start();
  }

  #forget(call: ScheduledCall): void {
    call.ended = true;
    call.forget();
    this.#calls.delete(call);
  }

  /** Rejects a call and frees what it has. Its neighbours in a running pass do not notice. */
  #end(call: ScheduledCall, how: Ending, reason?: unknown): void {
    if (call.ended) return;
    this.#forget(call);
    this.#statistics.endings[how]++;
    const place = this.#queue.indexOf(call);
    if (place >= 0) this.#queue.splice(place, 1);
    this.#running = this.#running.filter(({ job }) => job.call !== call);
    for (const job of call.jobs) this.#leave(job);
    call.reject(reason);
    if (call.pace) call.pace.resting = undefined;
    call.pace?.wake();

    const flight = this.#flight;
    if (!flight) return this.#wake();
    const wanted =
      [...flight.entries.keys()].some(({ users }) => users > 0) ||
      flight.targets.some(({ job }) => !job.call.ended);
    if (!wanted) this.#runner.cancel(flight.id);
    else if (flight.free) this.#runner.interrupt();
  }
}
