/** How the concurrent calls of one model share it. */
import { checkOptions, integerOption } from '../options.js';

export interface SchedulingOptions {
  /**
   * Rows of one pass, a row being an id of a source that is encoded or of a target that is written: 1 …
   * 1 048 576. Default: 512 on a GPU; on a CPU 128 for layers as large as XLM-R base's and larger, more for smaller
   * ones, up to 512. Every call at work waits for the whole pass, so fewer rows mean shorter passes; more rows read the
   * weights less often, which pays until arithmetic is what a pass takes (soon on a CPU, late on a GPU). A single
   * sequence that is longer goes through alone.
   */
  rowBudget?: number;
  /**
   * Calls that may wait for their first pass, on all devices together, 1 … 1 048 576; the next one is `ERR_OVERLOADED` at once. Default: any
   * number, because a program knows how many calls it makes. A service whose callers it does not know sets a limit, so
   * that they learn early to go elsewhere.
   */
  queueLimit?: number;
  /**
   * Passes, 0 … 1 048 576, default 8, that may go by the first call in line because its source does not fit beside
   * the running targets; then it goes first. Smaller is kinder to long sources, larger to running targets.
   */
  patience?: number;
  /**
   * Milliseconds, 1 … 86 400 000, default 1000, that a call without a `deadline` is taken to have: the queue is
   * ordered by them, so that a call with less time overtakes one that came up to so much earlier, and none waits
   * for ever. One step of `priority` counts as much.
   */
  expectedWait?: number;
}

/** Scheduling options of one call. */
export interface QueueOptions {
  /** Integer from -100 to 100, default 0. A step is worth `scheduling.expectedWait` of waiting. */
  priority?: number;
  /**
   * Milliseconds, 1 … 86 400 000, within which the call must have begun: it is queued by them, and rejected with
   * `ERR_OVERLOADED` if they pass before its first pass. Default: none.
   */
  deadline?: number;
}

const most = 2 ** 20;
const day = 86_400_000;

/** @internal */
export const queueOptions = ['priority', 'deadline'];

/** Weights of XLM-R base's layers, of which 128 rows are a good pass on a CPU. */
const baseWeights = 12 * 12 * 768 ** 2;

function defaultRowBudget(device: string, bodyWeights: number): number {
  const [least, many] = [128, 512];
  if (device !== 'cpu') return many;
  return Math.round(Math.min(Math.max((least * baseWeights) / bodyWeights, least), many));
}

/** @internal The options for an engine, or the error that names the wrong one. */
export function readSchedulingOptions(
  options: SchedulingOptions = {},
): (engine: { device: string; config: { bodyWeights: number } }) => Required<SchedulingOptions> {
  checkOptions('scheduling', options, ['rowBudget', 'queueLimit', 'patience', 'expectedWait']);
  const rowBudget = integerOption('scheduling.rowBudget', options.rowBudget, 0, 1, most);
  const read = {
    queueLimit: integerOption('scheduling.queueLimit', options.queueLimit, Infinity, 1, most),
    patience: integerOption('scheduling.patience', options.patience, 8, 0, most),
    expectedWait: integerOption('scheduling.expectedWait', options.expectedWait, 1000, 1, day),
  };
  return ({ device, config }) => ({
    ...read,
    rowBudget: rowBudget || defaultRowBudget(device, config.bodyWeights),
  });
}

/** @internal */
export function readQueueOptions(options: QueueOptions): {
  priority: number;
  deadline: number | undefined;
} {
  return {
    priority: integerOption('priority', options.priority, 0, -100, 100),
    deadline:
      options.deadline === undefined
        ? undefined
        : integerOption('deadline', options.deadline, 0, 1, day),
  };
}
