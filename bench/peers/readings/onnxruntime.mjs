// node onnxruntime.mjs --model DIRECTORY --task embed|fill --precision fp32|int8 --threads N --spinning on|off
//                      [--local masked|banded]
//
// onnxruntime-node on graphs made for the task (export/export_readings.py): the mean, and the head on the masked rows with
// the best five and their log-probabilities, are in the graph, so that JavaScript gets the answer alone. --local names one
// of ModernBERT's graphs (export/export_modern_bert.py), which differ in local layers.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '../../serve.mjs';
import { requirePeer, sessionOptions } from '../packages.mjs';
import { int64 } from '../refinement.mjs';
import { best, inputsOf, maskedRows, rowsOf, specialIdsOf, textsOf } from './texts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    task: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
    spinning: { type: 'string' },
    local: { type: 'string' },
  },
});
const { InferenceSession, Tensor } = requirePeer('onnxruntime');
const config = JSON.parse(readFileSync(join(options.model, 'config.json'), 'utf8'));
const folder = options.precision === 'int8' ? join(options.model, 'int8') : options.model;
const graph = options.local ? `${options.task}-${options.local}` : options.task;
const begun = performance.now();
const session = await InferenceSession.create(
  join(folder, `${graph}.onnx`),
  sessionOptions(Number(options.threads), options.spinning === 'on'),
);

await serve({ loadMs: performance.now() - begun }, async (shape) => {
  const texts = textsOf(shape, specialIdsOf(config));
  return async () => {
    const { input_ids, attention_mask } = inputsOf(Tensor, texts);
    const isMasked = session.inputNames.includes('attention_mask');
    const inputs = { input_ids, ...(isMasked && { attention_mask }) };
    if (shape.task === 'embed') {
      const { embeddings } = await session.run(inputs);
      return { tokens: rowsOf(embeddings.data, config.hidden_size) };
    }
    const rows = maskedRows(shape);
    inputs.rows = new Tensor('int64', int64(rows), [rows.length]);
    const { ids } = await session.run(inputs);
    return { tokens: rowsOf(ids.data, best) };
  };
});
