/**
 * Continuous batching: the concurrent calls of a model share its passes. A call that arrives joins the next pass,
 * its source encoded beside the running targets; a target that is done leaves at once. Who shares a pass with whom
 * (in-flight-batch.ts) changes no bit of any result.
 */
import { onAbort } from '../abort.js';
import { MaskPredictError } from '../errors.js';
import type { Source } from '../token/sequences.js';
import { Job, Pace, RunningTarget, ScheduledCall, type PacedView, type Sequence } from './call.js';
import { publishBatch } from './diagnostics.js';
import type { SchedulingOptions } from './options.js';
import { compose, isEmpty, type InFlightBatch } from './in-flight-batch.js';
import type { PassResult, PassRunner } from './passes.js';
import { CallQueue } from './queue.js';
import type { SourceCache } from './source-cache.js';
import { Statistics, type Ending, type ModelStatistics } from './statistics.js';

export interface ScheduledOptions {
  priority: number;
  deadline: number | undefined;
  signal: AbortSignal | undefined;
}

export interface PacedCall<R> {
  /** The next pass, or undefined after the last one. One at a time. */
  next(): Promise<PacedView | undefined>;
  readonly result: Promise<R>;
  /** Frees everything; nothing if it has ended. */
  end(): void;
}

/** The text level calls these: on the scheduler of one device, or on {@link Devices}, which has several schedulers. */
export interface Scheduling {
  /** Runs a call's sequences; their results in order. */
  run<R>(sequences: Sequence<R>[], options: ScheduledOptions): Promise<R[]>;
  /**
   * Runs a sequence of one target pass by pass, each when its reader asks for it. A paused reader keeps its source in
   * memory but does not block other calls.
   */
  paced<R>(sequence: Sequence<R>, options: ScheduledOptions): PacedCall<R>;
  statistics(): ModelStatistics;
  /** Rejects all calls, and every later one, with `ERR_DISPOSED`. */
  close(): void;
}

export class Scheduler implements Scheduling {
  readonly #runner: PassRunner;
  readonly #options: Required<SchedulingOptions>;
  readonly #sources: SourceCache;
  readonly #statistics = new Statistics(performance.now());
  readonly #calls = new Set<ScheduledCall>();
  readonly #queue: CallQueue;
  /** Targets that are being written, the least recently advanced first. */
  #running: RunningTarget[] = [];
  #inFlight: InFlightBatch | undefined;
  /** True if the next pass will start soon. */
  #awaited = false;
  /** Rows that a pass may have: fewer than the budget after one of so many did not fit into memory. */
  #rowBudget: number;
  /** True after a source did not fit into memory: other calls have to end first. */
  #short = false;
  #closed: MaskPredictError | undefined;

  constructor(runner: PassRunner, sources: SourceCache, options: Required<SchedulingOptions>) {
    this.#runner = runner;
    this.#sources = sources;
    this.#options = options;
    this.#queue = new CallQueue(options.queueLimit);
    this.#rowBudget = options.rowBudget;
  }

  run<R>(sequences: Sequence<R>[], options: ScheduledOptions): Promise<R[]> {
    try {
      return this.#submit(sequences, options).promise as Promise<R[]>;
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

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

  /** Calls that wait for their first pass. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  statistics(): ModelStatistics {
    const statistics = this.#statistics;
    const { waiting } = this.#queue;
    return {
      waiting,
      running: this.#calls.size - waiting,
      rows: this.#running.reduce((rows, target) => rows + target.rows, 0),
      passes: statistics.passes,
      passesPerSecond: statistics.passesPerSecond(performance.now()),
      tokens: statistics.tokens,
      latency: statistics.latency(),
      phases: statistics.phases(),
      cacheBytes: this.#sources.bytes,
      sources: this.#sources.statistics,
      ...statistics.endings,
    };
  }

  /** All calls are rejected with the reason. */
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
    const { expectedWait } = this.#options;
    const slack = Math.min(deadline ?? expectedWait, expectedWait) - priority * expectedWait;
    const call = new ScheduledCall(performance.now(), slack, pace);
    if (sequences.length === 0) {
      call.resolve([]);
      return call;
    }
    try {
      this.#queue.checkLimit();
    } catch (error) {
      this.#statistics.endings.overloaded++;
      throw error;
    }
    sequences.forEach((sequence, index) => {
      const job = new Job(call, sequence, index, this.#sources.lease(sequence));
      call.jobs.add(job);
      call.pending.push(job);
    });
    call.open = sequences.length;
    call.pending.reverse();
    const stop = onAbort(signal, () => this.#end(call, 'aborted', signal!.reason));
    const late = (error: unknown) => this.#end(call, 'overloaded', error);
    const timer = deadline === undefined ? undefined : this.#queue.expire(call, deadline, late);
    call.forget = () => {
      stop();
      clearTimeout(timer);
    };
    this.#calls.add(call);
    this.#queue.add(call);
    this.#wake();
    return call;
  }

  /** There is something new to do: in a new pass soon, or in the next one. */
  #wake(): void {
    if (this.#inFlight) {
      if (this.#inFlight.free) this.#runner.interrupt();
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
    if (this.#inFlight || this.#closed) return;
    const sharing = {
      queue: this.#queue,
      running: () => this.#running,
      rowBudget: this.#rowBudget,
      patience: this.#options.patience,
      begin: (job: Job, now: number) => this.#begin(job, now),
    };
    let batch = compose({ ...sharing, sources: !this.#short });
    if (isEmpty(batch) && this.#short) {
      // Nothing runs that could give memory back: the next source fits now, or never.
      this.#short = false;
      batch = compose({ ...sharing, sources: true });
    }
    if (isEmpty(batch)) return;
    this.#inFlight = batch;
    const moved = new Set(batch.targets);
    this.#running = [...this.#running.filter((target) => !moved.has(target)), ...batch.targets];
    try {
      const { id, promise } = this.#runner.start(
        [...batch.entries.keys()],
        batch.targets.map(({ job, plan, passed }) => ({
          plan,
          passed,
          until: batch.free && !job.call.pace ? plan.iterations : passed + 1,
          watched: job.call.pace !== undefined,
        })),
      );
      batch.id = id;
      promise.then(
        (result) => this.#finish(batch, result),
        (error: unknown) => this.#failed(batch, error),
      );
    } catch (error) {
      this.#failed(batch, error);
    }
  }

  #finish(batch: InFlightBatch, result: PassResult): void {
    this.#inFlight = undefined;
    const now = performance.now();
    this.#statistics.ran(result.passes, now);
    this.#rowBudget = Math.min(this.#options.rowBudget, 2 * this.#rowBudget);
    const gone = new Set<RunningTarget>();
    const done: Job[] = [];
    batch.targets.forEach((target, index) => {
      if (target.job.call.ended) return;
      if (this.#advanced(target, result, index, done)) gone.add(target);
    });
    this.#running = this.#running.filter((target) => !gone.has(target));
    const refused: [Job[], Error][] = [];
    [...batch.entries].forEach(([entry, jobs], index) => {
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
    publishBatch(() => ({
      sources: batch.entries.size,
      targets: batch.targets.length,
      rows: batch.rows,
      passes: result.passes,
      duration: now - batch.begun,
      waiting: this.#queue.waiting,
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
      if (!plan.candidates) this.#statistics.tokens += target.rows - 2;
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
    job.moments.encoded = call.encoded = now;
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
    this.#statistics.completed(call, performance.now());
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
      this.#queue.remove(call);
      call.due = call.arrived + call.slack;
      this.#queue.add(call);
    }
  }

  #failed(batch: InFlightBatch, error: unknown): void {
    this.#inFlight = undefined;
    const code =
      error instanceof MaskPredictError ? error.code : (error as { code?: unknown }).code;
    const jobs = [...batch.entries.values()].flat();
    for (const entry of batch.entries.keys()) this.#sources.encoded(entry, undefined);
    if (code === 'ERR_CANCELLED') {
      this.#requeue(jobs);
    } else if (code === 'ERR_OUT_OF_MEMORY' && batch.entries.size + batch.targets.length > 1) {
      // Each of them may fit without the others. Nothing was changed.
      this.#rowBudget = Math.max(1, Math.floor(batch.rows / 2));
      this.#requeue(jobs);
    } else {
      const calls = [...jobs, ...batch.targets.map(({ job }) => job)].map(({ call }) => call);
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
    this.#queue.remove(call);
    this.#running = this.#running.filter(({ job }) => job.call !== call);
    for (const job of call.jobs) this.#leave(job);
    call.reject(reason);
    if (call.pace) call.pace.resting = undefined;
    call.pace?.wake();

    const batch = this.#inFlight;
    if (!batch) return this.#wake();
    const wanted =
      [...batch.entries.keys()].some(({ users }) => users > 0) ||
      batch.targets.some(({ job }) => !job.call.ended);
    if (!wanted) this.#runner.cancel(batch.id);
    else if (batch.free) this.#runner.interrupt();
  }
}
