// node examples/many-callers.mjs [CALLERS]
//
// Many callers of one model at the same time, as in a server: whoever arrives joins the next pass, whoever is done leaves.
// There is nothing to switch on. Prints what each caller waited, how full the passes were, and that every answer has the
// bits that it has alone. Uses the small model of the package.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import { MaskPredict } from 'mask-predict';

const callers = Number(process.argv[2] ?? 48);
const languages = ['English', 'German', 'French', 'Spanish'];
const instructions = Array.from(
  { length: callers },
  (_, i) => `Write the number ${(i * 2617 + 4217) % 10000} in ${languages[i % 4]} words.`,
);

const model = await MaskPredict.load();

const begun = performance.now();
const alone = [];
for (const instruction of instructions) alone.push(await model.generate(instruction));
const oneByOne = performance.now() - begun;

const passes = [];
const listener = (batch) => passes.push(batch);
subscribe('mask-predict:batch', listener);
const started = performance.now();
const together = await Promise.all(
  instructions.map(async (instruction, i) => {
    await sleep(i); // callers do not come all at once
    return model.generate(instruction, { priority: i % 8 === 0 ? 1 : 0, deadline: 30_000 });
  }),
);
const atOnce = performance.now() - started;
unsubscribe('mask-predict:batch', listener);

const same = together.filter(
  ({ text, tokenScores }, i) =>
    text === alone[i].text && tokenScores.every((score, k) => score === alone[i].tokenScores[k]),
);
const targets = passes.map((pass) => pass.targets);
const { latency } = model.stats();
console.log(`${instructions[0]}  ${together[0].text}`);
console.log(`one by one     ${oneByOne.toFixed(0)} ms`);
console.log(
  `at once        ${atOnce.toFixed(0)} ms, up to ${Math.max(...targets)} answers in a pass`,
);
console.log(
  `latency        median ${latency.p50.toFixed(1)} ms, 99th percentile ${latency.p99.toFixed(1)} ms`,
);
console.log(`the same bits  ${same.length} of ${callers}`);
await model.close();
