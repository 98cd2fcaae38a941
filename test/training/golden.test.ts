/**
 * A step against PyTorch in float64, within what the contract allows float32: each gradient, the loss, three steps of
 * AdamW; on each instruction set and in each way of recomputing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { native } from '../../lib/token/native.js';
import { Tensors } from '../reference/safetensors.js';
import { distance, goldenNames, loadGolden, normOf, readGolden } from './golden.js';

const lossBound = 1e-4;
const gradientBound = 2e-5;
const smallestShare = 1e-3;
const afterBound = 2e-5;

for (const name of goldenNames) {
  const golden = readGolden(name);
  const whole = golden.number('gradient_norm');

  for (const instructionSet of native.instructionSets()) {
    t.test(`${name}: loss and gradients, ${instructionSet}`, async (t) => {
      const before = process.env.MASK_PREDICT_ISA;
      process.env.MASK_PREDICT_ISA = instructionSet;
      t.teardown(() => {
        if (before === undefined) delete process.env.MASK_PREDICT_ISA;
        else process.env.MASK_PREDICT_ISA = before;
      });
      const trainer = await loadGolden(name);
      t.teardown(() => trainer.close());
      const result = await trainer.step(golden.part, { update: false });
      for (const [ours, theirs] of [
        [result.loss, 'loss'],
        [result.nll, 'nll'],
        [result.lengthLoss, 'length_loss'],
      ] as const) {
        const expected = golden.number(theirs);
        t.ok(Math.abs(ours - expected) <= lossBound, `${theirs}: ${ours} for ${expected}`);
      }
      t.ok(Math.abs(result.gradientNorm - whole) <= gradientBound * whole, 'the norm');
      const gradients = await trainer.gradients();
      const names = golden.tensors.names().filter((tensor) => tensor.startsWith('gradient.'));
      t.same([...gradients.keys()].map((tensor) => `gradient.${tensor}`).sort(), names.sort());
      for (const [tensor, gradient] of gradients) {
        const expected = golden.tensors.get(`gradient.${tensor}`).values;
        const off = distance(gradient, expected);
        const bound = gradientBound * Math.max(normOf(expected), smallestShare * whole);
        t.ok(off <= bound, `${tensor}: ${off / bound} of the bound`);
      }
    });
  }

  t.test(`${name}: three steps of AdamW`, async (t) => {
    const trainer = await loadGolden(name);
    t.teardown(() => trainer.close());
    const expected = golden.tensors.get('losses').values;
    const losses: number[] = [];
    for (let i = 0; i < 3; i++) losses.push((await trainer.step(golden.part)).loss);
    losses.push((await trainer.evaluate([golden.part])).loss);
    losses.forEach((loss, i) =>
      t.ok(Math.abs(loss - expected[i]!) <= lossBound, `loss ${i}: ${loss} for ${expected[i]}`),
    );
    t.equal(trainer.updates, 3);
    const directory = mkdtempSync(join(tmpdir(), 'mask-predict-golden-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    await trainer.save(join(directory, 'model'));
    const saved = Tensors.checkpoint(join(directory, 'model'));
    let compared = 0;
    for (const tensor of golden.tensors.names()) {
      if (!tensor.startsWith('after.')) continue;
      const after = golden.tensors.get(tensor).values;
      const ours = saved.get(tensor.slice('after.'.length)).values;
      let worst = 0;
      after.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - ours[i]!))));
      t.ok(worst <= afterBound, `${tensor}: off by ${worst}`);
      compared++;
    }
    t.ok(compared >= 20, 'layer 0, head and length tensors were compared');
  });
}
