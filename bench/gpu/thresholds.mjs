// node thresholds.mjs PROGRAM [--tiny]
//
// Two settings that were chosen without a GPU, for base, large and XL with random weights:
//   pass    time of a pass over 32 to 1 024 rows, all masked: `scheduling.rowBudget` is 512 rows by default, a compromise of
//           rows a second and of how long every call at work waits
//   graphs  one decode of T = 10 in a bucket of padded sizes for the first time (without CUDA graphs), the second (captured
//           and launched) and the third (launched); over many buckets, and the memory that their graphs took, of which
//           docs/gpu.md assumes 256 MiB with the code of kernels
// Appends to $RESULTS.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { modelsOf, reporter, sourceIds } from './models.mjs';

const [program] = process.argv.slice(2);
const tiny = process.argv.includes('--tiny');
const device = process.env.DEVICE ?? 'cuda';
const { Engine } = await import(pathToFileURL(join(program, 'dist/index.js')).href);
const report = reporter(() => 'ours');
const rowCounts = tiny ? [32, 64] : [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
const lengths = tiny ? [9, 20] : Array.from({ length: 16 }, (_, i) => 16 * (i + 1));
const iterations = tiny ? 2 : 10;

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function timed(call) {
  const start = performance.now();
  await call();
  return (performance.now() - start) * 1000;
}

/** MiB of the card that are in use, by all of its processes; null in a rehearsal. */
function memoryUsed() {
  if (device !== 'cuda') return null;
  const card = process.env.CUDA_VISIBLE_DEVICES?.split(',')[0] ?? '0';
  const query = ['-i', card, '--query-gpu=memory.used', '--format=csv,noheader,nounits'];
  return Number(execFileSync('nvidia-smi', query, { encoding: 'utf8' }));
}

async function passes(engine, model, source) {
  for (const rows of rowCounts) {
    const times = [];
    const begun = performance.now();
    while (times.length < (tiny ? 1 : 5) || (!tiny && performance.now() - begun < 1000)) {
      const targets = Array.from({ length: rows / 32 }, () => source.target(32));
      times.push(await timed(() => engine.predict(targets)));
      for (const target of targets) target.dispose();
    }
    report({ op: 'pass', model, rows, us: median(times), rounds: times.length });
  }
}

async function graphs(engine, model, source) {
  const decode = async (length) => {
    const target = source.target(length);
    const took = await timed(() => engine.decode([target], iterations));
    target.dispose();
    return took;
  };
  // Kernels are loaded and memory is taken before anything is counted.
  await decode(lengths.at(-1));
  const before = memoryUsed();
  const rounds = [[], [], []];
  for (const round of rounds) for (const length of lengths) round.push(await decode(length));
  const after = memoryUsed();
  report({
    ...{ op: 'graphs', model, iterations, buckets: lengths.length },
    first: median(rounds[0]),
    captured: median(rounds[1]),
    launched: median(rounds[2]),
    mebibytes: after === null ? null : after - before,
  });
}

for (const { model, shape } of modelsOf(tiny ? ['base', 'xl'] : ['base', 'large', 'xl'], tiny)) {
  const logger = (level, message) => console.error(`${level}: ${message}`);
  const engine = await Engine.random(shape, { device, precision: 'bf16', seed: 0, logger });
  const [source] = await engine.encode([sourceIds(0, tiny ? 12 : 64, engine.config.maskTokenId)]);
  await passes(engine, model, source);
  await graphs(engine, model, source);
  source.dispose();
  await engine.close();
}
