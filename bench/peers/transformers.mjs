// node transformers.mjs --model DIRECTORY --precision fp32|int8 --threads N --spinning on|off
//
// Forward passes of @huggingface/transformers on the stock model of export/export_transformers.py: T times the whole
// sequence of source and target, its logits at the end of every pass in JavaScript and left there. The library's
// masked-language model takes one sequence and a padding mask: neither the mixed mask nor positions that begin
// again at the target can be said, so this is not Mask-Predict but what its passes would cost at least.
import { basename, dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '../serve.mjs';
import { sourceIds, sourceLength, targetLength } from '../workload.mjs';
import { requirePeer, sessionOptions } from './packages.mjs';
import { int64 } from './refinement.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    precision: { type: 'string' },
    threads: { type: 'string' },
    spinning: { type: 'string' },
  },
});
const { AutoModelForMaskedLM, env, Tensor } = requirePeer('transformers');
env.allowRemoteModels = false;
env.localModelPath = dirname(options.model);

const begun = performance.now();
const model = await AutoModelForMaskedLM.from_pretrained(basename(options.model), {
  dtype: options.precision === 'int8' ? 'q8' : 'fp32',
  device: 'cpu',
  use_external_data_format: true,
  session_options: sessionOptions(Number(options.threads), options.spinning === 'on'),
});
const loadMs = performance.now() - begun;

async function job({ batch, iterations }) {
  const length = sourceLength + targetLength;
  const ids = sourceIds(batch, length, model.config.mask_token_id).flatMap((row) => [...row]);
  return async () => {
    let logits;
    for (let pass = 1; pass <= iterations; pass++) {
      const shape = [batch, length];
      const inputs = {
        input_ids: new Tensor('int64', int64(ids), shape),
        attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), shape),
      };
      logits = (await model(inputs)).logits.data;
    }
    return { logits: logits.length };
  };
}

await serve({ loadMs }, job);
