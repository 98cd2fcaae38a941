/** Everything that an engine computes for the cases of a fixture, to compare two engines or two ways of calling one. */
import type { Engine } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import type { Fixture } from './reference/fixtures.js';

/**
 * States, length logits, logits, tokens and scores (T = 4) of each case, one case after the other or all in the same
 * calls.
 */
export async function everythingComputed(
  engine: Engine,
  { cases }: Fixture,
  together = true,
): Promise<Float32Array[]> {
  const parts = together ? [cases] : cases.map((one) => [one]);
  const all: Float32Array[][] = [];
  for (const part of parts) {
    const sources = await engine.encode(part.map(({ sourceIds }) => sourceIds));
    const given = sources.map((source, i) => source.target(part[i]!.targetIds));
    const decoded = sources.map((source, i) => source.target(part[i]!.decodeLength));
    const logits = await engine.logits(given);
    await engine.decode(decoded, 4);
    sources.forEach((source, i) => {
      const { tokens, scores } = decoded[i]!;
      const lengths = source.lengthLogits ?? new Float32Array(0);
      all.push([source.states(), lengths, logits[i]!, Float32Array.from(tokens), scores]);
    });
  }
  return all.flat();
}

/** {@link everythingComputed} gives so many arrays for each case, in the order named there. */
export const resultsPerCase = 5;

export const sameResults = (a: Float32Array[], b: Float32Array[]): boolean =>
  a.length === b.length && a.every((values, i) => sameBits(values, b[i]!));
