/** Which examples make which step: all of them, within bounds, in an order of seed and epoch alone. */
import t from 'tap';
import { checkRows, countSteps, epochSteps, windowSize } from '../../lib/training/batches.js';

/** Examples of 6 to 65 ids. */
const rowsOf = (example: number) => 6 + ((example * 7919) % 60);

function dataset(...parts: [examples: number, weight: number][]) {
  return {
    parts: parts.map(([examples, weight]) => ({ weight, cache: { examples } })),
    examples: parts.reduce((sum, [examples]) => sum + examples, 0),
    rows: rowsOf,
  };
}

async function steps(of: ReturnType<typeof dataset>, seed = 1n, epoch = 0, rows = 512) {
  const list = [];
  for await (const slots of epochSteps(of, seed, epoch, rows)) list.push(slots);
  return list;
}

t.test('every example is in one step, and no step has more rows than it may', async (t) => {
  const data = dataset([20_000, 1]);
  const list = await steps(data);
  const seen = list.flat().map(({ example }) => example);
  t.same(
    seen.sort((a, b) => a - b),
    [...Array(20_000).keys()],
  );
  for (const slots of list) {
    const rows = slots.reduce((sum, { example }) => sum + rowsOf(example), 0);
    if (rows > 512 || slots.length === 0) t.fail(`a step of ${rows} rows`);
  }
  t.equal(await countSteps(data, 1n, 0, 512), list.length);
  const all = [...Array(20_000).keys()].reduce((sum, example) => sum + rowsOf(example), 0);
  t.ok(list.length < 1.08 * (all / 512), 'steps are nearly full');
});

t.test(
  'steps have examples of about the same length, from one window of the shuffle',
  async (t) => {
    const list = await steps(dataset([3 * windowSize, 1]));
    const spans = list.map((slots) => {
      const rows = slots.map(({ example }) => rowsOf(example));
      return Math.max(...rows) - Math.min(...rows);
    });
    t.ok(
      spans.every((span) => span <= 8),
      'sorted by length',
    );
    const firsts = list.slice(0, 20).map(([slot]) => rowsOf(slot!.example));
    t.not(String(firsts), String([...firsts].sort((a, b) => a - b)), 'steps are shuffled again');
    const early = list.slice(0, list.length / 3).flat();
    t.ok(
      early.some(({ example }) => example > 2 * windowSize),
      'examples are shuffled over all',
    );
  },
);

t.test('the order is a function of seed and epoch', async (t) => {
  const data = dataset([1000, 1]);
  const order = await steps(data, 5n, 2);
  t.same(await steps(data, 5n, 2), order);
  t.not(JSON.stringify(await steps(data, 5n, 3)), JSON.stringify(order));
  t.not(JSON.stringify(await steps(data, 6n, 2)), JSON.stringify(order));
});

t.test('a weight says how often a file is seen in an epoch', async (t) => {
  const data = dataset([100, 2.25], [40, 0.5], [10, 1]);
  const count = async (epoch: number) => {
    const all = (await steps(data, 1n, epoch)).flat();
    t.equal(new Set(all.map((slot) => JSON.stringify(slot))).size, all.length, 'no copy is twice');
    const times = new Array<number>(150).fill(0);
    for (const { example } of all) times[example]!++;
    return times;
  };
  const first = await count(0);
  t.equal(first.slice(0, 100).filter((n) => n === 2).length, 75);
  t.equal(first.slice(0, 100).filter((n) => n === 3).length, 25);
  t.equal(first.slice(100, 140).filter((n) => n === 1).length, 20);
  t.equal(first.slice(100, 140).filter((n) => n === 0).length, 20);
  t.same(first.slice(140), new Array(10).fill(1));
  t.not(String(await count(1)), String(first), 'another share in another epoch');
  const tiny = (await steps(dataset([10, 1], [3, 0.01]))).flat();
  t.equal(tiny.length, 11, 'a small weight leaves at least one example');
});

t.test('an example that fits no step is an error', async (t) => {
  t.throws(() => checkRows(dataset([100, 1]), 64), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /an example has 65 ids, a step at most 64: raise rows/,
  });
  t.doesNotThrow(() => checkRows(dataset([100, 1]), 65));
});
