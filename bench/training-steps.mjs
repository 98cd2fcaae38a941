// The data of the training benchmark: random ids with the lengths of sentence pairs under a prompt, in the file that
// `mask-predict tokens` writes; and the steps that both programs make of it, with their useful arithmetic.
import { epochSteps } from '../dist/training/batches.js';
import { corruptSource, corruptTarget } from '../dist/training/corruption.js';
import { TokenCache, TokenCacheWriter } from '../dist/training/token-cache.js';

const sourceMask = 15; // percent
const seed = 0n;

/** `examples` pairs of a source of 12 to 36 ids and a target of 4 to 24, most of them short. */
export async function writeExamples(file, examples, vocabulary) {
  let state = 1;
  const below = (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
  const sequence = (inner) =>
    Int32Array.of(0, ...Array.from({ length: inner }, () => 4 + below(vocabulary - 5)), 2);
  const skewed = (least, most) =>
    least + Math.floor((below(2 ** 20) / 2 ** 20) ** 2 * (most - least + 1));
  const writer = await TokenCacheWriter.create(file);
  for (let i = 0; i < examples; i++)
    await writer.add(sequence(skewed(10, 34)), sequence(skewed(2, 22)));
  await (await writer.finish(0, true)).close();
}

/** The first steps of a training: `{ part, rows }` each. */
export async function* steps(file, rows, maskTokenId) {
  const cache = await TokenCache.open(file);
  const dataset = {
    examples: cache.examples,
    rows: (example) => cache.rows(example),
    parts: [{ weight: 1, cache }],
  };
  for (let epoch = 0; ; epoch++) {
    for await (const slots of epochSteps(dataset, seed, epoch, rows)) {
      const part = { sources: [], targets: [], golds: [] };
      let count = 0;
      for (const slot of slots) {
        const { source, target } = await cache.read(slot.example);
        const key = { seed, epoch, ...slot };
        part.sources.push(corruptSource(source, maskTokenId, sourceMask, key));
        part.targets.push(corruptTarget(target, maskTokenId, key));
        part.golds.push(target);
        count += source.length + target.length;
      }
      yield { part, rows: count };
    }
  }
}

/** Floating-point operations of a step's products, forward and backward: nothing that is computed twice counts twice. */
export function usefulOperations(
  { part, rows },
  { layers, hidden, feedForward, vocabulary },
  maskTokenId,
) {
  let pairs = 0; // of a query and a key
  let masked = 0;
  part.sources.forEach((source, i) => {
    const target = part.targets[i];
    pairs += source.length ** 2 + target.length * (source.length + target.length);
    masked += target.filter((id) => id === maskTokenId).length;
  });
  const dense = rows * (4 * hidden ** 2 + 2 * hidden * feedForward) * layers;
  const attention = pairs * 2 * hidden * layers;
  const head = masked * (hidden ** 2 + hidden * vocabulary);
  return 6 * (dense + attention + head);
}
