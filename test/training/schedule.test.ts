/** The learning rate's courses at the points that define them. */
import t from 'tap';
import { scheduleFactor, type ScheduleName } from '../../lib/training/schedule.js';

const at = (name: ScheduleName, step: number, steps?: number, progress?: number) =>
  scheduleFactor({ name, warmup: 500, power: 1 }, step, steps, progress);

t.test('every course warms up in a straight line', async (t) => {
  for (const name of ['polynomial', 'inverse-sqrt', 'constant'] as const) {
    t.equal(at(name, 1, 20_000), 1 / 500);
    t.equal(at(name, 250, 20_000), 0.5);
    t.equal(at(name, 500, 20_000), 1);
    t.equal(at(name, 501, 20_000), 1, 'and begins to fall from the whole rate');
  }
});

t.test('the polynomial falls to 0 when all steps are done', async (t) => {
  t.equal(at('polynomial', 10_251, 20_000), 0.5);
  t.equal(at('polynomial', 20_000, 20_000), 1 / 19_500, 'the last step still moves');
  t.equal(at('polynomial', 20_001, 20_000), 0);
  t.equal(scheduleFactor({ name: 'polynomial', warmup: 0, power: 2 }, 51, 100), 0.25);
});

t.test('the inverse square root falls with the steps, the constant does not', async (t) => {
  t.equal(at('inverse-sqrt', 2001, undefined), 0.5);
  t.equal(at('inverse-sqrt', 8001, 10_000), 0.25);
  t.equal(scheduleFactor({ name: 'inverse-sqrt', warmup: 0, power: 1 }, 1, undefined), 1);
  t.equal(scheduleFactor({ name: 'inverse-sqrt', warmup: 0, power: 1 }, 5, undefined), 0.5);
  t.equal(at('constant', 1e6), 1);
});

t.test('without a number of steps the polynomial falls with the time', async (t) => {
  t.equal(at('polynomial', 250, undefined, 0), 0.5);
  t.equal(at('polynomial', 5000, undefined, 0.75), 0.25);
  t.equal(at('polynomial', 5000, undefined, 1), 0);
});
