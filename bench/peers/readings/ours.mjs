// node ours.mjs --model DIRECTORY --precision fp32|int8 --threads N
//
// This package: engine.embed (the mean) and engine.fillMask (the best five).
import { parseArgs } from 'node:util';
import { Engine } from '../../../dist/index.js';
import { serve } from '../../serve.mjs';
import { best, textsOf } from './texts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
  },
});
const begun = performance.now();
const engine = await Engine.load(options.model, {
  device: 'cpu',
  precision: options.precision,
  threads: Number(options.threads),
});

const { beginTokenId: begin, endTokenId: end, maskTokenId: mask } = engine.config;

await serve({ loadMs: performance.now() - begun }, async (shape) => {
  const texts = textsOf(shape, { begin, end, mask });
  return async () => {
    if (shape.task === 'embed') return { tokens: await engine.embed(texts) };
    const filled = await engine.fillMask(texts, { count: best });
    return { tokens: filled.map(([{ ids }]) => ids) };
  };
});
await engine.close();
