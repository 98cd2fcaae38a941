/**
 * The reference's formulas against central differences of its loss, in double precision: every weight of two very small
 * models. What the native code is compared with is thereby held to the loss, which is simple.
 */
import t from 'tap';
import { Random } from '../reference/random.js';
import { referenceStep } from '../reference/training-model.js';
import { tinyModel, tinyPart, type TinyShape } from './tiny.js';

const step = 1e-4;

for (const norm of ['pre', 'post'] as const) {
  t.test(`${norm}-LN: every gradient is the loss's slope`, async (t) => {
    const shape: TinyShape = {
      layers: 1,
      hidden: 4,
      heads: 2,
      feedForward: 5,
      norm,
      vocabulary: 8,
      padded: 1,
      positions: 8,
      lengths: 7,
    };
    const model = tinyModel(shape, 11);
    const part = tinyPart(new Random(12), shape, 2);
    const { gradients } = referenceStep(model, part);
    let whole = 0;
    for (const gradient of gradients.values()) for (const g of gradient) whole += g * g;
    whole = Math.sqrt(whole);
    const loss = () => referenceStep(model, part).loss;
    for (const [name, gradient] of gradients) {
      const weight = model.weights.get(name)!;
      let squares = 0;
      for (let i = 0; i < weight.length; i++) {
        const before = weight[i]!;
        // Fourth order: what is left of the slope is far below the bound, whatever the model's curvature.
        const at = (steps: number) => {
          weight[i] = before + steps * step;
          return loss();
        };
        const slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
        weight[i] = before;
        squares += (slope - gradient[i]!) ** 2;
      }
      const off = Math.sqrt(squares);
      t.ok(off <= 1e-6 * whole, `${name}: off by ${off / whole} of the whole gradient's norm`);
    }
  });
}
