// The job that the benchmarks run, and the least time the machine needs for it: sources are encoded once and targets
// are written over them in T iterations.

import { readFileSync } from 'node:fs';
import { peakOf } from './machine.mjs';

/** Ids of a source and of a target, `<s>` and `</s>` included, unless a benchmark is told otherwise. */
export const sourceLength = 64;
export const targetLength = 32;

/** `batch` sources of `length` ids, all different and the same in every program. */
export function sourceIds(batch, length, maskTokenId) {
  return Array.from({ length: batch }, (_, b) =>
    Int32Array.from({ length }, (_, i) =>
      i === 0 ? 0 : i === length - 1 ? 2 : 4 + ((i * 7919 + b * 104729) % (maskTokenId - 4)),
    ),
  );
}

/** How many of `maskable` positions are masked in pass 1 … `iterations`. */
export function maskedIn(pass, iterations, maskable) {
  return pass === 1 ? maskable : Math.floor((maskable * (iterations - pass + 1)) / iterations);
}

/** Milliseconds of the job's parts, and the tokens `[batch][length]` that came out. */
export async function runJob(engine, ids, length, iterations) {
  const begun = performance.now();
  const sources = await engine.encode(ids, { states: false }); // the length is given
  const encoded = performance.now();
  const targets = sources.map((source) => source.target(length));
  await engine.decode(targets, iterations);
  const tokens = targets.map((target) => target.tokens);
  const done = performance.now();
  for (const source of sources) source.dispose();
  return { encode: encoded - begun, decode: done - encoded, total: done - begun, tokens };
}

const bytesOf = { fp32: 4, bf16: 2, fp16: 2, int8: 1 };

/**
 * Milliseconds that no program on this machine can beat for the dense products of a job: operations over the
 * arithmetic peak or weight bytes over the read bandwidth, whichever takes longer, for the body and the head of every
 * pass; of the source's last layer, of which targets read keys and values, only these. Attention, norms and everything
 * else are not in it. `vocabulary`: rows of the head, all by default; `headPrecision`: its own. NaN where the limits were not measured.
 */
export function floorOf(config, precision, shape, limit) {
  const { batch, source, target, iterations, vocabulary = config.maskTokenId + 1 } = shape;
  if (!limit) return NaN;
  const { layers, hidden, bodyWeights: body } = config;
  const sourceBody = (body * (layers - 1)) / layers + 2 * hidden * hidden;
  const head = hidden * hidden + hidden * vocabulary;
  const { headPrecision = precision } = shape;
  const part = (rows, weights, kept = precision) =>
    Math.max((2 * rows * weights) / peakOf(limit, kept), (weights * bytesOf[kept]) / limit.gbs) /
    1e6;
  let sum = part(batch * source, sourceBody);
  for (let pass = 1; pass <= iterations; pass++) {
    const masked = maskedIn(pass, iterations, target - 2);
    sum += part(batch * target, body) + part(batch * masked, head, headPrecision);
  }
  return sum;
}

/** 32 sentences for the translation model. */
export const translations = readFileSync(
  new URL('../test/fixtures/tatoeba/en-de.jsonl', import.meta.url),
  'utf8',
)
  .split('\n', 32)
  .map((line) => `Translate the following text from English to German: ${JSON.parse(line).source}`);

/** 32 different instructions for the embedded model. */
export const instructions = Array.from(
  { length: 32 },
  (_, i) =>
    `Write the number ${1000 + ((i * 2654435761) % 9000)} in ${['German', 'English', 'French', 'Spanish'][i % 4]} words.`,
);
