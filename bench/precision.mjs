// npm run bench -- precision [--instructions 2000] [--threads 2] [--device cuda]
//
// The changes that narrower weights cause, and with int8, and with bf16 where the processor multiplies it, narrower
// activations; "int8 head" is headPrecision beside weights as they are stored. Against weights as they are stored: the
// share of equal tokens after a whole decode (T = 10), and the largest and mean difference of a log-probability in the
// first pass, where both see the same masks; on the fixtures' sources and on held-out instructions of the embedded
// model, there also the right answers. With a device: its float32 and bfloat16 against the CPU's float32, on the
// fixtures. A second table has the cosine of embeddings to those of the weights as they are stored.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { embeddedModel, Engine, MaskPredict } from '../dist/index.js';
import { problemsOf } from './fixture-problems.mjs';
import { heldOutInstructions } from './held-out.mjs';

const { values: options } = parseArgs({
  options: {
    instructions: { type: 'string', default: '2000' },
    threads: { type: 'string', default: '2' },
    device: { type: 'string' },
  },
});
const loading = { device: 'cpu', threads: Number(options.threads) };
const fixtures = ['tiny-base', 'tiny-xl', 'tiny-xxl', 'tiny-odd'];
const { device } = options;
const intHead = { headPrecision: 'int8' };
const precisions = device
  ? { [`${device} fp32`]: { precision: 'fp32' }, [`${device} bf16`]: { precision: 'bf16' } }
  : {
      bf16: { precision: 'bf16' },
      fp16: { precision: 'fp16' },
      int8: { precision: 'int8' },
      'int8 head': intHead,
      'bf16, int8 head': { precision: 'bf16', ...intHead },
    };

/** The first pass's log-probabilities and the last pass's tokens of every problem. */
async function decode(engine, problems) {
  const results = [];
  for (let first = 0; first < problems.length; first += 64) {
    const part = problems.slice(first, first + 64);
    const sources = await engine.encode(part.map(({ ids }) => ids));
    const once = sources.map((source, i) => source.target(part[i].length));
    const whole = sources.map((source, i) => source.target(part[i].length));
    await engine.predict(once);
    await engine.decode(whole, 10);
    sources.forEach((source, i) => {
      results.push({ first: once[i].tokens, scores: once[i].scores, tokens: whole[i].tokens });
      source.dispose();
    });
  }
  return results;
}

/** `{ equal, largest, mean }` of two runs over the same problems. */
function compare(expected, actual) {
  let [tokens, equal, largest, sum, scores] = [0, 0, 0, 0, 0];
  expected.forEach((one, i) => {
    const other = actual[i];
    for (let position = 1; position + 1 < one.tokens.length; position++) {
      tokens++;
      equal += one.tokens[position] === other.tokens[position] ? 1 : 0;
      if (one.first[position] !== other.first[position]) continue;
      const difference = Math.abs(one.scores[position] - other.scores[position]);
      largest = Math.max(largest, difference);
      sum += difference;
      scores++;
    }
  });
  return { equal: equal / tokens, largest, mean: sum / scores };
}

/** Cosines of embeddings to the expected ones. */
function cosines(expected, actual) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  return expected.map((one, i) => {
    const other = actual[i];
    return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
  });
}

const poolings = ['mean', 'first'];
const embedded = async (engine, problems) => {
  const ids = problems.map((problem) => problem.ids);
  return Promise.all(poolings.map((pooling) => engine.embed(ids, { pooling })));
};
const embeddings = [];
const compareEmbeddings = (name, precision, expected, actual) =>
  poolings.forEach((pooling, i) => {
    const all = cosines(expected[i], actual[i]);
    const mean = all.reduce((sum, one) => sum + one, 0) / all.length;
    embeddings.push(
      `| ${name} | ${precision} | ${pooling} | ${Math.min(...all).toFixed(5)} | ${mean.toFixed(5)} |`,
    );
  });

console.log(
  '| model | weights | equal tokens | largest log-probability error | mean | right answers |',
);
console.log('| --- | --- | --- | --- | --- | --- |');
const print = (name, precision, { equal, largest, mean }, right) =>
  console.log(
    `| ${name} | ${precision} | ${(100 * equal).toFixed(2)} % | ${largest.toExponential(1)} | ${mean.toExponential(1)} | ${right} |`,
  );

for (const fixture of fixtures) {
  const directory = fileURLToPath(new URL(`../test/fixtures/${fixture}`, import.meta.url));
  const problems = problemsOf(directory);
  const run = async (kept, where = 'cpu') => {
    const engine = await Engine.load(directory, { ...loading, ...kept, device: where });
    const results = await decode(engine, problems);
    const vectors = await embedded(engine, problems);
    await engine.close();
    return { results, vectors };
  };
  const expected = await run({ precision: 'fp32' });
  for (const [name, kept] of Object.entries(precisions)) {
    const { results, vectors } = await run(kept, device);
    print(fixture, name, compare(expected.results, results), '');
    if (kept.precision) compareEmbeddings(fixture, name, expected.vectors, vectors);
  }
}

const printEmbeddings = () => {
  console.log('\n| model | weights | pooling | least cosine of embeddings | mean |');
  console.log('| --- | --- | --- | --- | --- |');
  console.log(embeddings.join('\n'));
};

if (device) {
  printEmbeddings();
  process.exit();
}

const instructions = heldOutInstructions(Number(options.instructions));
const answers = async (kept, problems) => {
  const model = await MaskPredict.load(embeddedModel, { ...loading, ...kept });
  if (problems.length === 0) {
    for (const { prompt } of instructions) {
      const { ids } = model.tokenizer.encode(prompt);
      const [source] = await model.engine.encode([ids]);
      problems.push({ ids, length: source.predictLengths()[0].length });
      source.dispose();
    }
  }
  const results = await decode(model.engine, problems);
  const right = results.filter(
    ({ tokens }, i) => model.tokenizer.decode(tokens.subarray(1, -1)) === instructions[i].answer,
  ).length;
  const vectors = await embedded(model.engine, problems);
  await model.close();
  return { results, vectors, right: `${right} of ${instructions.length}` };
};
const problems = [];
const stored = await answers({}, problems);
print('numbers', 'fp16, as stored', compare(stored.results, stored.results), stored.right);
for (const [name, kept] of Object.entries(precisions)) {
  if (kept.precision === 'fp16') continue;
  const narrowed = await answers(kept, problems);
  print('numbers', name, compare(stored.results, narrowed.results), narrowed.right);
  if (kept.precision) compareEmbeddings('numbers', name, stored.vectors, narrowed.vectors);
}
printEmbeddings();
