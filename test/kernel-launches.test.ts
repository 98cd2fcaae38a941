/**
 * How many kernels a layer launches on a GPU, counted on the emulated one (`simt`, in a test build): queries, keys and
 * values in one, attention, its output and the norm, and the feed-forward with its norm. Where the inner dimension of a
 * small matrix is summed in slices, one more adds up those of queries, keys and values, and one those of the
 * feed-forward's first product; the norms add up the others. Float32, for verification, makes queries by themselves.
 */
import t from 'tap';
import { runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated device';

/** Launches of every kernel while `layers` layers encode a text. */
async function launches(precision: string, width: number, layers: number) {
  const shape = {
    layers,
    ...{ hidden: width, heads: width / 64, feedForward: width, vocabulary: 200, norm: 'pre' },
  };
  const script = `
    const options = { device: 'simt', precision: '${precision}', seed: 3 };
    const engine = await maskPredict.Engine.random(${JSON.stringify(shape)}, options);
    await engine.encode([Int32Array.of(0, 17, 130, 99, 5, 2)]);
    await engine.close();`;
  const { code, stderr } = await runScript(script, { MASK_PREDICT_SIMT_REPORT: '1' });
  if (code !== 0) throw new Error(stderr);
  return new Map([...stderr.matchAll(/^(\w+) +(\d+) +\d+ /gm)].map((m) => [m[1], Number(m[2])]));
}

const product = { linear_tensor: 4, mixed_attention: 1, linear_norm: 2 };
for (const [precision, width, expected] of [
  ['bf16', 64, product],
  ['int8', 64, product],
  ['bf16', 256, { ...product, linear_reduce: 2 }],
  ['fp32', 64, { linear_float: 5, mixed_attention_float32: 1, linear_norm: 2 }],
] as const) {
  t.test(`${precision}, width ${width}`, { skip }, async (t) => {
    const few = await launches(precision, width, 2);
    const more = await launches(precision, width, 3);
    const ofLayer = [...more].map(([kernel, count]) => [kernel, count - (few.get(kernel) ?? 0)]);
    t.strictSame(Object.fromEntries(ofLayer.filter(([, count]) => count !== 0)), expected);
  });
}
