/**
 * Asks a model everything that has no answer yet. Many calls at a time, so that the scheduler's passes are full; it decides
 * what shares a pass, and no answer depends on that.
 */
import { invalidArgument } from '../../errors.js';
import type { GenerateOptions } from '../../text/generation.js';
import type { MaskPredict } from '../../text/mask-predict.js';
import { drawn, type TaskExample } from '../tasks/examples.js';
import { answersOf, instructionOf, labelsOf } from '../tasks/template.js';
import { keyOf, type AnswerLog, type AnswerRecord } from './answer-log.js';
import { tokensOf, type Plan } from './plans.js';

/** Calls that wait or run, for each device: several passes' worth for models of any size. */
const atOnce = 128;

/** How far a run is. */
export interface EvaluationProgress {
  done: number;
  total: number;
  /** Answers that were there before. */
  resumed: number;
  /** Since this part of the run began. */
  milliseconds: number;
}

/** @internal */
export interface AskSettings {
  iterations: number;
  stop: GenerateOptions['stop'];
  remask: GenerateOptions['remask'];
  shots: number;
  /** Where shots are drawn from: examples of the same group, or of any where it has none. */
  shotExamples: readonly TaskExample[];
  seed: number;
  signal: AbortSignal | undefined;
  onProgress: ((progress: EvaluationProgress) => void) | undefined;
}

interface Question {
  plan: Plan;
  example: TaskExample;
  index: number;
}

/** @internal */
export async function answerAll(
  model: MaskPredict,
  plans: readonly Plan[],
  examples: readonly TaskExample[],
  log: AnswerLog,
  settings: AskSettings,
): Promise<void> {
  const all = plans.flatMap((plan) => examples.map((example, index) => ({ plan, example, index })));
  const open = all.filter(
    ({ plan, example }) =>
      !log.records.has(keyOf({ prompt: plan.prompt.name, way: plan.way, id: example.id })),
  );
  const resumed = all.length - open.length;
  const begun = performance.now();
  let last = begun;
  let next = 0;
  let done = resumed;
  let failed = false;
  const worker = async () => {
    while (next < open.length && !failed) {
      settings.signal?.throwIfAborted();
      const record = await answer(model, open[next++]!, settings);
      const now = performance.now();
      log.add({ ...record, ms: now - last });
      last = now;
      done++;
      settings.onProgress?.({ done, total: all.length, resumed, milliseconds: now - begun });
    }
  };
  const workers = Array.from({ length: Math.min(atOnce * model.engines.length, open.length) }, () =>
    worker().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  const ends = await Promise.allSettled(workers);
  const failure = ends.find((end) => end.status === 'rejected');
  if (failure) throw failure.reason;
}

async function answer(
  model: MaskPredict,
  question: Question,
  settings: AskSettings,
): Promise<AnswerRecord> {
  const { plan, example } = question;
  const gold = answersOf(plan.prompt, example.fields);
  const goldLength = tokensOf(model.tokenizer, gold[0]!);
  const source = withShots(question, settings);
  const { signal } = settings;
  const asked = {
    prompt: plan.prompt.name,
    way: plan.way,
    group: example.group,
    id: example.id,
    source,
  };
  if (plan.answer === 'choose') {
    const labels = labelsOf(plan.prompt, example.fields)!;
    const { label, index, logProbs } = await model.choose(source, labels, {
      ...(signal && { signal }),
    });
    const most = model.engine.config.maxPositions - 2;
    const truncated = model.tokenizer.encode(source, { maxIds: most }).truncated;
    const length = tokensOf(model.tokenizer, label);
    return {
      ...asked,
      answer: label,
      gold,
      length,
      goldLength,
      score: logProbs[index]!,
      passes: 1,
      truncated,
    };
  }
  if (plan.length === 'gold' && goldLength < 1) {
    throw invalidArgument(`${example.id}: the right answer is empty, so there is no gold length`);
  }
  const generation = await model.generate(source, {
    iterations: settings.iterations,
    length: plan.length === 'gold' ? goldLength : plan.length,
    ...(settings.stop !== undefined && { stop: settings.stop }),
    ...(settings.remask !== undefined && { remask: settings.remask }),
    ...(signal && { signal }),
  });
  return {
    ...asked,
    answer: generation.text,
    gold,
    length: generation.length,
    goldLength,
    score: generation.score,
    passes: generation.iterations,
    truncated: generation.truncated,
  };
}

/** The instruction after `shots` others with their answers. */
function withShots({ plan, example, index }: Question, settings: AskSettings): string {
  const { prompt } = plan;
  const question = instructionOf(prompt, example.fields);
  if (settings.shots === 0) return question;
  const others = settings.shotExamples.filter(({ id }) => id !== example.id);
  const same = others.filter(({ group }) => group === example.group);
  const from = same.length >= settings.shots ? same : others;
  if (from.length < settings.shots) {
    throw invalidArgument(
      `there are ${from.length} examples to show before ${example.id}, fewer than the ${settings.shots} asked for`,
    );
  }
  const shown = drawn(from.length, settings.shots, settings.seed, index + 1).map(
    (i) => `${instructionOf(prompt, from[i]!.fields)} ${answersOf(prompt, from[i]!.fields)[0]!}`,
  );
  return [...shown, question].join(' ');
}
