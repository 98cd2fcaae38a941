/** Long loops let others have the thread: in a call of many texts, and over the pieces of a vocabulary. */
import t from 'tap';
import { mapWithPauses, pauses } from '../lib/pauses.js';

/** Takes so many milliseconds of the thread. */
function work(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** How often others had the thread until a promise was settled. */
async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let turns = 0;
  let settled = false;
  const count = () => {
    if (settled) return;
    turns++;
    setImmediate(count);
  };
  setImmediate(count);
  await promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  return turns;
}

t.test('a long list gives way, and its results are in order', async (t) => {
  const list = Array.from({ length: 20 }, (_, index) => index);
  let results: number[] = [];
  const turns = await turnsUntil(
    Promise.resolve(
      mapWithPauses(list, (value, index) => {
        work(4);
        return 10 * value + index;
      }),
    ).then((all) => (results = all)),
  );
  t.ok(turns >= 3, `${turns} turns in 80 ms`);
  t.same(
    results,
    list.map((value) => 11 * value),
  );
});

t.test('a short list is done at once', async (t) => {
  t.same(
    mapWithPauses([1, 2, 3], (value) => 2 * value),
    [2, 4, 6],
  );
  t.same(
    mapWithPauses([], (value) => value),
    [],
  );
  const holes = new Array<number | undefined>(2);
  t.same(
    mapWithPauses(holes, (value) => value === undefined),
    [true, true],
  );
});

t.test('a single value is done at once, however long it takes', async (t) => {
  const slow = () => (work(20), 7);
  t.same(mapWithPauses([1], slow), [7]);
  const two = mapWithPauses([1, 2], slow);
  t.ok(two instanceof Promise, 'there is a pause between two');
  t.same(await two, [7, 7]);
});

t.test('an abort or an error ends it', async (t) => {
  const controller = new AbortController();
  let made = 0;
  const call = mapWithPauses(
    Array.from({ length: 1000 }),
    () => {
      made++;
      work(4);
    },
    controller.signal,
  );
  setImmediate(() => controller.abort(new Error('enough')));
  await t.rejects(Promise.resolve(call), { message: 'enough' });
  t.ok(made < 1000, `${made} made`);
  const fail = (index: number) => {
    work(index < 19 ? 4 : 0);
    if (index === 19) throw new Error('no such text');
  };
  t.throws(() => mapWithPauses([19], fail), { message: 'no such text' });
  const later = mapWithPauses(Array.from({ length: 20 }), (_, index) => fail(index));
  await t.rejects(Promise.resolve(later), { message: 'no such text' });
});

t.test('a pause is a promise only where one is due', async (t) => {
  const pause = pauses();
  t.equal(pause(), undefined);
  work(11);
  t.ok(pause() instanceof Promise);
});
