// npm run bench:answers -- [--threads 2] [--rounds 200]
//
// What a caller waits for: instructions answered by the model in the package, text to text, one at a time and 32
// together. Prints the median and quartiles per answer, and of its parts.
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '200' },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const model = await MaskPredict.load(undefined, { device: 'cpu', threads });
const prompts = Array.from(
  { length: 32 },
  (_, i) =>
    `Write the number ${1000 + ((i * 2654435761) % 9000)} in ${['German', 'English', 'French', 'Spanish'][i % 4]} words.`,
);
console.log(describeMachine(threads).text);
console.log(`models/numbers, ${threads} threads, ${rounds} rounds\n`);
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
  const text = ({ median, low, high }) =>
    `${median.toFixed(2)} ms (${low.toFixed(2)}–${high.toFixed(2)})`;
  console.log(
    `T = ${iterations}: ${text(one)} per answer, of it encode ${spread(encode).median.toFixed(2)}, decode ` +
      `${spread(decode).median.toFixed(2)}; 32 together ${text(spread(together))} each`,
  );
}
await model.close();
