// node onnxruntime.mjs --model DIRECTORY --precision fp32|int8 --threads N --spinning on|off
//
// onnxruntime-node on graphs made for the task (export/export_readings.py): the mean, and the head on the masked rows with
// the best five and their log-probabilities, are in the graph, so that JavaScript gets the answer alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '../../serve.mjs';
import { requirePeer, sessionOptions } from '../packages.mjs';
import { int64 } from '../refinement.mjs';
import { best, inputsOf, maskedRows, rowsOf, textsOf } from './texts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    task: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
    spinning: { type: 'string' },
  },
});
const { InferenceSession, Tensor } = requirePeer('onnxruntime');
const config = JSON.parse(readFileSync(join(options.model, 'config.json'), 'utf8'));
const folder = options.precision === 'int8' ? join(options.model, 'int8') : options.model;
const begun = performance.now();
const session = await InferenceSession.create(
  join(folder, `${options.task}.onnx`),
  sessionOptions(Number(options.threads), options.spinning === 'on'),
);

await serve({ loadMs: performance.now() - begun }, async (shape) => {
  const texts = textsOf(shape, config.mask_token_id);
  return async () => {
    const inputs = inputsOf(Tensor, texts);
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
