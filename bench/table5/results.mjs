// From rounds to figures: tokens per second, speed-ups, and where non-autoregressive decoding stops winning.
import { spread } from '../machine.mjs';

/**
 * One cell: `{ length, batch, rounds, models }`, a model's `{ name, tokensPerSecond: { median, low, high }, speedUp,
 * expected, overFloor, token }`. `speedUp` is relative to the slowest of the cell, `expected` the same ratio between their
 * floors, `overFloor` the median time in units of the floor; `token`, of an autoregressive model, the median
 * milliseconds of one more token for every sequence and the same in units of reading the weights. Without rounds `models` is null.
 */
export function cellResult(cell, rounds, contestants) {
  if (rounds.length === 0) return { ...cell, rounds: 0, models: null };
  const times = contestants.map(({ name, floor, reading }) => ({
    name,
    ms: spread(rounds.map((round) => round[name].ms)),
    token: tokenOf(
      rounds.map((round) => round[name].tokenMs),
      reading,
    ),
    floor: floor && floor(cell),
  }));
  const slowest = times.reduce((a, b) => (b.ms.median > a.ms.median ? b : a));
  const perSecond = (ms) => (1000 * cell.length * cell.batch) / ms;
  const models = times.map(({ name, ms, floor, token }) => ({
    name,
    tokensPerSecond: {
      median: perSecond(ms.median),
      low: perSecond(ms.high),
      high: perSecond(ms.low),
    },
    speedUp: slowest.ms.median / ms.median,
    expected: floor && slowest.floor / floor,
    overFloor: floor && ms.median / floor,
    token,
  }));
  return { ...cell, rounds: rounds.length, models };
}

function tokenOf(milliseconds, reading) {
  const known = milliseconds.filter((ms) => ms > 0); // nothing but numbers: one token has no next one
  if (known.length === 0) return null;
  const ms = spread(known).median;
  return { ms, overReading: reading && ms / reading };
}

const modelOf = (result, name) => result.models.find((model) => model.name === name);

/** How many times as fast `name` is as `other`, measured and from the floors. */
export function ratio(result, name, other) {
  if (!result.models) return null;
  const [a, b] = [modelOf(result, name), modelOf(result, other)];
  return { measured: a.speedUp / b.speedUp, expected: a.expected && a.expected / b.expected };
}

/**
 * The batch at which `name` stops being faster than `other` at one length: `{ batch, between }` on a straight line
 * through the logarithms of the two measured cells on either side of 1; `{ below }` or `{ above }` the measured
 * batches where there are no such cells; null without measurements.
 */
export function crossover(results, name, other) {
  const points = results
    .filter(({ models }) => models)
    .sort((a, b) => a.batch - b.batch)
    .map((result) => ({
      batch: result.batch,
      gain: Math.log2(ratio(result, name, other).measured),
    }));
  if (points.length === 0) return null;
  if (points[0].gain < 0) return { below: points[0].batch };
  const after = points.findIndex(({ gain }) => gain < 0);
  if (after < 0) return { above: points.at(-1).batch };
  const [a, b] = [points[after - 1], points[after]];
  const along = a.gain / (a.gain - b.gain);
  return {
    batch: a.batch * (b.batch / a.batch) ** along,
    between: [a.batch, b.batch],
  };
}
