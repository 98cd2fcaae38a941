/**
 * How good a model is on examples it was not trained on: by its loss, at masks that are the same every time, and by
 * what it writes, through the saved model and MaskPredict as anybody would use it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bleu } from '../evaluation/bleu.js';
import { checkOptions, checkSignal, integerOption } from '../options.js';
import { MaskPredict } from '../text/mask-predict.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { runsOf, type Slot } from './batches.js';
import { corruptTarget } from './corruption.js';
import type { Dataset, DatasetSource } from './dataset.js';
import type { Example } from './examples.js';
import type { StepResult, StepRunner } from './step.js';
import { openDataset, type DataOptions, type TrainingContext } from './train.js';

/** T, the passes over an answer. @internal */
export const validationIterations: readonly ValidationIterations[] = [1, 4, 10];
/** T of the passes that validation answers with. */
export type ValidationIterations = 1 | 4 | 10;

export interface ValidateOptions extends DataOptions {
  /** So many of the first examples are answered at T = 1, 4 and 10; 0: none. Default 200. */
  answers?: number;
  /** Ids worked on at once. Default 4096. */
  partRows?: number;
  signal?: AbortSignal;
}

export interface Validation {
  /** As of a training step, without dropout and with whole sources, over all examples. */
  loss: number;
  nll: number;
  lengthLoss: number;
  examples: number;
  /** By T; there if answers were asked for. */
  answers?: Record<ValidationIterations, AnswerScores>;
}

export interface AnswerScores {
  /** Share of answers that are the output, letter for letter, as the tokenizer writes it: 0 … 1. */
  exact: number;
  /** Corpus BLEU of all answers, 0 … 100. */
  bleu: number;
}

const validateOptions = [
  'fields',
  'maxSource',
  'maxTarget',
  'cache',
  'onData',
  'signal',
  'answers',
  'partRows',
];

/** The draws of validation: those of an epoch that no training reaches, under a seed of its own. */
const fixedMasks = { seed: 0n, epoch: 0xffffffff };
const answeredAtOnce = 64;

/** @internal */
export async function runValidation(
  runner: StepRunner,
  source: DatasetSource,
  options: ValidateOptions,
  context: TrainingContext & { lengthWeight: number; threads?: number },
): Promise<Validation> {
  checkOptions('validate()', options, validateOptions);
  checkSignal(options.signal);
  const answers = integerOption('answers', options.answers, 200, 0, 2 ** 24);
  const partRows = integerOption('partRows', options.partRows, 4096, 8, 2 ** 24);
  const dataset = await openDataset(runner, source, options, context, answers);
  try {
    const { signal } = options;
    const losses = await meanLosses(runner, dataset, partRows, context.lengthWeight, signal);
    if (answers === 0) return losses;
    return { ...losses, answers: await answerScores(runner, dataset.texts, context, signal) };
  } finally {
    await dataset.close();
  }
}

/** Means over all masked tokens and all examples, a part at a time. */
async function meanLosses(
  runner: StepRunner,
  dataset: Dataset,
  partRows: number,
  lengthWeight: number,
  signal: AbortSignal | undefined,
): Promise<Omit<Validation, 'answers'>> {
  let [tokens, examples, tokenLoss, nll, lengthLoss] = [0, 0, 0, 0, 0];
  for (const slots of runsOf(everyExample(dataset), dataset, partRows)) {
    signal?.throwIfAborted();
    const result = await evaluate(runner, dataset, slots);
    tokens += result.maskedTokens;
    examples += result.examples;
    nll += result.maskedTokens * result.nll;
    lengthLoss += result.examples * result.lengthLoss;
    tokenLoss += result.maskedTokens * (result.loss - lengthWeight * result.lengthLoss);
  }
  const lengthMean = lengthLoss / examples;
  return {
    loss: tokenLoss / tokens + lengthWeight * lengthMean,
    nll: nll / tokens,
    lengthLoss: lengthMean,
    examples,
  };
}

/** By length, so that a part has rows of about the same length. */
function everyExample(dataset: Dataset): Slot[] {
  return Array.from({ length: dataset.examples }, (_, example) => ({
    example,
    occurrence: 0,
  })).sort((a, b) => dataset.rows(a.example) - dataset.rows(b.example));
}

async function evaluate(runner: StepRunner, dataset: Dataset, slots: Slot[]): Promise<StepResult> {
  const read = await Promise.all(slots.map(({ example }) => dataset.read(example)));
  const golds = read.map(({ target }) => target);
  const targets = golds.map((target, index) =>
    corruptTarget(target, runner.maskTokenId, { ...fixedMasks, ...slots[index]! }),
  );
  return runner.evaluate([{ sources: read.map(({ source }) => source), targets, golds }]);
}

async function answerScores(
  runner: StepRunner,
  texts: readonly Example[],
  { threads }: { threads?: number },
  signal: AbortSignal | undefined,
): Promise<Record<ValidationIterations, AnswerScores>> {
  const directory = await mkdtemp(join(tmpdir(), 'mask-predict-'));
  try {
    const saved = join(directory, 'model');
    await runner.save(saved);
    const model = await MaskPredict.load(saved, { device: 'cpu', ...(threads && { threads }) });
    try {
      const scores = {} as Record<ValidationIterations, AnswerScores>;
      for (const iterations of validationIterations) {
        scores[iterations] = await answerAll(model, texts, iterations, signal);
      }
      return scores;
    } finally {
      await model.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function answerAll(
  model: MaskPredict,
  texts: readonly Example[],
  iterations: number,
  signal: AbortSignal | undefined,
): Promise<AnswerScores> {
  const answers: string[] = [];
  for (let from = 0; from < texts.length; from += answeredAtOnce) {
    const prompts = texts.slice(from, from + answeredAtOnce).map(({ instruction }) => instruction);
    const generations = await model.generate(prompts, { iterations, ...(signal && { signal }) });
    answers.push(...generations.map(({ text }) => text));
  }
  const outputs = texts.map(({ output }) => output);
  const right = answers.filter(
    (text, index) => text === rewritten(outputs[index]!, model.tokenizer),
  );
  return { exact: right.length / texts.length, bleu: bleu(answers, [outputs]).score };
}

/** A text as it comes back from its ids: white space and forms of letters may be others. */
function rewritten(text: string, tokenizer: Tokenizer): string {
  return tokenizer.decode(tokenizer.encode(text).ids);
}
