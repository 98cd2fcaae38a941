// The contestants: this package through its public token-level API, for each T, and the two autoregressive models on
// the same kernels, each in a process of its own. All stay loaded and take turns.
import { bundledModels, Engine } from '../../dist/index.js';
import { startAutoregressive } from '../autoregressive/process.mjs';
import { floorsOf } from './floors.mjs';

const seed = 0;

/** Sources of `length` ids, `<s>` and `</s>` included, no two alike. */
function sourcesOf(batch, length, maskTokenId) {
  return Array.from({ length: batch }, (_, b) =>
    Array.from({ length }, (_, i) =>
      i === 0 ? 0 : i === length - 1 ? 2 : 4 + ((i * 7919 + b * 104729) % (maskTokenId - 4)),
    ),
  );
}

/** What `Engine.random` takes: a name of its own, or the sizes of a model of the package. */
async function sizesOf(model) {
  if (!Object.hasOwn(bundledModels, model)) return model;
  const engine = await Engine.load(bundledModels[model], { device: 'cpu' });
  const { layers, hidden, heads, feedForward, vocabulary, maxPositions, lengths } = engine.config;
  await engine.close();
  return { layers, hidden, heads, feedForward, vocabulary, norm: 'pre', maxPositions, lengths };
}

/**
 * `program`: of the autoregressive models. Resolves to `{ contestants, close }`. A contestant has a `name`, the number of its `parameters`, `run(cell)`: `{ ms }`, the
 * milliseconds to write `cell.length` tokens over each of `cell.batch` sources, and `floor(cell)`. An autoregressive
 * one also has `tokenMs` in it, those for a token once the source is read, and `reading`, what its weights take to be
 * read once. Floors and `reading` are null where the machine's limits are not known.
 */
export async function startContestants(
  program,
  { model, precision, threads, source, iterations, limits },
) {
  const engine = await Engine.random(await sizesOf(model), {
    device: 'cpu',
    precision,
    threads,
    seed,
  });
  const shape = engine.config;
  const baselines = await Promise.all(
    ['decoder-only', 'encoder-decoder'].map((architecture) =>
      startAutoregressive(program, { ...shape, architecture, precision, threads, seed }),
    ),
  );
  const floors = limits && floorsOf({ shape, precision, source, limits });
  const sources = ({ batch }) => sourcesOf(batch, source, shape.maskTokenId);

  const ours = iterations.map((T) => ({
    name: `Mask-Predict, T = ${T}`,
    parameters: shape.parameters,
    floor: floors && floors.maskPredict(T),
    async run(cell) {
      const ids = sources(cell).map((row) => Int32Array.from(row));
      const begun = performance.now();
      const encoded = await engine.encode(ids, { states: false }); // lengths are given
      // <s> and </s> stand at the ends of the target: they are not counted as tokens written.
      await engine.decode(
        encoded.map((one) => one.target(cell.length + 2)),
        T,
      );
      const ms = performance.now() - begun;
      for (const one of encoded) one.dispose();
      return { ms };
    },
  }));
  const theirs = baselines.map((baseline, i) => ({
    name: ['decoder-only', 'encoder-decoder'][i],
    parameters: baseline.parameters,
    floor: floors && [floors.decoderOnly, floors.encoderDecoder(baseline)][i],
    reading: floors && floors.reading(baseline.decoderBody),
    async run(cell) {
      const { firstMs, totalMs } = await baseline.generate(sources(cell), cell.length);
      return { ms: totalMs, tokenMs: (totalMs - firstMs) / (cell.length - 1) };
    },
  }));
  return {
    contestants: [...ours, ...theirs],
    close: () => Promise.all([engine.close(), ...baselines.map((baseline) => baseline.close())]),
  };
}
