// node engine.mjs --model NAME|DIRECTORY --precision fp32|bf16|int8 --threads N
//
// This package's engine as a contestant: with random weights for the name of an architecture, else from a directory.
import { parseArgs } from 'node:util';
import { Engine } from '../dist/index.js';
import { serve } from './serve.mjs';
import { runJob, sourceIds, sourceLength, targetLength } from './workload.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
  },
});
const { model, precision } = options;
const load = { device: 'cpu', precision, threads: Number(options.threads) };
const begun = performance.now();
const engine = model.startsWith('xlm-r-')
  ? await Engine.random(model, load)
  : await Engine.load(model, load);
const { config, instructionSet } = engine;
const description = {
  loadMs: performance.now() - begun,
  precision: engine.precision,
  instructionSet,
  config,
};

await serve(description, async ({ batch, iterations }) => {
  const ids = sourceIds(batch, sourceLength, config.maskTokenId);
  return () => runJob(engine, ids, targetLength, iterations);
});
await engine.close();
