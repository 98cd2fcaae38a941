// npm run bench -- options [--instructions 2000] [--threads 2] [--only length,stop]
//
// The effect of the options of loading and of generate() on answers and time, on a model: for each, how many of the
// held-out instructions the embedded model answers right, milliseconds for each of them, and passes. All go in one
// call, which shares passes; the first line is the defaults. Seeds of sampling are several lines of one option: drawn
// texts differ. --only names the groups to run.
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { heldOutInstructions } from './held-out.mjs';
import { describeMachine } from './machine.mjs';
import { table } from './table.mjs';

const { values: options } = parseArgs({
  options: {
    instructions: { type: 'string', default: '2000' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
  },
});
const threads = Number(options.threads);
const asked = heldOutInstructions(Number(options.instructions));
const texts = asked.map(({ prompt }) => prompt);
const groups = new Set(options.only?.split(','));

/** The options of generate(), by group. */
const ofCalls = {
  defaults: [['defaults', {}]],
  iterations: [1, 2, 4, 20].map((iterations) => [`iterations ${iterations}`, { iterations }]),
  stop: [
    ['stop unchanged', { stop: 'unchanged' }],
    ...[0.5, 0.9, 0.99].map((confidence) => [
      `stop confidence ${confidence}`,
      { stop: { confidence } },
    ]),
  ],
  length: [1, 2, 3, 5].flatMap((candidates) =>
    (candidates === 1 ? [undefined] : [0, 0.1, undefined, 0.5, 1, 2]).map((weight) => [
      `candidates ${candidates}, weight ${weight ?? 'default'}`,
      { length: { candidates, ...(weight !== undefined && { weight }) } },
    ]),
  ),
  sampling: [1, 2, 3].map((seed) => [`sampling, seed ${seed}`, { sampling: { seed } }]),
  texts: [
    ['parseSpecial', { parseSpecial: true }],
    ['overflow error', { overflow: 'error' }],
  ],
};

/** The options of load(), by group. */
const ofModels = {
  precision: ['fp32', 'bf16', 'fp16', 'int8'].map((precision) => [
    `precision ${precision}`,
    { precision },
  ]),
  vocabulary: [
    ['vocabulary of German and English', { vocabulary: { languages: ['de', 'en'] } }],
    ['vocabulary of Russian', { vocabulary: { languages: ['ru'] } }],
  ],
  scheduling: [
    ['rowBudget 64', { scheduling: { rowBudget: 64 } }],
    ['rowBudget 2048', { scheduling: { rowBudget: 2048 } }],
  ],
  sourceCache: [['sourceCache, asked again', { sourceCache: { bytes: 2 ** 30 } }]],
  threads: [['threads 1', { threads: 1 }]],
  deterministic: [['deterministic false', { deterministic: false }]],
  map: [['map false', { map: false }]],
};

const wanted = (table) =>
  Object.entries(table).flatMap(([group, list]) =>
    groups.size === 0 || groups.has(group) ? list : [],
  );

/** The line of the table of one call. */
async function measure(name, model, generateOptions) {
  const begun = performance.now();
  const results = await model.generate(texts, generateOptions);
  const time = performance.now() - begun;
  const right = results.filter(({ text }, index) => text === asked[index].answer).length;
  const passes = results.reduce((sum, { iterations }) => sum + iterations, 0);
  return [
    name,
    right,
    `${((100 * right) / asked.length).toFixed(2)} %`,
    (time / asked.length).toFixed(3),
    (passes / asked.length).toFixed(2),
  ];
}

const rows = [];
const load = (more = {}) => MaskPredict.load(undefined, { device: 'cpu', threads, ...more });
{
  const model = await load();
  await model.generate(texts.slice(0, 100)); // the first calls of a process are slow
  for (const [name, generateOptions] of wanted(ofCalls))
    rows.push(await measure(name, model, generateOptions));
  await model.close();
}
for (const [name, loadOptions] of wanted(ofModels)) {
  const model = await load(loadOptions);
  await model.generate(loadOptions.sourceCache ? texts : texts.slice(0, 100));
  rows.push(await measure(name, model, {}));
  await model.close();
}
console.log(describeMachine(threads).text);
console.log(`models/numbers, ${asked.length} held-out instructions, ${threads} threads\n`);
console.log(table(['option', 'right', 'share', 'ms each', 'passes'], rows));
