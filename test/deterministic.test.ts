/**
 * `deterministic: false`: on the CPU it is taken and changes nothing; on the device that MASK_PREDICT_DEVICE names
 * (`simt`, the emulated one, in a test build) cuBLASLt, or the stand-in that MASK_PREDICT_CUBLASLT names, multiplies
 * large batches, and without it everything is as ever. What came of it is said to the logger.
 */
import t from 'tap';
import { Engine, type EngineRandomOptions } from '../lib/index.js';

const device = process.env.MASK_PREDICT_DEVICE as 'cuda' | undefined;
const shape = {
  layers: 2,
  hidden: 64,
  heads: 2,
  feedForward: 128,
  vocabulary: 300,
  norm: 'pre',
} as const;
const sourceIds = Int32Array.of(0, 17, 230, 99, 5, 2);

/** States of `count` targets of 30 rows, and what was logged. */
async function run(count: number, options: EngineRandomOptions) {
  const lines: string[] = [];
  await using engine = await Engine.random(shape, {
    ...options,
    seed: 7,
    logger: (level, message) => lines.push(`${level}: ${message}`),
  });
  const [source] = await engine.encode([sourceIds]);
  const targets = Array.from({ length: count }, () => source!.target(30));
  const states = await engine.states(targets);
  await engine.decode(targets, 3);
  return {
    states,
    tokens: targets.map(({ tokens }) => [...tokens]),
    lines: lines.join('\n'),
    weights: engine.memory().weights,
  };
}

t.test('on the CPU it makes no difference', async (t) => {
  const strict = await run(5, { device: 'cpu' });
  const loose = await run(5, { device: 'cpu', deterministic: false });
  t.same(loose.states, strict.states);
  t.same(loose.tokens, strict.tokens);
  t.notMatch(strict.lines, /deterministic/);
  t.match(loose.lines, /info: on the CPU deterministic: false makes no difference/);
  await t.rejects(Engine.random(shape, { deterministic: 'no' as never }), {
    code: 'ERR_INVALID_ARGUMENT',
  });
});

t.test('on a GPU', { skip: !device && 'no device is named' }, async (t) => {
  const library = process.env.MASK_PREDICT_CUBLASLT;
  const on = { device: device!, precision: 'bf16' } as const;
  const strict = await run(5, on);

  process.env.MASK_PREDICT_CUBLASLT = '/nowhere/libcublasLt.so';
  const without = await run(5, { ...on, deterministic: false });
  t.match(without.lines, /info: cuBLASLt was not found \(\/nowhere\/libcublasLt\.so\)/);
  t.same(without.states, strict.states, 'without the library: the same bits');
  t.equal(without.weights, strict.weights, 'and the same memory');

  if (library === undefined) delete process.env.MASK_PREDICT_CUBLASLT;
  else process.env.MASK_PREDICT_CUBLASLT = library;
  const floats = await run(5, { ...on, precision: 'fp32', deterministic: false });
  t.match(floats.lines, /info: precision 'fp32' uses no cuBLASLt/);

  const loose = await run(5, { ...on, deterministic: false });
  if (!/info: products of many rows by cuBLASLt/.test(loose.lines)) {
    t.comment(loose.lines); // a machine that has none
    return;
  }
  const { hidden, feedForward, layers } = shape;
  const matrices = layers * (4 * hidden * hidden + 2 * hidden * feedForward) + hidden * hidden;
  t.equal(loose.weights - strict.weights, 2 * matrices, 'the linear matrices once more');
  t.notSame(loose.states, strict.states, '150 rows: sums in another order');
  // bfloat16 has 8 bits, and 2 layers pass on a few times their rounding; states are about 1.
  let worst = 0;
  loose.states.forEach((rows, i) =>
    rows.forEach((x, j) => (worst = Math.max(worst, Math.abs(x - strict.states[i]![j]!)))),
  );
  t.ok(worst < 0.1, `states differ by at most ${worst}`);

  const few = await run(4, { ...on, deterministic: false });
  t.same(few.states, (await run(4, on)).states, '120 rows: still our own kernels');
});
