// npm run bench -- answers [--model numbers|translate] [--threads 2] [--rounds 200]
//
// The time that a caller waits: instructions answered by a model of the package, text to text, one at a time and 32
// together. Prints the median and quartiles per answer, and of its parts.
import { parseArgs } from 'node:util';
import { bundledModels, MaskPredict } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';
import { withQuartiles } from './table.mjs';
import { instructions, translations } from './workload.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'numbers' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '200' },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const all = { numbers: instructions, translate: translations };
const prompts = all[options.model];
if (!prompts) throw new Error(`--model ${options.model}: ${Object.keys(all).join(' or ')}`);
const model = await MaskPredict.load(bundledModels[options.model], { device: 'cpu', threads });
console.log(describeMachine(threads).text);
console.log(`models/${options.model}, ${threads} threads, ${rounds} rounds\n`);
for (const iterations of [1, 4, 10]) {
  const alone = [];
  const together = [];
  const encode = [];
  const decode = [];
  for (let round = 0; round < rounds; round++) {
    const { timings } = await model.generate(prompts[round % prompts.length], { iterations });
    alone.push(timings.total);
    encode.push(timings.encode);
    decode.push(timings.decode);
    if (round % 8 > 0) continue;
    const begun = performance.now();
    await model.generate(prompts, { iterations });
    together.push((performance.now() - begun) / prompts.length);
  }
  const one = spread(alone);
  console.log(
    `T = ${iterations}: ${withQuartiles(one, 2, 'ms')} per answer, of it encode ${spread(encode).median.toFixed(2)}, decode ` +
      `${spread(decode).median.toFixed(2)}; 32 together ${withQuartiles(spread(together), 2, 'ms')} each`,
  );
}
await model.close();
