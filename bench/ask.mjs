// npm run bench -- ask [--size modern-bert-large] [--ids 128] [--precision int8] [--threads 2] [--rounds 30]
//
// A ModernBERT with random weights (peers/export) answers one labelled question, and the time from text to answer is
// measured: ask() with four choices, and fillMask() with four labels on the same text. Both read --ids ids in one pass and score the
// letters A to D in both spellings at the one mask. They take turns; the first job of each is not counted. --size
// modern-bert-tiny is for rehearsals.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { promptOf } from '../dist/text/multiple-choice.js';
import { busyTime, describeMachine, quietness, spread } from './machine.mjs';
import { make, modelFolder, quantize } from './peers/models.mjs';
import { table, withQuartiles } from './table.mjs';

const { values: options } = parseArgs({
  options: {
    size: { type: 'string', default: 'modern-bert-large' },
    ids: { type: 'string', default: '128' },
    precision: { type: 'string', default: 'int8' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '30' },
  },
});
const { size, precision } = options;
const [count, threads, rounds] = [options.ids, options.threads, options.rounds].map(Number);
const instruction = 'Select the right answer.';
const choices = ['3', '4', '5', '6'];
const labels = ['A', 'B', 'C', 'D'];

/** What ask() reads: the mask stands behind its prompt. */
const maskedPrompt = (question) => `${promptOf(instruction, question, choices)} [MASK]`;
const idsOf = (model, text) => model.tokenizer.encode(text, { parseSpecial: true }).ids.length;

/** A question with which the prompt has as many ids as are wanted: each of its letters is an id of its own. */
function questionFor(model) {
  const missing = count - idsOf(model, maskedPrompt(''));
  if (missing < 1) throw new Error(`--ids ${count}: at least ${count - missing + 1}`);
  const question = `${'x'.repeat(missing - 1)}?`;
  const ids = idsOf(model, maskedPrompt(question));
  if (ids !== count) throw new Error(`the prompt has ${ids} ids, not ${count}`);
  return question;
}

/** Milliseconds of each job in each round. */
async function measure(jobs) {
  for (const job of Object.values(jobs)) await job();
  const times = Object.fromEntries(Object.keys(jobs).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, job] of Object.entries(jobs)) {
      const begun = performance.now();
      await job();
      times[name].push(performance.now() - begun);
    }
  }
  return times;
}

console.log(describeMachine(threads).text);
console.log(`${size}, random weights, ${precision}, ${threads} threads, ${rounds} rounds\n`);
make(size, 'modern-bert');
if (precision === 'int8') quantize(size);
const directory = modelFolder(size);
const saved = precision === 'int8' ? join(directory, 'mask-predict-int8') : directory;
const model = await MaskPredict.load(saved, { device: 'cpu', precision, threads });
const question = questionFor(model);
const [busy, own] = [busyTime(), process.cpuUsage()];
const begun = performance.now();
const times = await measure({
  'ask()': () => model.ask(question, choices, { instruction }),
  'fillMask() with labels': () => model.fillMask(maskedPrompt(question), { labels }),
});
const elapsed = performance.now() - begun;
const { user, system } = process.cpuUsage(own);
const others = Math.max(0, busyTime() - busy - (user + system) / 1000);
console.log(
  table(
    ['call', 'ids', 'ms'],
    Object.entries(times).map(([name, list]) => [name, count, withQuartiles(spread(list), 1)]),
  ),
);
console.log(`\n${quietness(others / (elapsed * availableParallelism()))}`);
await model.close();
