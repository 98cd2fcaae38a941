// Conditions under which a run counts: the opponents compute the same thing, and they are as fast as they are known to
// be.

/** A hash of `[batch][length]` tokens (FNV-1a over the ids), to compare runs by eye. */
export function fingerprint(tokens) {
  let hash = 2166136261;
  for (const id of tokens.flat()) hash = Math.imul(hash ^ id, 16777619) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

/** The share of equal tokens, those at the ends left out, which are given. */
export function sameTokens(expected, actual) {
  let [equal, count] = [0, 0];
  expected.forEach((row, b) => {
    for (let i = 1; i + 1 < row.length; i++) {
      count++;
      if (row[i] === actual[b][i]) equal++;
    }
  });
  return equal / count;
}

/**
 * The expert row in float32 as it was measured on a machine (2 cores, Ice Lake) whose arithmetic peak was measured
 * beside it: the slowest of the medians, and the least and greatest peak.
 */
const known = [
  { size: 'base', batch: 1, iterations: 4, threads: 2, ms: [604, 728], gflops: [311, 348] },
  { size: 'base', batch: 1, iterations: 4, threads: 1, ms: [996, 996], gflops: [158, 180] },
  { size: 'base', batch: 1, iterations: 10, threads: 1, ms: [2264, 2264], gflops: [158, 180] },
  { size: 'base', batch: 8, iterations: 4, threads: 1, ms: [6295, 6295], gflops: [158, 180] },
  { size: 'large', batch: 1, iterations: 4, threads: 1, ms: [2349, 2349], gflops: [158, 180] },
];

/**
 * Checks that the expert row is as fast relative to this machine's peak as it was relative to that one's: milliseconds
 * times GFLOP/s, the operations the machine could have done meanwhile. `{ holds, text }`, or null where nothing is
 * known.
 */
export function expertSpeed(setting, ms, gflops) {
  const reference = known.find(({ ms: _, gflops: __, ...other }) =>
    Object.entries(other).every(([key, value]) => setting[key] === value),
  );
  if (!reference || !gflops) return null;
  const middle = (reference.gflops[0] + reference.gflops[1]) / 2;
  const [least, most] = reference.ms.map((value) => (value * middle) / 1000);
  const here = (ms * gflops) / 1000;
  const holds = here <= most;
  const range = least === most ? most.toFixed(0) : `${least.toFixed(0)} to ${most.toFixed(0)}`;
  return {
    holds,
    here,
    known: [least, most],
    text:
      `onnxruntime-node, expert fp32: ${ms.toFixed(0)} ms × ${gflops.toFixed(0)} GFLOP/s peak = ${here.toFixed(0)} GFLOP, ` +
      `known: ${range}. ${holds ? 'The opponent is as fast as it should be: the run counts' : 'The opponent is SLOWER than it should be: the run does not count'}`,
  };
}
