/**
 * Training with products of bfloat16: gradients point where PyTorch's in float64 do, a stop and a resume change no bit, and
 * a machine without such products says so.
 */
import { join } from 'node:path';
import t from 'tap';
import { Trainer } from '../../lib/index.js';
import { native } from '../../lib/token/native.js';
import { sameBits } from '../reference/closeness.js';
import { goldenNames, loadGolden, normOf, readGolden } from './golden.js';

const skip = !native.instructionSets().includes('avx512bf16') && 'no AVX512-BF16 here';

/** Runs `body` with the instruction sets from `set` on. */
async function withSet<T>(set: string, body: () => Promise<T>): Promise<T> {
  const before = process.env.MASK_PREDICT_ISA;
  process.env.MASK_PREDICT_ISA = set;
  try {
    return await body();
  } finally {
    if (before === undefined) delete process.env.MASK_PREDICT_ISA;
    else process.env.MASK_PREDICT_ISA = before;
  }
}

for (const name of goldenNames) {
  const golden = readGolden(name);
  t.test(`${name}: loss and gradients`, { skip }, async (t) => {
    const trainer = await loadGolden(name, { precision: 'bf16' });
    t.teardown(() => trainer.close());
    t.equal(trainer.instructionSet, 'avx512bf16');
    const { loss, gradientNorm } = await trainer.step(golden.part, { update: false });
    const expectedLoss = golden.number('loss');
    t.ok(Math.abs(loss - expectedLoss) <= 0.01 * expectedLoss, `${loss} for ${expectedLoss}`);
    t.not(loss, expectedLoss);
    const whole = golden.number('gradient_norm');
    t.ok(Math.abs(gradientNorm - whole) <= 0.02 * whole, `norm ${gradientNorm} for ${whole}`);
    let [product, ours] = [0, 0];
    for (const [tensor, gradient] of await trainer.gradients()) {
      const expected = golden.tensors.get(`gradient.${tensor}`).values;
      gradient.forEach((value, i) => (product += value * expected[i]!));
      ours += normOf(gradient) ** 2;
    }
    const cosine = product / Math.sqrt(ours) / whole;
    t.ok(cosine > 0.9995, `the cosine of all gradients to float64's is ${cosine}`);
  });
}

t.test('a stop and a resume change no bit', { skip }, async (t) => {
  const { part } = readGolden('tiny-base');
  const folder = t.testdir({});
  const gradientsOf = async (trainer: Trainer) => {
    await trainer.step(part, { update: false });
    return trainer.gradients();
  };
  const trainer = await loadGolden('tiny-base', { precision: 'bf16', dropout: 0.1 });
  t.teardown(() => trainer.close());
  await trainer.step(part);
  await trainer.checkpoint(join(folder, 'stopped'));
  await trainer.step(part);
  const expected = await gradientsOf(trainer);
  const resumed = await Trainer.resume(join(folder, 'stopped'), { threads: 1 });
  t.teardown(() => resumed.close());
  t.equal(resumed.instructionSet, 'avx512bf16', 'the precision is part of the checkpoint');
  await resumed.step(part);
  for (const [tensor, gradient] of await gradientsOf(resumed))
    t.ok(sameBits(gradient, expected.get(tensor)!), tensor);
  await withSet('avx2', async () => {
    await t.rejects(Trainer.resume(join(folder, 'stopped')), {
      code: 'ERR_DEVICE',
      message: /need a processor with AVX512-BF16, .*"avx2".*; use 'fp32' or 'auto'/,
    });
  });
});

t.test('without the instruction', async (t) => {
  await withSet('portable', async () => {
    await t.rejects(loadGolden('tiny-base', { precision: 'bf16' }), {
      code: 'ERR_DEVICE',
      message: /"portable"/,
    });
    const trainer = await loadGolden('tiny-base', { precision: 'auto' });
    t.equal(trainer.instructionSet, 'portable');
    await trainer.close();
  });
});
