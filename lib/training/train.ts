/**
 * The training loop over a {@link StepRunner}: batches in their order, corrupted, at the schedule's rate, from any
 * position. It begins where `context.state` says and leaves its position there after every step, so a runner that is
 * restored with its state goes on with the same bits.
 */
import { invalidArgument, shown } from '../errors.js';
import { checkFunction, checkOptions, checkSignal, integerOption } from '../options.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { checkRows, countSteps, epochSteps, runsOf, type Slot } from './batches.js';
import { corruptSource, corruptTarget } from './corruption.js';
import { Dataset, defaultCache, idsOption, type DatasetSource } from './dataset.js';
import { defaultFields, type Fields } from './examples.js';
import { scheduleFactor, scheduleOption, type Schedule, type ScheduleName } from './schedule.js';
import type { StepPart, StepResult, StepRunner } from './step.js';

/** How data is read. */
export interface DataOptions {
  /** Names of the fields of instruction and output. Default `['instruction', 'output']`. */
  fields?: Fields;
  /** Ids with `<s>` and `</s>`, at least 3; longer examples are left out and counted. Default: all the model reads. */
  maxSource?: number;
  maxTarget?: number;
  /** Directory of the token cache. Default `$XDG_CACHE_HOME/mask-predict` or `~/.cache/mask-predict`. */
  cache?: string;
  /** Called while the data is read: with the number of examples tokenised so far, then once with the number of all. */
  onData?: (event: DataEvent) => void;
}

export type DataEvent =
  | { kind: 'reading'; name: string; examples: number }
  | { kind: 'ready'; examples: number; leftOut: number; steps?: number };

export interface TrainOptions extends DataOptions {
  /** Ids of sources and targets in a step, at most. Default 4096. */
  rows?: number;
  /** Ids worked on at once: a step of more is computed in parts, with the same gradient. Default: `rows`. */
  partRows?: number;
  /** The run ends with the first of these that is reached; at least one must be given. `time`: milliseconds. */
  steps?: number;
  epochs?: number;
  time?: number;
  /**
   * After the warm-up: `'polynomial'` (default) falls to 0 at the end of `steps` or `epochs`, or, where only `time` is
   * given, with the time that is left; `'inverse-sqrt'`; `'constant'`.
   */
  schedule?: ScheduleName;
  /** Steps of linear warm-up, below the number of steps. Default 500. */
  warmup?: number;
  /** The exponent of the polynomial. Default 1. */
  power?: number;
  /** Percent of a source's inner tokens that are masked, 0 … 100. Default 15. */
  sourceMask?: number;
  /** Stops between two operations; the state is then that of the last whole step. */
  signal?: AbortSignal;
}

export interface TrainingStep {
  /** From 1, over all runs of this training. */
  step: number;
  /** From 0. */
  epoch: number;
  /** Negative log-likelihood of the masked tokens with label smoothing, plus the weighted length loss. */
  loss: number;
  nll: number;
  lengthLoss: number;
  /** Before clipping. */
  gradientNorm: number;
  learningRate: number;
  /** Ids of sources and targets of this step. */
  rows: number;
  rowsPerSecond: number;
  /** Share of the run that is done, 0 … 1. */
  progress: number;
}

/** Where a training is. JSON. @internal */
export interface TrainingState {
  version: 1;
  /** The meaning of the position: these values must be the same when the training goes on. */
  data: string;
  rows: number;
  sourceMask: number;
  seed: string;
  /** Steps done in all, and of this epoch (from 0). */
  step: number;
  epoch: number;
  stepOfEpoch: number;
  /** Milliseconds of training. */
  elapsed: number;
}

/** The part of the trainer that the loop needs. @internal */
export interface TrainingContext {
  readonly learningRate: number;
  readonly seed: bigint;
  /** With the bytes of its file; only what reads texts needs it. */
  readonly tokenizer: Tokenizer | undefined;
  readonly tokenizerBytes: Uint8Array | undefined;
  /** A {@link TrainingState} or nothing. Read at the start, written after every step. */
  state: unknown;
}

const dataOptions = ['fields', 'maxSource', 'maxTarget', 'cache', 'onData', 'signal'];
const trainOptions = [
  ...dataOptions,
  'rows',
  'partRows',
  'steps',
  'epochs',
  'time',
  'schedule',
  'warmup',
  'power',
  'sourceMask',
];

/**
 * Trains and yields every step. See {@link TrainOptions}; errors of the data are `ERR_INVALID_ARGUMENT`s with file and line.
 * @internal
 */
export async function* runTraining(
  runner: StepRunner,
  source: DatasetSource,
  options: TrainOptions,
  context: TrainingContext,
): AsyncGenerator<TrainingStep, void, void> {
  const plan = readPlan(options);
  const dataset = await openDataset(runner, source, options, context, 0);
  try {
    checkRows(dataset, plan.partRows);
    const state = startingState(dataset, plan, context);
    const steps = await totalSteps(dataset, plan, context, options.signal);
    await runner.reserve?.(plan.partRows);
    options.onData?.({
      kind: 'ready',
      examples: dataset.examples,
      leftOut: dataset.leftOut,
      ...(steps !== undefined && { steps }),
    });
    yield* new Loop(runner, dataset, plan, steps, context, state, options.signal).run();
  } finally {
    await dataset.close();
  }
}

class Loop {
  readonly #runner: StepRunner;
  readonly #dataset: Dataset;
  readonly #plan: Plan;
  readonly #steps: number | undefined;
  readonly #context: TrainingContext;
  readonly #begun = performance.now();
  readonly #elapsedBefore: number;
  readonly #signal: AbortSignal | undefined;
  #state: TrainingState;

  constructor(
    runner: StepRunner,
    dataset: Dataset,
    plan: Plan,
    steps: number | undefined,
    context: TrainingContext,
    state: TrainingState,
    signal: AbortSignal | undefined,
  ) {
    this.#runner = runner;
    this.#dataset = dataset;
    this.#plan = plan;
    this.#steps = steps;
    this.#context = context;
    this.#state = state;
    this.#elapsedBefore = state.elapsed;
    this.#signal = signal;
  }

  async *run(): AsyncGenerator<TrainingStep, void, void> {
    let ready: Promise<Batch> | undefined;
    let position: Position | undefined;
    const positions = this.#positions();
    try {
      while (this.#progress() < 1) {
        this.#signal?.throwIfAborted();
        position ??= await next(positions);
        if (!position) return;
        const batch = await (ready ?? this.#batch(position));
        // The next step's ids are read while this one is computed.
        const after = await next(positions);
        ready = after && this.#batch(after);
        ready?.catch(() => {});
        yield await this.#step(batch, position);
        position = after;
      }
    } finally {
      await ready?.catch(() => {});
    }
  }

  /** The steps that are left, over all epochs. */
  async *#positions(): AsyncGenerator<Position, void, void> {
    const { seed } = this.#context;
    let skipped = this.#state.stepOfEpoch;
    for (let epoch = this.#state.epoch; epoch < this.#plan.epochs; epoch++) {
      let stepOfEpoch = 0;
      for await (const slots of epochSteps(this.#dataset, seed, epoch, this.#plan.rows)) {
        stepOfEpoch++;
        if (skipped > 0) skipped--;
        else yield { epoch, stepOfEpoch, slots };
      }
    }
  }

  /** Share of the run that is done; 1 ends it. */
  #progress(): number {
    const ofSteps = this.#steps === undefined ? 0 : this.#state.step / this.#steps;
    return Math.min(1, Math.max(ofSteps, this.#elapsed() / this.#plan.time));
  }

  #elapsed(): number {
    return this.#elapsedBefore + performance.now() - this.#begun;
  }

  async #step({ parts, rows }: Batch, { epoch, stepOfEpoch }: Position): Promise<TrainingStep> {
    const { learningRate, seed } = this.#context;
    const step = this.#state.step + 1;
    const factor = scheduleFactor(this.#plan.schedule, step, this.#steps, this.#progress());
    const rate = learningRate * factor;
    const begun = performance.now();
    const result = await this.#runner.runStep(parts, {
      update: true,
      learningRate: rate,
      seed,
      step,
      ...(this.#signal && { signal: this.#signal }),
    });
    const seconds = (performance.now() - begun) / 1000;
    checkFinite(result, step);
    this.#state = { ...this.#state, step, epoch, stepOfEpoch, elapsed: this.#elapsed() };
    this.#context.state = this.#state;
    return {
      step,
      epoch,
      loss: result.loss,
      nll: result.nll,
      lengthLoss: result.lengthLoss,
      gradientNorm: result.gradientNorm,
      learningRate: rate,
      rows,
      rowsPerSecond: rows / seconds,
      progress: this.#progress(),
    };
  }

  async #batch({ epoch, slots }: Position): Promise<Batch> {
    const { partRows, sourceMask } = this.#plan;
    const { seed } = this.#context;
    const { maskTokenId } = this.#runner;
    let rows = 0;
    const parts = runsOf(slots, this.#dataset, partRows).map(async (run) => {
      const part: StepPart = { sources: [], targets: [], golds: [] };
      const read = await Promise.all(run.map(({ example }) => this.#dataset.read(example)));
      read.forEach(({ source, target }, index) => {
        const key = { seed, epoch, ...run[index]! };
        part.sources.push(corruptSource(source, maskTokenId, sourceMask, key));
        part.targets.push(corruptTarget(target, maskTokenId, key));
        part.golds.push(target);
        rows += source.length + target.length;
      });
      return part;
    });
    return { parts: await Promise.all(parts), rows };
  }
}

interface Position {
  epoch: number;
  /** From 1. */
  stepOfEpoch: number;
  slots: Slot[];
}

interface Batch {
  parts: StepPart[];
  rows: number;
}

async function next(
  positions: AsyncGenerator<Position, void, void>,
): Promise<Position | undefined> {
  const { value, done } = await positions.next();
  return done ? undefined : (value as Position);
}

/** A training that has left the numbers cannot come back; what was saved before is still good. */
function checkFinite({ loss, gradientNorm }: StepResult, step: number): void {
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return;
  throw invalidArgument(
    `step ${step} has a loss of ${loss} and a gradient norm of ${gradientNorm}: the training diverged; a lower learning ` +
      'rate or a longer warm-up keeps it stable',
  );
}

interface Plan {
  rows: number;
  partRows: number;
  /** Infinity: not limited. */
  steps: number;
  epochs: number;
  time: number;
  sourceMask: number;
  schedule: Schedule;
}

function readPlan(options: TrainOptions): Plan {
  checkOptions('train()', options, trainOptions);
  checkSignal(options.signal);
  const most = Number.MAX_SAFE_INTEGER;
  const { steps, epochs, time, power = 1 } = options;
  if (steps === undefined && epochs === undefined && time === undefined) {
    throw invalidArgument('train() needs an end: steps, epochs or time (milliseconds)');
  }
  if (!(typeof power === 'number' && power > 0 && power <= 100)) {
    throw invalidArgument(`power must be a number above 0 and up to 100, not ${shown(power)}`);
  }
  const limit = (name: string, value: unknown) =>
    value === undefined ? Infinity : integerOption(name, value, 1, 1, most);
  const rows = integerOption('rows', options.rows, 4096, 8, 2 ** 24);
  return {
    rows,
    partRows: integerOption('partRows', options.partRows, rows, 8, rows),
    steps: limit('steps', steps),
    epochs: limit('epochs', epochs),
    time: limit('time', time),
    sourceMask: integerOption('sourceMask', options.sourceMask, 15, 0, 100),
    schedule: {
      name: scheduleOption(options.schedule),
      warmup: integerOption('warmup', options.warmup, 500, 0, most),
      power,
    },
  };
}

/** The dataset of `source`, with the texts of its first `texts` examples. @internal */
export async function openDataset(
  runner: StepRunner,
  source: DatasetSource,
  options: DataOptions & { signal?: AbortSignal },
  { tokenizer, tokenizerBytes }: TrainingContext,
  texts: number,
): Promise<Dataset> {
  const { fields = defaultFields, cache = defaultCache(), onData, signal } = options;
  checkFields(fields);
  checkFunction('onData', onData);
  if (typeof cache !== 'string' || cache === '') {
    throw invalidArgument(`cache must be the path of a directory, not ${shown(cache)}`);
  }
  if (!tokenizer || !tokenizerBytes) {
    throw invalidArgument(
      'the model has no sentencepiece.bpe.model: put it into the directory to train on texts; step() needs none',
    );
  }
  // The length classes count from 0, and class L is a target of L ids.
  const longest = Math.min(runner.maxIds, runner.lengths - 1);
  return Dataset.open(source, {
    tokenizer,
    tokenizerBytes,
    fields,
    maxSource: idsOption('maxSource', options.maxSource, runner.maxIds),
    maxTarget: idsOption('maxTarget', options.maxTarget, longest),
    cache,
    texts,
    onProgress: onData && ((name, examples) => onData({ kind: 'reading', name, examples })),
    signal,
  });
}

function checkFields(fields: unknown): asserts fields is Fields {
  const valid =
    Array.isArray(fields) &&
    fields.length === 2 &&
    fields.every((field) => typeof field === 'string' && field !== '');
  if (valid) return;
  throw invalidArgument(
    `fields must be two names, of instruction and output, not ${shown(fields)}`,
  );
}

/** The state of `context`, checked against what it is about to go on with; or that of a beginning. */
function startingState(
  { fingerprint }: Dataset,
  { rows, sourceMask }: Plan,
  { state, seed }: TrainingContext,
): TrainingState {
  const fresh: TrainingState = {
    version: 1,
    data: fingerprint,
    rows,
    sourceMask,
    seed: String(seed),
    step: 0,
    epoch: 0,
    stepOfEpoch: 0,
    elapsed: 0,
  };
  if (state === undefined || state === null) return fresh;
  if (!isState(state)) {
    throw invalidArgument(
      'the trainer has a state that is not of train(): another loop kept it there',
    );
  }
  for (const name of ['rows', 'sourceMask', 'seed'] as const) {
    if (state[name] === fresh[name]) continue;
    throw invalidArgument(
      `the training that goes on has ${name} ${state[name]}, not ${fresh[name]}: its position would mean nothing`,
    );
  }
  if (state.data !== fingerprint) {
    throw invalidArgument(
      'the training that goes on has read other data, or with another tokenizer, weights, fields or lengths; its ' +
        'position would mean nothing',
    );
  }
  return state;
}

function isState(state: unknown): state is TrainingState {
  const { version, step, epoch, stepOfEpoch, elapsed } = state as Partial<TrainingState>;
  return version === 1 && [step, epoch, stepOfEpoch, elapsed].every(Number.isFinite);
}

/** Steps in all, where steps or epochs say so. */
async function totalSteps(
  dataset: Dataset,
  { steps, epochs, rows, schedule: { name, warmup } }: Plan,
  { seed }: TrainingContext,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  let total = 0;
  for (let epoch = 0; epoch < epochs && epochs !== Infinity && total < steps; epoch++) {
    total += await countSteps(dataset, seed, epoch, rows);
    signal?.throwIfAborted();
  }
  const most = epochs === Infinity ? steps : Math.min(steps, total);
  if (most === Infinity) return undefined;
  if (name === 'polynomial' && warmup >= most) {
    throw invalidArgument(
      `the warm-up of ${warmup} steps is not shorter than the training of ${most}: lower warmup, or train longer`,
    );
  }
  return most;
}
