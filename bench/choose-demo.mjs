/**
 * Finds instructions that show refinement: all tasks on numbers that the embedded model was never trained
 * on, ranked by how many tokens change from one pass to the next while the last text is right.
 *
 *     node bench/choose-demo.mjs [--iterations 4] [--top 5] [--seed 1]
 *
 * Prints the best of each task with their texts pass by pass, then how rare such changes are; with a seed,
 * tokens are drawn (sampling) and change often. Less than a minute on two cores. The instructions of
 * lib/cli/demo.ts come from this list.
 */
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { heldOutInstructions } from './held-out.mjs';

const { values } = parseArgs({
  options: {
    iterations: { type: 'string', default: '4' },
    top: { type: 'string', default: '5' },
    seed: { type: 'string' },
  },
});
const iterations = Number(values.iterations);
const top = Number(values.top);
const seed = values.seed === undefined ? undefined : BigInt(values.seed);
const batch = 64;

/** The instructions with the texts of all passes, and how many tokens were not those of the pass before. */
async function watch(model, instructions) {
  const { engine, tokenizer } = model;
  const sources = await engine.encode(
    instructions.map(({ prompt }) => tokenizer.encode(prompt).ids),
  );
  const targets = sources.map((source) => source.target(source.predictLengths()[0].length));
  const watched = instructions.map((instruction) => ({ ...instruction, changed: 0, texts: [] }));
  const before = new Map();
  let open = targets;
  for (let pass = 1; open.length > 0; pass++) {
    await engine.predict(
      open,
      seed === undefined ? {} : { sampling: { seed, iterations, iteration: pass } },
    );
    for (const target of open) {
      const tokens = target.tokens;
      const result = watched[targets.indexOf(target)];
      result.texts.push(tokenizer.decode(tokens));
      result.changed += before.has(target) ? differences(tokens, before.get(target)) : 0;
      before.set(target, tokens);
    }
    const counts = open.map(({ maskable }) =>
      Math.floor((maskable * (iterations - pass)) / iterations),
    );
    await engine.remask(open, counts);
    open = open.filter((target) => target.masked.includes(1));
  }
  for (const source of sources) source.dispose();
  return watched;
}

function differences(tokens, others) {
  return tokens.reduce((count, id, at) => count + (id === others[at] ? 0 : 1), 0);
}

function print(results) {
  const tasks = new Set(results.map(({ task }) => task));
  for (const task of tasks) {
    const best = results
      .filter((result) => result.task === task && result.changed > 0 && isRight(result))
      .sort((a, b) => b.changed - a.changed)
      .slice(0, top);
    for (const { prompt, texts, changed } of best) {
      console.log(`${changed} changed  ${prompt}`);
      for (const [index, text] of texts.entries()) console.log(`    ${index + 1}  ${text}`);
    }
  }
  const changed = results.filter((result) => result.changed > 0);
  const rightFirst = results.filter(({ texts, answer }) => texts[0] === answer);
  console.log(
    `\n${results.length} instructions, ${iterations} iterations: ${changed.length} change tokens, ` +
      `${rightFirst.length} are right after the first pass, ${results.filter(isRight).length} after the last`,
  );
}

function isRight({ texts, answer }) {
  return texts.at(-1) === answer;
}

const instructions = heldOutInstructions();
const model = await MaskPredict.load();
const results = [];
for (let from = 0; from < instructions.length; from += batch) {
  results.push(...(await watch(model, instructions.slice(from, from + batch))));
}
await model.close();
print(results);
