// node transformers.mjs --model DIRECTORY --task embed|fill --precision fp32|int8 --threads N --spinning on|off
//
// @huggingface/transformers on the stock models: states of all ids and its mean_pooling, as its pipeline for feature
// extraction does it; logits of all ids, softmax and the best five of the masked rows in JavaScript, as its pipeline for
// masks does it.
import { basename, dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '../../serve.mjs';
import { requirePeer, sessionOptions } from '../packages.mjs';
import { best, inputsOf, maskedRows, rowsOf, specialIdsOf, textsOf } from './texts.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    task: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
    spinning: { type: 'string' },
  },
});
const peer = requirePeer('transformers');
const { env, mean_pooling: meanPooling, Tensor, topk } = peer;
env.allowRemoteModels = false;
env.localModelPath = dirname(options.model);
const kind = options.task === 'embed' ? peer.AutoModel : peer.AutoModelForMaskedLM;
const begun = performance.now();
const model = await kind.from_pretrained(basename(options.model), {
  dtype: options.precision === 'int8' ? 'q8' : 'fp32',
  device: 'cpu',
  use_external_data_format: true,
  session_options: sessionOptions(Number(options.threads), options.spinning === 'on'),
});
const { vocab_size: vocabulary, hidden_size: hidden } = model.config;

await serve({ loadMs: performance.now() - begun }, async (shape) => {
  const texts = textsOf(shape, specialIdsOf(model.config));
  return async () => {
    const inputs = inputsOf(Tensor, texts);
    const outputs = await model(inputs);
    if (shape.task === 'embed') {
      const pooled = meanPooling(outputs.last_hidden_state, inputs.attention_mask);
      return { tokens: rowsOf(pooled.data, hidden) };
    }
    const tokens = [];
    for (const row of maskedRows(shape)) {
      const logits = outputs.logits.data.subarray(row * vocabulary, (row + 1) * vocabulary);
      const probabilities = new Tensor('float32', peer.softmax(logits), [vocabulary]);
      const [, ids] = await topk(probabilities, best);
      tokens.push(Array.from(ids.data, Number));
    }
    return { tokens };
  };
});
