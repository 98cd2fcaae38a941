/**
 * How many of the held-out instructions a model answers: `node tools/numbers/judge.mjs MODEL [--threads N]`. Prints exact
 * answers at T = 1, 4 and 10, then every wrong one at T = 10.
 */
import { parseArgs } from 'node:util';
import { MaskPredict } from '../../dist/index.js';
import { testedInstructions } from './split.mjs';

const { values, positionals } = parseArgs({
  options: { threads: { type: 'string', default: '2' } },
  allowPositionals: true,
});
const instructions = testedInstructions();
const model = await MaskPredict.load(positionals[0], {
  device: 'cpu',
  threads: Number(values.threads),
});
let answers = [];
for (const iterations of [1, 4, 10]) {
  answers = [];
  for (let from = 0; from < instructions.length; from += 64) {
    const prompts = instructions.slice(from, from + 64).map(({ prompt }) => prompt);
    answers.push(...(await model.generate(prompts, { iterations })));
  }
  const right = instructions.filter(({ answer }, i) => answers[i].text === answer).length;
  const share = ((100 * right) / instructions.length).toFixed(2);
  console.log(`T = ${iterations}: ${right} of ${instructions.length} right, ${share} %`);
}
for (const [i, { task, prompt, answer }] of instructions.entries()) {
  if (answers[i].text !== answer)
    console.log(`${task}: ${prompt} -> ${answers[i].text}, not ${answer}`);
}
await model.close();
