/**
 * The options of `train` and what they become: of the trainer, its data, the loop and the directory. A training that
 * goes on has those it was begun with; only some may be given anew.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DatasetSource } from '../training/dataset.js';
import type { Fields } from '../training/examples.js';
import { scheduleNames, type ScheduleName } from '../training/schedule.js';
import type { DataOptions, TrainOptions } from '../training/train.js';
import type { BestBy, SavePrecision } from '../training/training-run.js';
import type { ValidateOptions } from '../training/validate.js';
import { Arguments, UsageError, type OptionTable } from './arguments.js';

const text = { type: 'string' } as const;

export const trainTable: OptionTable = {
  model: text,
  new: text,
  tokenizer: text,
  heads: text,
  'feed-forward': text,
  norm: text,
  'max-positions': text,
  lengths: text,
  'new-head': { type: 'boolean' },
  resume: { type: 'boolean' },
  out: text,
  valid: text,
  fields: text,
  'max-source': text,
  'max-target': text,
  cache: text,
  rows: text,
  'part-rows': text,
  steps: text,
  epochs: text,
  time: text,
  'learning-rate': text,
  schedule: text,
  warmup: text,
  power: text,
  'weight-decay': text,
  average: text,
  dropout: text,
  'label-smoothing': text,
  'length-weight': text,
  'source-mask': text,
  freeze: text,
  attention: text,
  recompute: text,
  precision: text,
  seed: text,
  threads: text,
  'memory-limit': text,
  best: text,
  'keep-best': text,
  answers: text,
  'valid-every': text,
  'checkpoint-every': text,
  'save-precision': text,
};

/** Options that a resumed training may set again. */
const changeable = new Set([
  'resume',
  'out',
  'steps',
  'epochs',
  'time',
  'part-rows',
  'cache',
  'threads',
  'memory-limit',
  'best',
  'keep-best',
  'answers',
  'valid',
  'valid-every',
  'checkpoint-every',
  'save-precision',
]);

/** Paths, which mean the same from another directory. */
const paths = new Set(['model', 'tokenizer', 'valid', 'cache', 'out']);

/** Options as they were given, with paths made absolute: what `run.json` keeps. */
export interface Settings {
  data: string[];
  options: Record<string, string>;
}

export function settingsOf(given: Arguments): Settings {
  const options: Record<string, string> = {};
  for (const name of Object.keys(trainTable)) {
    const value = trainTable[name]!.type === 'string' ? given.text(name) : undefined;
    if (value !== undefined) options[name] = paths.has(name) ? resolve(value) : value;
  }
  return { data: given.texts.map((name) => resolve(name)), options };
}

/** The options of a training that goes on: those it began with, and what is given anew. */
export function resumed(given: Settings, begun: Settings): Settings {
  if (given.data.length > 0 && String(given.data) !== String(begun.data)) {
    throw new UsageError(
      `the training that goes on reads ${begun.data.join(' ')}; leave the files out`,
    );
  }
  for (const [name, value] of Object.entries(given.options)) {
    if (changeable.has(name) || begun.options[name] === value) continue;
    const before = begun.options[name];
    throw new UsageError(
      `the training that goes on has ${before === undefined ? `no --${name}` : `--${name} ${before}`}; leave --${name} ` +
        'out, or begin a new one in another directory',
    );
  }
  return { data: begun.data, options: { ...begun.options, ...given.options } };
}

export function argumentsOf({ data, options }: Settings): Arguments {
  const list = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  return new Arguments([...list, '--', ...data], trainTable);
}

/** The files to train on; `FILE=WEIGHT` is a file with its weight, if there is none of the whole name. */
export function trainingData(given: Arguments): DatasetSource {
  if (given.texts.length === 0) throw new UsageError('train needs a file of examples');
  return given.texts.map((name) => {
    const [, file, weight] = /^(.+)=(\d+(?:\.\d+)?)$/.exec(name) ?? [];
    return file === undefined || existsSync(name)
      ? { file: name }
      : { file, weight: Number(weight) };
  });
}

/** `--new LAYERSxHIDDEN` and what goes with it; undefined without it. */
export function newShape(given: Arguments): Record<string, number | string> | undefined {
  const size = given.text('new');
  const others = ['heads', 'feed-forward', 'norm', 'max-positions', 'lengths', 'tokenizer'];
  if (size === undefined) {
    const other = others.find((name) => given.text(name) !== undefined);
    if (other) throw new UsageError(`--${other} is for a new model; --model has its own`);
    return undefined;
  }
  if (given.text('tokenizer') === undefined) {
    throw new UsageError('--new needs --tokenizer FILE, a SentencePiece model');
  }
  const [, layers, hidden] = /^(\d+)x(\d+)$/.exec(size) ?? [];
  if (layers === undefined) {
    throw new UsageError(`--new takes layers and hidden size such as 6x256, not '${size}'`);
  }
  return defined({
    layers: Number(layers),
    hidden: Number(hidden),
    heads: given.integer('heads', 1, 1024),
    feedForward: given.integer('feed-forward', 1, 2 ** 20),
    norm: given.choice('norm', ['pre', 'post']),
    maxPositions: given.integer('max-positions', 5, 2 ** 16),
    lengths: given.integer('lengths', 4, 2 ** 16),
  });
}

/** Options of the trainer itself. */
export function trainerOptions(given: Arguments): Record<string, unknown> {
  const freeze = given.choice('freeze', ['embeddings']);
  return defined({
    dropout: given.number('dropout', 0, 0.9),
    labelSmoothing: given.number('label-smoothing', 0, 0.9),
    lengthWeight: given.number('length-weight', 0, 1000),
    learningRate: given.number('learning-rate', 0, 10),
    weightDecay: given.number('weight-decay', 0, 1),
    average: given.number('average', 0, 0.999999),
    precision: given.choice('precision', ['auto', 'fp32', 'bf16']),
    attention: given.choice('attention', ['dynamic', 'mixed']),
    recompute: given.choice('recompute', ['none', 'gelu', 'layer']),
    freeze: freeze && [freeze],
    seed: given.bigInteger('seed'),
    ...machineOptions(given),
  });
}

/** Options of the machine: a training that goes on may have others. */
export function machineOptions(given: Arguments): { threads?: number; memoryLimit?: number } {
  return defined({
    threads: given.integer('threads', 1, 256),
    memoryLimit: given.bytes('memory-limit'),
  });
}

function dataOptions(given: Arguments): DataOptions {
  return defined({
    fields: fieldsOf(given.text('fields')),
    maxSource: given.integer('max-source', 3, 65535),
    maxTarget: given.integer('max-target', 3, 65535),
    cache: given.text('cache'),
  });
}

export function trainOptions(given: Arguments): TrainOptions {
  const whole = Number.MAX_SAFE_INTEGER;
  const end = {
    steps: given.integer('steps', 1, whole),
    epochs: given.integer('epochs', 1, whole),
    time: given.duration('time'),
  };
  if (Object.values(end).every((value) => value === undefined)) {
    throw new UsageError('train needs an end: --steps, --epochs or --time');
  }
  return defined({
    ...dataOptions(given),
    ...end,
    rows: given.integer('rows', 8, 2 ** 24),
    partRows: given.integer('part-rows', 8, 2 ** 24),
    schedule: given.choice<ScheduleName>('schedule', scheduleNames),
    warmup: given.integer('warmup', 0, whole),
    power: given.number('power', 0.01, 100),
    sourceMask: given.integer('source-mask', 0, 100),
  });
}

export function validOptions(given: Arguments): ValidateOptions {
  return defined({
    ...dataOptions(given),
    answers: given.integer('answers', 0, 2 ** 24),
    partRows: given.integer('part-rows', 8, 2 ** 24) ?? given.integer('rows', 8, 2 ** 24),
  });
}

export function keepingOptions(given: Arguments): {
  best: BestBy;
  keepBest: number;
  validEvery: number;
  checkpointEvery: number;
  savePrecision: SavePrecision;
} {
  const best = given.choice<BestBy>('best', ['loss', 'exact', 'bleu']);
  if (best !== undefined && given.text('valid') === undefined) {
    throw new UsageError('--best is by validation: it needs --valid FILE');
  }
  if (best !== undefined && best !== 'loss' && given.text('answers') === '0') {
    throw new UsageError(`--best ${best} needs answers: --answers must be above 0`);
  }
  const keepBest = given.integer('keep-best', 1, 100) ?? 0;
  if (keepBest > 0 && given.text('valid') === undefined) {
    throw new UsageError('--keep-best is by validation: it needs --valid FILE');
  }
  const whole = Number.MAX_SAFE_INTEGER;
  return {
    best: best ?? 'loss',
    keepBest,
    validEvery: given.integer('valid-every', 1, whole) ?? 500,
    checkpointEvery: given.integer('checkpoint-every', 1, whole) ?? 500,
    savePrecision:
      given.choice<SavePrecision>('save-precision', ['fp32', 'fp16', 'bf16']) ?? 'fp32',
  };
}

export function fieldsOf(value: string | undefined): Fields | undefined {
  if (value === undefined) return undefined;
  const names = value.split(',');
  if (names.length === 2 && names.every((name) => name !== '')) return [names[0]!, names[1]!];
  throw new UsageError(`--fields takes two names such as inputs,targets, not '${value}'`);
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the entries that are undefined. */
function defined<T extends object>(record: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(record).filter(([, value]) => value !== undefined),
  ) as Defined<T>;
}
