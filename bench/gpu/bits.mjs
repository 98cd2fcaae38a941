// node bits.mjs PROGRAM [--tiny]
//
// Whole jobs of base, large and XL with random weights: what comes out for a source and its target is the same bit for bit
// alone, in a batch of 8 and in one of 64 between others of other lengths, one after the other in a different order, and
// when CUDA graphs are captured and launched. Appends to $RESULTS one line for each model and batch; exits with 1 if a bit
// differs.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { modelsOf, reporter, sourceIds } from './models.mjs';

const [program] = process.argv.slice(2);
const tiny = process.argv.includes('--tiny');
const device = process.env.DEVICE ?? 'cuda';
const { Engine } = await import(pathToFileURL(join(program, 'dist/index.js')).href);
const report = reporter(() => 'ours');
const [most, iterations, sourceLength, targetLength] = tiny ? [3, 2, 12, 9] : [64, 4, 64, 32];
const batches = tiny ? [2, 3] : [8, 64];

/** Lengths of case b: from half of the usual to all of it. */
const lengthOf = (b, usual) => usual - ((b * 5) % (usual >> 1));

const bitsOf = ({ tokens, scores }) =>
  Buffer.concat([tokens, scores].map((a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength)));

for (const { model, shape } of modelsOf(tiny ? ['base', 'xl'] : ['base', 'large', 'xl'], tiny)) {
  const logger = (level, message) => console.error(`${level}: ${message}`);
  const engine = await Engine.random(shape, { device, precision: 'bf16', seed: 0, logger });
  /** The bits of some cases that are encoded and decoded together. */
  const run = async (cases) => {
    const ids = cases.map((b) =>
      sourceIds(b, lengthOf(b, sourceLength), engine.config.maskTokenId),
    );
    const sources = await engine.encode(ids, { states: false });
    const targets = sources.map((source, i) => source.target(lengthOf(cases[i], targetLength)));
    await engine.decode(targets, iterations);
    const bits = targets.map(bitsOf);
    for (const source of sources) source.dispose();
    return bits;
  };
  const every = Array.from({ length: most }, (_, b) => b);
  const alone = [];
  for (const b of every) alone.push(...(await run([b])));
  // Otherwise the comparison would say nothing.
  if (new Set(alone.map((bits) => bits.toString('hex'))).size < most / 2)
    throw new Error(`${model}: different sources came out alike`);

  for (const batch of batches) {
    let compared = 0;
    let differing = 0;
    // The second round captures CUDA graphs, the third launches them; each begins with another case.
    for (let round = 0; round < 3; round++) {
      const order = every.map((b) => (b + round * 7) % most);
      for (let first = 0; first + batch <= most; first += batch) {
        const cases = order.slice(first, first + batch);
        (await run(cases)).forEach((bits, i) => {
          compared++;
          if (!bits.equals(alone[cases[i]])) differing++;
        });
      }
    }
    report({ op: 'bits', what: `jobs, ${model}`, batch, compared, differing });
    if (differing > 0) process.exitCode = 1;
  }
  await engine.close();
}
