/**
 * fillMasks: predictions go into the masked rows and nowhere else. remask: exactly the lowest scores, ties to the lower
 * position; nothing else changes.
 */
import t from 'tap';
import { fillMasks, remask } from '../../lib/token/operations.js';
import { sameBits } from '../reference/closeness.js';
import { lowestScores } from '../reference/prediction.js';
import { offsetsOf, Random } from '../reference/random.js';
import { badOffsets, badOptions, refuses } from './refusals.js';
import { variants } from './variants.js';

const maskTokenId = 508;

t.test('exact, with many ties', async (t) => {
  const random = new Random(1);
  for (let round = 0; round < 60; round++) {
    const long = round % 20 === 0;
    const lengths = long
      ? [514, 3, 130]
      : [...random.integers(random.integer(0, 8), random.integer(0, 1), 40)];
    const offsets = offsetsOf(lengths);
    const rows = offsets.at(-1)!;
    // From all scores equal to all different; -0 and 0 are the same score.
    const levels = random.choice([1, 2, 5, 1e6]);
    const scores = Float32Array.from({ length: rows }, () => -random.integer(0, levels) / 16);
    const tokens = random.integers(rows, 3, maskTokenId - 1);
    const maskable = Uint8Array.from({ length: rows }, () => (random.uniform() < 0.8 ? 1 : 0));
    const expected = {
      tokens: tokens.slice(),
      scores: scores.slice(),
      masked: new Uint8Array(rows),
    };
    const counts = Int32Array.from(lengths, (_, s) => {
      const [from, to] = [offsets[s]!, offsets[s + 1]!];
      const own = maskable.subarray(from, to);
      const available = own.reduce((sum, flag) => sum + flag, 0);
      const count = random.choice([0, available, random.integer(0, available)]);
      lowestScores(scores.subarray(from, to), own, count).forEach((chosen, i) => {
        if (!chosen) return;
        expected.masked[from + i] = 1;
        expected.tokens[from + i] = maskTokenId;
        expected.scores[from + i] = 0;
      });
      return count;
    });
    const before = [tokens.slice(), scores.slice()];
    for (const { name, options } of variants) {
      const args = { tokens, scores, maskable, offsets, counts, maskTokenId };
      const { tokens: after, scores: kept, masked } = remask(args, options);
      t.same(after, expected.tokens, `${name}, round ${round}: tokens`);
      t.same(masked, expected.masked, `${name}, round ${round}: masked`);
      const equal = kept.length === rows && kept.every((score, i) => score === expected.scores[i]);
      t.ok(equal, `${name}, round ${round}: scores`);
      t.same([tokens, scores], before, 'the arguments are not changed');
    }
  }
});

t.test('predictions fill the masked rows, whatever their order', async (t) => {
  const random = new Random(2);
  for (const rows of [0, 1, 7, 129, 1000]) {
    const tokens = random.integers(rows, 3, maskTokenId);
    const scores = random.normals(rows);
    const order = Int32Array.from({ length: rows }, (_, row) => row).filter(
      () => random.uniform() < 0.6,
    );
    for (let i = order.length - 1; i > 0; i--) {
      const other = random.integer(0, i);
      [order[i], order[other]] = [order[other]!, order[i]!];
    }
    const ids = random.integers(order.length, 3, maskTokenId - 1);
    const logProbs = random.normals(order.length);
    // No logit was a number: the head says so with -1 and NaN.
    if (order.length > 0) [ids[0], logProbs[0]] = [-1, NaN];
    const expected = { tokens: tokens.slice(), scores: scores.slice() };
    order.forEach((row, i) => {
      expected.tokens[row] = ids[i] === -1 ? 3 : ids[i]!;
      expected.scores[row] = logProbs[i]!;
    });
    const before = [tokens.slice(), scores.slice()];
    for (const { name, options } of variants) {
      const filled = fillMasks({ tokens, scores, maskedRows: order, ids, logProbs }, options);
      t.same(filled.tokens, expected.tokens, `${name}, ${rows} rows: tokens`);
      t.ok(sameBits(filled.scores, expected.scores), `${name}, ${rows} rows: scores`);
      t.same([tokens, scores], before, 'the arguments are not changed');
    }
  }
});

t.test('wrong arguments of fillMasks', async (t) => {
  const good = {
    tokens: Int32Array.of(0, 9, 9, 2),
    scores: new Float32Array(4),
    maskedRows: Int32Array.of(1, 2),
    ids: Int32Array.of(7, 8),
    logProbs: new Float32Array(2),
  };
  const call = (args: object) => () => fillMasks({ ...good, ...args });
  refuses(t, {
    'a row twice': call({ maskedRows: Int32Array.of(1, 1) }),
    'a row too far': call({ maskedRows: Int32Array.of(1, 4) }),
    'a row below 0': call({ maskedRows: Int32Array.of(-1, 2) }),
    'too few ids': call({ ids: Int32Array.of(7) }),
    'an id below -1': call({ ids: Int32Array.of(7, -2) }),
    'too many log-probabilities': call({ logProbs: new Float32Array(3) }),
    'too few scores': call({ scores: new Float32Array(3) }),
    'rows of another type': call({ maskedRows: [1, 2] }),
    'no tokens': call({ tokens: undefined }),
    'no arguments': () => fillMasks(undefined as never),
  });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => fillMasks(good, options) });
});

t.test('wrong arguments of remask', async (t) => {
  const good = {
    tokens: Int32Array.of(0, 9, 9, 2, 0, 9, 2),
    scores: new Float32Array(7),
    maskable: Uint8Array.of(0, 1, 1, 0, 0, 1, 0),
    offsets: Int32Array.of(0, 4, 7),
    counts: Int32Array.of(2, 1),
    maskTokenId,
  };
  const call = (args: object) => () => remask({ ...good, ...args });
  refuses(t, {
    'more than is maskable': call({ counts: Int32Array.of(3, 1) }),
    'more than there is': call({ counts: Int32Array.of(0, 9) }),
    'fewer than none': call({ counts: Int32Array.of(-1, 1) }),
    'too few counts': call({ counts: Int32Array.of(1) }),
    'too many counts': call({ counts: Int32Array.of(1, 1, 0) }),
    'too few scores': call({ scores: new Float32Array(6) }),
    'too few flags': call({ maskable: new Uint8Array(6) }),
    'too many tokens': call({ tokens: new Int32Array(8) }),
    'scores of another type': call({ scores: new Float64Array(7) }),
    'flags of another type': call({ maskable: new Int32Array(7) }),
    'no tokens': call({ tokens: undefined }),
    'no mask id': call({ maskTokenId: undefined }),
    'a mask id below 0': call({ maskTokenId: -1 }),
    'half a mask id': call({ maskTokenId: 4.5 }),
    'no arguments': () => remask(undefined as never),
  });
  for (const [name, offsets] of Object.entries(badOffsets(7, 2)))
    refuses(t, { [`offsets ${name}`]: call({ offsets, counts: Int32Array.of(0, 0) }) });
  for (const [name, options] of Object.entries(badOptions))
    refuses(t, { [name]: () => remask(good, options) });
});
