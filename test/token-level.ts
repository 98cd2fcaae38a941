/**
 * The expected results of the text level, put together from single calls of the token level: the loop of predict and
 * remask by hand, and log-probabilities in double precision from raw logits. Also the instructions whose answers
 * models/numbers/README.md and the rules of the languages know.
 */
import type { Engine, Source, Target } from '../lib/index.js';
import { logSumExp, remaskCount } from './reference/prediction.js';

export const knownAnswers = {
  'Write the number 4217 in German words.': 'viertausendzweihundertsiebzehn',
  'Write this French number in digits: dix-neuf': '19',
  'Translate the following text from Spanish to English: veintiuno': 'twenty-one',
  'Is the number 4217 even? Yes or no?': 'No',
  'Write the number 1984 in English words.': 'one thousand nine hundred and eighty-four',
  'Write the number 0 in English words.': 'zero',
} as const;

export const prompts = Object.keys(knownAnswers);

export interface Inner {
  tokens: Int32Array;
  tokenScores: Float32Array;
}

/** The tokens and scores of a target, without `<s>` and `</s>`. */
export function inner({ tokens, scores }: Target): Inner {
  return { tokens: tokens.slice(1, -1), tokenScores: scores.slice(1, -1) };
}

/** Mean in double precision. */
export function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

/** After how many passes nothing is left to mask: the smallest t with floor(N·(T-t)/T) = 0. */
export function passesNeeded(count: number, iterations: number): number {
  let pass = 1;
  while (remaskCount(count, pass, iterations) > 0) pass++;
  return pass;
}

export interface Pass extends Inner {
  /** 1 where the loop masks again after this pass, `<s>` and `</s>` left out. */
  masked: Uint8Array;
}

/** T iterations by hand over the positions that are masked; one entry per pass, before re-masking. */
export async function loop(engine: Engine, target: Target, iterations: number): Promise<Pass[]> {
  const passes: Pass[] = [];
  for (let t = 1; t <= iterations; t++) {
    await engine.predict([target]);
    const state = inner(target);
    const count = remaskCount(target.maskable, t, iterations);
    await engine.remask([target], [count]);
    passes.push({ ...state, masked: target.masked.slice(1, -1) });
    if (count === 0) break;
  }
  return passes;
}

/** One source from its ids. */
export async function encoded(engine: Engine, ids: Int32Array): Promise<Source> {
  const [source] = await engine.encode([ids]);
  return source!;
}

/** For each position of a target, log-probabilities of all ids over the real ones, in double precision. */
export async function logSoftmax(engine: Engine, target: Target): Promise<Float64Array[]> {
  const { vocabulary, maskTokenId } = engine.config;
  const [logits] = await engine.logits([target]);
  return Array.from({ length: target.length }, (_, position) => {
    const row = Float64Array.from(
      logits!.subarray(position * vocabulary, (position + 1) * vocabulary),
    );
    const sum = logSumExp(row, maskTokenId);
    return row.map((logit) => logit - sum);
  });
}

/**
 * How far a log-probability in fp32 may be from double precision over the engine's own logits. A logit may
 * come from another order of the same sum of D products: √D·u of its terms' size, relative to the largest
 * logit of about 20 (Higham and Mary 2019; D = 128, u = 2^-24); exponential, sum and logarithm add 3e-7 each
 * of values up to log V < 20. 1e-4 is four times the sum of these.
 */
export const logProbBound = 1e-4;
