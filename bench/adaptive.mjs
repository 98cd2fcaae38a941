// npm run bench -- adaptive [--iterations 10] [--random 200] [--instructions 200] [--threads 2]
//
// The savings of stopping early, and its changes to texts: for each rule, the mean passes over a target beside those of
// the full decode (T = 10), the share of its tokens that are equal, and the share of texts that are equal as a whole.
// On the fixtures' sources, on sources over random weights, on held-out instructions of the embedded model, and on
// those over targets of twice the predicted length, where it is unsure.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { embeddedModel, Engine, Tokenizer } from '../dist/index.js';
import { problemsOf } from './fixture-problems.mjs';
import { heldOutInstructions } from './held-out.mjs';

const { values: options } = parseArgs({
  options: {
    iterations: { type: 'string', default: '10' },
    random: { type: 'string', default: '200' },
    instructions: { type: 'string', default: '200' },
    threads: { type: 'string', default: '2' },
  },
});
const iterations = Number(options.iterations);
const device = { device: 'cpu', threads: Number(options.threads) };
const rules = [
  undefined,
  'unchanged',
  ...[0.5, 0.8, 0.9, 0.95, 0.99, 0.999].map((confidence) => ({ confidence })),
];
const name = (rule) =>
  rule === undefined ? 'none' : rule === 'unchanged' ? rule : `confidence ${rule.confidence}`;

/** `[{ tokens, passes }]` of problems decoded with a rule; `length` of a problem is in ids. */
async function decode(engine, problems, stop) {
  const results = [];
  for (let first = 0; first < problems.length; first += 50) {
    const part = problems.slice(first, first + 50);
    const sources = await engine.encode(part.map(({ ids }) => ids));
    const targets = sources.map((source, i) =>
      source.target(part[i].length ?? stretched(source, part[i].stretch)),
    );
    const passes = await engine.decode(targets, iterations, stop && { stop });
    targets.forEach(({ tokens }, i) => results.push({ tokens, passes: passes[i] }));
    for (const source of sources) source.dispose();
  }
  return results;
}

function stretched(source, factor) {
  return 2 + factor * (source.predictLengths(1)[0].length - 2);
}

async function measure(what, engine, problems) {
  const full = await decode(engine, problems, undefined);
  const inner = full.reduce((sum, { tokens }) => sum + tokens.length - 2, 0);
  const meanPasses = (results) =>
    results.reduce((sum, { passes }) => sum + passes, 0) / results.length;
  for (const rule of rules) {
    const results = rule === undefined ? full : await decode(engine, problems, rule);
    let [equal, texts] = [0, 0];
    results.forEach(({ tokens }, i) => {
      const same = tokens.filter((id, p) => id === full[i].tokens[p]).length;
      equal += same - 2;
      if (same === tokens.length) texts++;
    });
    const cells = [
      meanPasses(results).toFixed(2),
      `${((100 * equal) / inner).toFixed(2)} %`,
      `${((100 * texts) / results.length).toFixed(1)} %`,
    ];
    console.log(
      `${what.padEnd(34)}${name(rule).padEnd(18)}${cells.map((c) => c.padStart(12)).join('')}`,
    );
  }
}

console.log(`T = ${iterations}\n`);
console.log(
  `${'sources'.padEnd(34)}${'rule'.padEnd(18)}${['passes', 'tokens', 'texts'].map((c) => c.padStart(12)).join('')}`,
);
for (const fixture of ['tiny-base', 'tiny-xl', 'tiny-xxl', 'tiny-odd']) {
  const directory = fileURLToPath(new URL(`../test/fixtures/${fixture}`, import.meta.url));
  const engine = await Engine.load(directory, device);
  await measure(fixture, engine, problemsOf(directory));
  await engine.close();
}
{
  const shape = { layers: 6, hidden: 256, heads: 4, feedForward: 1024, vocabulary: 8000 };
  const engine = await Engine.random(shape, device);
  const problems = Array.from({ length: Number(options.random) }, (_, s) => ({
    ids: Int32Array.from({ length: 8 + (s % 40) }, (_, p) =>
      p === 0 ? 0 : p === 7 + (s % 40) ? 2 : 4 + ((s * 7919 + p * 104729) % 7990),
    ),
    length: 4 + ((s * 13) % 40),
  }));
  await measure(`random weights, ${problems.length} sources`, engine, problems);
  await engine.close();
}
{
  const tokenizer = await Tokenizer.load(`${embeddedModel}/sentencepiece.bpe.model`);
  const engine = await Engine.load(embeddedModel, {
    ...device,
    maskTokenId: tokenizer.maskTokenId,
  });
  const prompts = heldOutInstructions(Number(options.instructions)).map(({ prompt }) => prompt);
  const problems = (stretch) =>
    prompts.map((prompt) => ({ ids: tokenizer.encode(prompt).ids, stretch }));
  await measure(`models/numbers, ${prompts.length} instructions`, engine, problems(1));
  await measure('the same, twice the length', engine, problems(2));
  await engine.close();
}
