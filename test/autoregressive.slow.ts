/**
 * The autoregressive opponents of bench/table5.mjs: what they generate step by step from their caches is what a plain
 * double-precision model computes without one, and the same bits in any batch, on any number of threads. Compiles
 * them first.
 */
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { native } from '../lib/token/native.js';
import { ReferenceAutoregressive, type AutoregressiveModel } from './reference/autoregressive.js';
import { relativeBound } from './reference/bounds.js';
import { closeness, rootMeanSquare } from './reference/closeness.js';
import { predictRow } from './reference/prediction.js';
import { Random } from './reference/random.js';

interface Generated {
  ids: number[][];
  logProbs: number[][];
  logits?: number[][][];
}
interface Started {
  parameters: number;
  encoderBody: number;
  decoderBody: number;
  generate(prompts: number[][], length: number, options?: { logits: boolean }): Promise<Generated>;
  close(): Promise<void>;
}
type Model = Omit<AutoregressiveModel, 'precision'> & { precision: string };

// The plain model does not round activations, as products of bfloat16 do where the processor has them.
if (native.instructionSets()[0] === 'avx512bf16') process.env.MASK_PREDICT_ISA = 'avx512vnni';

const bench = async (file: string): Promise<unknown> =>
  import(new URL(`../bench/autoregressive/${file}`, import.meta.url).href);

const missing = spawnSync('cmake', ['--version']).status !== 0;
const skip = missing && 'CMake builds the autoregressive models, and is not here';
const { autoregressiveProgram } = (await bench('build.mjs')) as { autoregressiveProgram(): string };
const { startAutoregressive } = (await bench('process.mjs')) as {
  startAutoregressive(program: string, model: Model & { threads: number }): Promise<Started>;
};
const program = missing ? '' : autoregressiveProgram();

// Head sizes that fill a group of 48 columns in part and once and a half; prompts and texts that cross one; more
// query rows than one block has; a vocabulary whose last rows stand for no piece.
const sizes = { vocabulary: 211, maskTokenId: 200, maxPositions: 82, seed: 5 };
const post = { ...sizes, layers: 4, hidden: 72, heads: 3, feedForward: 200, norm: 'post' } as const;
const pre = { ...sizes, layers: 2, hidden: 160, heads: 2, feedForward: 240, norm: 'pre' } as const;
const models: AutoregressiveModel[] = (['decoder-only', 'encoder-decoder'] as const).flatMap(
  (architecture) => [
    { ...post, architecture, precision: 'fp32' },
    { ...post, architecture, precision: 'bf16' },
    { ...pre, architecture, precision: 'fp32' },
  ],
);
const length = 14;
const random = new Random(3);
const prompts = [41, 1, 60, 17].map((ids) => [...random.integers(ids, 3, sizes.maskTokenId)]);

/** Another number of threads and every prompt by itself give the bits of `generated`, which all gave together. */
async function sameAlone(t: Test, started: Started, model: Model, generated: Generated) {
  const same = { ids: generated.ids, logProbs: generated.logProbs };
  const one = await startAutoregressive(program, { ...model, threads: 1 });
  const { ids, logProbs } = await one.generate(prompts, length);
  t.same({ ids, logProbs }, same, 'one thread');
  for (const [p, prompt] of prompts.entries()) {
    const alone = await started.generate([prompt], length);
    t.same(alone.ids, [same.ids[p]], `prompt ${p} alone`);
    t.same(alone.logProbs, [same.logProbs[p]], `prompt ${p} alone: log-probabilities`);
  }
  await one.close();
}

for (const model of models) {
  const { architecture, precision, norm, layers, hidden, feedForward } = model;
  t.test(`${architecture}, norms ${norm}, ${precision}`, { skip }, async (t) => {
    const started = await startAutoregressive(program, { ...model, threads: 2 });
    const body = layers * (4 * hidden ** 2 + 2 * hidden * feedForward);
    t.equal(
      started.encoderBody + started.decoderBody,
      body,
      'as many weights as the encoder-only model',
    );

    const generated = await started.generate(prompts, length, { logits: true });
    const reference = new ReferenceAutoregressive(model);
    // An encoder-decoder's layers pass one and a half times the operations where they have a cross-attention.
    const relative = relativeBound(layers * 1.5, feedForward);
    prompts.forEach((prompt, p) => {
      const ids = generated.ids[p]!;
      reference.logits(Int32Array.from(prompt), Int32Array.from(ids)).forEach((expected, step) => {
        const what = `prompt ${p}, step ${step}`;
        const bound = relative * rootMeanSquare(expected);
        const { worst, where } = closeness(generated.logits![p]![step]!, expected, bound);
        t.ok(worst <= 1, `${what}: ${worst.toFixed(3)} of the bound, ${where}`);
        const best = predictRow(expected, model.maskTokenId);
        t.ok(best.margin > 2 * bound, `${what}: decided by ${best.margin}`);
        t.equal(ids[step], best.id, `${what}: the best id`);
        const error = Math.abs(generated.logProbs[p]![step]! - best.logProb);
        t.ok(error <= 2 * bound, `${what}: its log-probability is off by ${error}`);
      });
    });

    await sameAlone(t, started, model, generated);
    await t.rejects(started.generate([prompts[0]!], 81), { message: /81|121/ }, 'no such position');
    await t.rejects(started.generate([[1000]], 1), { message: /1000/ }, 'no such id');
    await started.close();
  });
}

// The arithmetic of int8 is compared with a reference operation by operation (test/ops).
for (const architecture of ['decoder-only', 'encoder-decoder'] as const) {
  t.test(`${architecture}, int8`, { skip }, async (t) => {
    const model = { ...post, architecture, precision: 'int8' } as const;
    const started = await startAutoregressive(program, { ...model, threads: 2 });
    await sameAlone(t, started, model, await started.generate(prompts, length));
    await started.close();
  });
}

t.test('a model that cannot be made', { skip }, async (t) => {
  const odd = { ...post, layers: 3, architecture: 'encoder-decoder', precision: 'fp32' } as const;
  await t.rejects(startAutoregressive(program, { ...odd, threads: 1 }), {
    message: /layers, not 3/,
  });
});
