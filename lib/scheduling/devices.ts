/**
 * Several devices behind one model. Each has an engine and a scheduler of its own, which share passes as one of them alone
 * does; here is decided which of them takes what.
 *
 * A sequence goes where the wait is expected to be the shortest, one by one: a call of many prompts is spread. The expected
 * wait of a device is what it still has to do times how slow it is:
 * - To do: the rows of all passes of the sequences that were sent there and have no result yet, an id of a source or of a
 *   target being a row; of targets as many as are known before the source is encoded ({@link Sequence.targetRows}). Of a
 *   sequence that is read pass by pass only its source counts, about one pass, because its next pass waits for its reader.
 * - How slow: measured ({@link PassTimes}).
 * The earliest of those that are equal takes it, so that calls that come one at a time stay on one device, with its encoded
 * sources.
 *
 * A device whose context is lost takes no more sequences. Those it had go on elsewhere from their beginning, because nothing
 * of them was delivered, but for a reading of which a pass was; an answer has the same bits there. A sequence is carried over
 * once only: it may itself be what ended the context, and should not end them all.
 */
import { onAbort } from '../abort.js';
import { MaskPredictError } from '../errors.js';
import type { Source } from '../token/sequences.js';
import type { Moments, Sequence, TargetOutcome } from './call.js';
import type { PassRunner, TargetPlan } from './passes.js';
import { PassTimes, type Slowness } from './pass-times.js';
import { queueIsFull } from './queue.js';
import type { PacedCall, ScheduledOptions, Scheduler, Scheduling } from './scheduler.js';
import { Statistics, type Ending, type ModelStatistics } from './statistics.js';

/** A device that is given to {@link Devices}. @internal */
export interface NamedDevice {
  /** As `engine.device` says it. */
  name: string;
  runner: PassRunner;
}

/** @internal */
export interface DevicesOptions {
  /** Calls of all devices together that may wait. */
  queueLimit: number;
  /** Makes the scheduler of a device, without a queue limit; its runner is the device's, with passes measured. */
  schedule: (runner: PassRunner, index: number) => Scheduler;
  /** Is told of a device that is lost, and how many are left. */
  onLost: (name: string, error: Error, left: number) => void;
}

interface Device {
  readonly name: string;
  readonly scheduler: Scheduler;
  /** Rows of all passes to come. */
  rows: number;
  readonly speed: Slowness;
  /** The error that its context was lost with. */
  lost: MaskPredictError | undefined;
}

/** Every error of the native layer on a GPU whose context is lost begins so (native/cuda/errors.h). */
const contextLost = "the GPU's context is lost: restart the process; ";

/** @internal */
export class Devices implements Scheduling {
  readonly #devices: readonly Device[];
  readonly #options: DevicesOptions;
  /** Counts whole calls. Each scheduler counts the parts of calls that are on its device. */
  readonly #statistics = new Statistics(performance.now());
  #closed: MaskPredictError | undefined;

  constructor(devices: readonly NamedDevice[], options: DevicesOptions) {
    this.#options = options;
    const times = new PassTimes();
    this.#devices = devices.map(({ name, runner }, index) => {
      const speed = { slowness: 1 };
      const scheduler = options.schedule(measured(runner, times, speed), index);
      return { name, scheduler, speed, rows: 0, lost: undefined };
    });
  }

  async run<R>(sequences: Sequence<R>[], options: ScheduledOptions): Promise<R[]> {
    const call = this.#begin(options, sequences.length);
    const placed = sequences.map((sequence) => new Placed(sequence, call));
    // Parts on other devices end with the call.
    const stop = new AbortController();
    const forget = onAbort(options.signal, () => stop.abort(options.signal!.reason));
    try {
      await this.#spread(placed, call, stop);
    } catch (error) {
      this.#failed(call, error);
      throw error;
    } finally {
      forget();
    }
    if (placed.length > 0) this.#statistics.completed(call, performance.now());
    return placed.map(({ outcome }) => outcome as R);
  }

  paced<R>(sequence: Sequence<R>, options: ScheduledOptions): PacedCall<R> {
    const call = this.#begin(options, 1);
    const placed = new Placed(sequence, call);
    const start = () => {
      const device = this.#place(placed, sequence.ids.length);
      return { device, call: device.scheduler.paced(placed, call.options()) };
    };
    let part = start();
    let delivered = false;
    let ended = false;
    const fail = (error: unknown) => {
      placed.leave();
      if (!ended) this.#failed(call, error);
      ended = true;
      throw error;
    };
    const next = async () => {
      for (;;) {
        try {
          const view = await part.call.next();
          if (view) delivered = true;
          else if (!ended) this.#statistics.completed(call, performance.now());
          ended ||= view === undefined;
          return view;
        } catch (error) {
          const lost = !ended && !options.signal?.aborted && this.#isLost(part.device, error);
          if (!lost || delivered || !placed.carry()) return fail(error);
        }
        try {
          part = start();
        } catch (error) {
          return fail(error);
        }
      }
    };
    const end = () => {
      part.call.end();
      placed.leave();
      if (!ended) this.#statistics.endings.aborted++;
      ended = true;
    };
    return {
      next,
      end,
      get result() {
        return part.call.result;
      },
    };
  }

  statistics(): ModelStatistics {
    const each = this.#devices.map(({ scheduler }) => scheduler.statistics());
    const total = (value: (of: ModelStatistics) => number) =>
      each.reduce((sum, of) => sum + value(of), 0);
    return {
      waiting: total(({ waiting }) => waiting),
      running: total(({ running }) => running),
      rows: total(({ rows }) => rows),
      passes: total(({ passes }) => passes),
      passesPerSecond: total(({ passesPerSecond }) => passesPerSecond),
      tokens: total(({ tokens }) => tokens),
      latency: this.#statistics.latency(),
      phases: this.#statistics.phases(),
      cacheBytes: total(({ cacheBytes }) => cacheBytes),
      sources: {
        hits: total(({ sources }) => sources.hits),
        misses: total(({ sources }) => sources.misses),
        evictions: total(({ sources }) => sources.evictions),
        kept: total(({ sources }) => sources.kept),
      },
      ...this.#statistics.endings,
      devices: this.#devices.map(({ name, lost }, index) => {
        const { waiting, running, rows, passes, passesPerSecond, tokens, cacheBytes } =
          each[index]!;
        const own = { waiting, running, rows, passes, passesPerSecond, tokens, cacheBytes };
        return { device: name, working: !lost, ...own };
      }),
    };
  }

  close(): void {
    this.#closed ??= new MaskPredictError('ERR_DISPOSED', 'this model was closed');
    for (const { scheduler } of this.#devices) scheduler.close();
  }

  #begin(options: ScheduledOptions, sequences: number): SpreadCall {
    options.signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const { queueLimit } = this.#options;
    const waiting = this.#devices.reduce((sum, { scheduler }) => sum + scheduler.waiting, 0);
    if (sequences > 0 && waiting >= queueLimit) {
      this.#statistics.endings.overloaded++;
      throw queueIsFull(queueLimit);
    }
    return new SpreadCall(options);
  }

  /** Runs sequences of a call, each where the wait is the shortest. Resolves when all of them have their outcome. */
  async #spread(placed: Placed[], call: SpreadCall, stop: AbortController): Promise<void> {
    const parts = new Map<Device, Placed[]>();
    for (const one of placed) {
      const device = this.#place(one, one.ids.length + (one.targetRows ?? 0));
      const part = parts.get(device);
      if (part) part.push(one);
      else parts.set(device, [one]);
    }
    const running = [...parts].map(([device, part]) => this.#runPart(device, part, call, stop));
    await Promise.all(running);
  }

  async #runPart(
    device: Device,
    part: Placed[],
    call: SpreadCall,
    stop: AbortController,
  ): Promise<void> {
    try {
      await device.scheduler.run(part, { ...call.options(), signal: stop.signal });
    } catch (error) {
      for (const one of part) one.leave();
      const left = part.filter(({ done }) => !done);
      // Where another part has failed, the error is that one's.
      const lost = !stop.signal.aborted && this.#isLost(device, error);
      if (lost && left.every((one) => one.carry())) return this.#spread(left, call, stop);
      stop.abort(error);
      throw error;
    }
  }

  /** The device that a sequence goes to, which has so many rows more to do. */
  #place(placed: Placed, rows: number): Device {
    const working = this.#devices.filter(({ lost }) => !lost);
    if (working.length === 0) throw this.#allLost();
    const wait = (device: Device) => device.rows * device.speed.slowness;
    const device = working.reduce((best, other) => (wait(other) < wait(best) ? other : best));
    placed.enter(device, rows);
    return device;
  }

  /** True if a call failed because its device is lost. The first such error ends all calls on that device. */
  #isLost(device: Device, error: unknown): boolean {
    const { code, message } = (error ?? {}) as Partial<MaskPredictError>;
    if (code !== 'ERR_DEVICE' || !message?.startsWith(contextLost)) return false;
    if (!device.lost) {
      device.lost = error as MaskPredictError;
      const left = this.#devices.filter(({ lost }) => !lost).length;
      device.scheduler.close(device.lost);
      this.#options.onLost(device.name, device.lost, left);
    }
    return true;
  }

  #allLost(): MaskPredictError {
    const causes = this.#devices.map(
      ({ name, lost }) => `${name}: ${lost!.message.slice(contextLost.length)}`,
    );
    return new MaskPredictError(
      'ERR_DEVICE',
      `${contextLost}no device of this model works any more (${causes.join('; ')})`,
    );
  }

  #failed({ signal }: SpreadCall, error: unknown): void {
    const overloaded = error instanceof MaskPredictError && error.code === 'ERR_OVERLOADED';
    const ending: Ending = signal?.aborted ? 'aborted' : overloaded ? 'overloaded' : 'failed';
    this.#statistics.endings[ending]++;
  }
}

/** A call, wherever its sequences are. */
class SpreadCall {
  readonly arrived = performance.now();
  /** When its first source joined a pass, and when its last one was encoded. */
  joined: number | undefined;
  encoded = 0;
  /** True if a source of it was encoded. */
  begun = false;
  readonly #options: ScheduledOptions;

  constructor(options: ScheduledOptions) {
    this.#options = options;
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  /** As they are now: a call that has begun met its deadline, and one that has not has less time left. */
  options(): ScheduledOptions {
    const { deadline } = this.#options;
    if (deadline === undefined) return this.#options;
    const left = Math.max(1, Math.ceil(deadline - (performance.now() - this.arrived)));
    return { ...this.#options, deadline: this.begun ? undefined : left };
  }
}

/** A sequence of a call, on a device. */
class Placed<R = unknown> implements Sequence<R> {
  readonly #sequence: Sequence<R>;
  readonly #call: SpreadCall;
  #device: Device | undefined;
  #rows = 0;
  #carried = false;
  outcome: R | undefined;
  done = false;

  constructor(sequence: Sequence<R>, call: SpreadCall) {
    this.#sequence = sequence;
    this.#call = call;
  }

  get ids(): Int32Array {
    return this.#sequence.ids;
  }

  get states(): boolean {
    return this.#sequence.states;
  }

  get reading(): Sequence<R>['reading'] {
    return this.#sequence.reading;
  }

  get targetRows(): number | undefined {
    return this.#sequence.targetRows;
  }

  targets(source: Source): TargetPlan[] {
    this.#call.begun = true;
    return this.#sequence.targets(source);
  }

  result(outcomes: TargetOutcome[], moments: Moments): R {
    const outcome = this.#sequence.result(outcomes, moments);
    const call = this.#call;
    call.joined = Math.min(call.joined ?? Infinity, moments.joined);
    call.encoded = Math.max(call.encoded, moments.encoded);
    this.outcome = outcome;
    this.done = true;
    this.leave();
    return outcome;
  }

  enter(device: Device, rows: number): void {
    this.leave();
    this.#device = device;
    this.#rows = rows;
    device.rows += rows;
  }

  /** Its device has nothing to do for it any more. */
  leave(): void {
    if (this.#device) this.#device.rows -= this.#rows;
    this.#device = undefined;
  }

  /** True the first time: a sequence may go to another device once. */
  carry(): boolean {
    const first = !this.#carried;
    this.#carried = true;
    return first;
  }
}

/** The runner of a device, its passes measured. */
function measured(runner: PassRunner, times: PassTimes, device: Slowness): PassRunner {
  return {
    start(sources, targets) {
      const begun = performance.now();
      const { id, promise } = runner.start(sources, targets);
      const rows = [
        ...sources.map(({ ids }) => ids.length),
        ...targets.map(({ plan }) => plan.target.length),
      ].reduce((sum, length) => sum + length, 0);
      const timed = promise.then((result) => {
        times.record(device, rows, result.passes, performance.now() - begun);
        return result;
      });
      return { id, promise: timed };
    },
    interrupt: () => runner.interrupt(),
    cancel: (id) => runner.cancel(id),
  };
}
