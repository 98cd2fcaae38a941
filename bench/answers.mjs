// npm run bench -- answers [--threads 2] [--rounds 200]
//
// The time that a caller waits: instructions answered by the model in the package, text to text, one at a time and 32
// together. Prints the median and quartiles per answer, and of its parts.
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';
import { withQuartiles } from './table.mjs';
import { instructions } from './workload.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '200' },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const model = await MaskPredict.load(undefined, { device: 'cpu', threads });
console.log(describeMachine(threads).text);
console.log(`models/numbers, ${threads} threads, ${rounds} rounds\n`);
for (const iterations of [1, 4, 10]) {
  const alone = [];
  const together = [];
  const encode = [];
  const decode = [];
  for (let round = 0; round < rounds; round++) {
    const { timings } = await model.generate(instructions[round % instructions.length], {
      iterations,
    });
    alone.push(timings.total);
    encode.push(timings.encode);
    decode.push(timings.decode);
    if (round % 8 > 0) continue;
    const begun = performance.now();
    await model.generate(instructions, { iterations });
    together.push((performance.now() - begun) / instructions.length);
  }
  const one = spread(alone);
  console.log(
    `T = ${iterations}: ${withQuartiles(one, 2, 'ms')} per answer, of it encode ${spread(encode).median.toFixed(2)}, decode ` +
      `${spread(decode).median.toFixed(2)}; 32 together ${withQuartiles(spread(together), 2, 'ms')} each`,
  );
}
await model.close();
