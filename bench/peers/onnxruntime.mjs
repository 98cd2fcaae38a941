// node onnxruntime.mjs --model DIRECTORY --graph plain|expert --precision fp32|int8 --threads N --spinning on|off
//
// Mask-Predict over onnxruntime-node, on the graphs of export/export_onnx.py (int8: export/quantize_onnx.py).
// plain: source and target through the whole model in every pass, all logits to JavaScript, argmax there. expert: the
// source once, the head on masked rows, ids and log-probabilities from the graph.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '../serve.mjs';
import { sourceIds, sourceLength, targetLength } from '../workload.mjs';
import { requirePeer, sessionOptions } from './packages.mjs';
import { best, int64, Refinement } from './refinement.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    graph: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
    spinning: { type: 'string' },
  },
});
const { InferenceSession, Tensor } = requirePeer('onnxruntime');
const config = JSON.parse(readFileSync(join(options.model, 'config.json'), 'utf8'));
const folder = options.precision === 'int8' ? join(options.model, 'int8') : options.model;
const expert = options.graph === 'expert';
const session = (graph) =>
  InferenceSession.create(
    join(folder, `${graph}.onnx`),
    sessionOptions(Number(options.threads), options.spinning === 'on'),
  );

const begun = performance.now();
const encoder = expert ? await session('encode') : null;
const decoder = await session(options.graph);
const loadMs = performance.now() - begun;

async function job({ batch, iterations }) {
  const ids = sourceIds(batch, sourceLength, config.mask_token_id);
  return async () => {
    const source = new Tensor('int64', int64(ids.flatMap((row) => [...row])), [
      batch,
      sourceLength,
    ]);
    const inputs = { source, ...(await encoder?.run({ source })) };
    const refinement = new Refinement(batch, targetLength, iterations, config.mask_token_id);
    do {
      const rows = refinement.maskedRows();
      inputs.target = new Tensor('int64', int64(refinement.ids), [batch, targetLength]);
      if (expert) inputs.rows = new Tensor('int64', int64(rows), [rows.length]);
      const outputs = await decoder.run(inputs);
      if (expert) {
        const { ids: chosen, log_probs: logProbs } = outputs;
        rows.forEach((row, i) => refinement.fill(row, Number(chosen.data[i]), logProbs.data[i]));
      } else {
        const logits = outputs.logits.data;
        for (const row of rows) {
          const { id, logProb } = best(logits, row * config.vocab_size, config.vocab_size);
          refinement.fill(row, id, logProb);
        }
      }
    } while (refinement.remask());
    return { tokens: refinement.tokens() };
  };
}

await serve({ loadMs }, job);
