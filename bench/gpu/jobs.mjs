// node jobs.mjs PROGRAM MODEL... [--tiny] [--variants]       MODEL: base, large, xl
//
// Whole jobs on $DEVICE with random weights, through the package's API: encode a batch of sources of 64 ids, decode
// targets of 32 in T passes; and one pass over targets that are all masked, with what the host does around it. Appends
// to $RESULTS, a line each, with `terms`, [bytes, operations] of every part that memory or arithmetic limits; and what
// came out of the smaller batches, which peers/huggingface.py compares. With --variants the models with weights of int8 and
// fp8, and with deterministic: false, instead; their results are compared with nothing.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { modelsOf, reporter, sourceIds } from './models.mjs';

const [program, ...named] = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const tiny = process.argv.includes('--tiny');
const withVariants = process.argv.includes('--variants');
const device = process.env.DEVICE ?? 'cuda';
const { Engine } = await import(pathToFileURL(join(program, 'dist/index.js')).href);
const models = modelsOf(named, tiny);
const variants = withVariants
  ? [
      { who: 'ours, int8', precision: 'int8' },
      { who: 'ours, fp8', precision: 'fp8' },
      { who: 'ours, deterministic: false', precision: 'bf16', deterministic: false },
    ]
  : [{ who: 'ours', precision: 'bf16' }];
const [sourceLength, targetLength] = tiny ? [12, 9] : [64, 32];
const batches = tiny ? [1, 3] : [1, 8, 64];
const inner = targetLength - 2;

let who;
const report = reporter(() => who);

/** Median and quartiles, in microseconds, of what `call` says it took, over about three seconds. */
async function timed(call) {
  for (let i = 0; i < 2; i++) await call();
  const begun = performance.now();
  const times = [];
  const least = tiny ? 1 : 5;
  while (times.length < least || (!tiny && times.length < 200 && performance.now() - begun < 3000))
    times.push((await call()) * 1000);
  times.sort((a, b) => a - b);
  const at = (fraction) => times[Math.min(times.length - 1, Math.floor(times.length * fraction))];
  return { us: at(0.5), low: at(0.25), high: at(0.75), rounds: times.length };
}

const maskedIn = (t, iterations) => Math.floor((inner * (iterations - t + 1)) / iterations);

for (const [{ model, shape }, variant] of models.flatMap((m) => variants.map((v) => [m, v]))) {
  const { who: name, ...options } = variant;
  who = name;
  const begun = performance.now();
  const engine = await Engine.random(shape, {
    ...options,
    device,
    seed: 0,
    logger: (level, message) => console.error(`${level}: ${message}`),
  });
  const { layers, hidden, feedForward, maskTokenId } = engine.config;
  report({
    op: 'load',
    model,
    device: engine.device,
    precision: engine.precision,
    seconds: (performance.now() - begun) / 1000,
    memory: engine.memory(),
  });
  const body = layers * (4 * hidden * hidden + 2 * hidden * feedForward);
  // The work on a job's source: its last layer ends with keys and values, since the target's length is given.
  const sourceBody = body - (2 * hidden * hidden + 2 * hidden * feedForward);
  const headSize = hidden * hidden + hidden * (maskTokenId + 1);
  const bytes = options.precision === 'bf16' ? 2 : 1; // of a weight
  const term = (weights, rows) => [weights * bytes, 2 * weights * rows];

  for (const batch of batches) {
    const ids = Array.from({ length: batch }, (_, b) => sourceIds(b, sourceLength, maskTokenId));
    const targetsOf = (sources) => sources.map((source) => source.target(targetLength));
    const kept = await engine.encode(ids);

    const encode = await timed(async () => {
      const start = performance.now();
      const sources = await engine.encode(ids);
      const passed = performance.now() - start;
      for (const source of sources) source.dispose();
      return passed;
    });
    report({ op: 'encode', model, batch, ...encode, terms: [term(body, batch * sourceLength)] });

    const iteration = await timed(async () => {
      const targets = targetsOf(kept);
      const start = performance.now();
      await engine.predict(targets);
      const passed = performance.now() - start;
      for (const target of targets) target.dispose();
      return passed;
    });
    const passTerms = (masked) => [
      term(body, batch * targetLength),
      term(headSize, batch * masked),
    ];
    report({ op: 'iteration', model, batch, ...iteration, terms: passTerms(inner) });

    for (const iterations of tiny ? [1, 2] : [1, 4, 10]) {
      if (batch <= 8 && !withVariants) {
        const targets = targetsOf(kept);
        await engine.decode(targets, iterations);
        const tokens = targets.map((target) => [...target.tokens]);
        report({
          op: 'result',
          model,
          batch,
          iterations,
          tokens,
          scores: targets.map((target) => [...target.scores]),
        });
      }
      if (iterations === 1) continue;
      const job = await timed(async () => {
        const start = performance.now();
        const sources = await engine.encode(ids, { states: false });
        await engine.decode(targetsOf(sources), iterations);
        const passed = performance.now() - start;
        for (const source of sources) source.dispose();
        return passed;
      });
      const terms = [term(sourceBody, batch * sourceLength)];
      for (let t = 1; t <= iterations; t++) terms.push(...passTerms(maskedIn(t, iterations)));
      report({ op: 'job', model, batch, iterations, ...job, terms });
    }
    for (const source of kept) source.dispose();
  }
  await engine.close();
}
