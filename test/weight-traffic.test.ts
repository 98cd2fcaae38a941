/**
 * How many bytes of weights one iteration of a whole model reads, beside how many there are: on emulated GPUs (`simt`, in a
 * test build), which count the sectors that are read through the L2 cache with the cache policy of weights. Every matrix is
 * read once for each tile of rows: once where one tile holds all rows, as it does up to 64, and as often as there are tiles
 * where there are more.
 */
import t from 'tap';
import { runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated device';
const [layers, width, inner, vocabulary] = [2, 128, 256, 1024];
const shape = { layers, hidden: width, heads: 2, feedForward: inner, vocabulary, norm: 'pre' };

/** Bytes of weights that each kernel reads while `passes` passes over targets of these lengths are made. */
async function weightsRead(devices: string, precision: string, lengths: number[], passes: number) {
  const { code, stdout, stderr } = await runScript(
    `
    const options = { device: 'simt', precision: '${precision}', seed: 3, threads: 1 };
    const engine = await maskPredict.Engine.random(${JSON.stringify(shape)}, options);
    const [source] = await engine.encode([Int32Array.of(0, 17, 130, 99, 5, 2)]);
    for (let i = 0; i < ${passes}; i++)
      await engine.predict(${JSON.stringify(lengths)}.map((length) => source.target(length)));
    console.log(engine.config.maskTokenId);
    await engine.close();`,
    { MASK_PREDICT_SIMT_DEVICES: devices, MASK_PREDICT_SIMT_REPORT: '1' },
  );
  if (code !== 0) throw new Error(stderr);
  t.equal(Number(stdout), vocabulary - 1, 'all ids are real');
  const lines = [...stderr.matchAll(/^(\w+) +\d+ +\d+ .* (\d+) +\d+ +\d+$/gm)];
  return new Map(lines.map(([, kernel, sectors]) => [kernel!, Number(sectors) * 32] as const));
}

/** Of a layer queries, keys, values, the output and the feed-forward; and the dense layer of the head. */
const dense = layers * (4 * width * width + 2 * width * inner) + width * width;
const words = vocabulary * width;

const [one, four] = [[64], [64, 64, 64, 64]];
for (const [devices, precision, lengths, denseTiles, headTiles] of [
  // Few rows: every weight once.
  ['9.0', 'bf16', [8], 1, 1],
  ['9.0', 'int8', [8], 1, 1],
  ['9.0', 'fp8', [20, 12], 1, 1],
  ['9.0', 'bf16', one, 1, 1],
  ['12.0', 'int8', one, 1, 1],
  // 256 rows on a GPU that their blocks fill: in one tile of bfloat16 where there is room for its sums, of two else. The
  // head has tiles of 128 rows.
  ['9.0:1:1', 'bf16', four, 1, 2],
  ['8.0:1:1', 'bf16', four, 2, 2],
  ['12.0:1:1', 'bf16', four, 2, 2],
  ['9.0:1:1', 'int8', four, 2, 2],
  ['12.0:1:1', 'fp8', four, 2, 2],
  // On a large GPU this model's dense layers do not fill it but in tiles of 64 rows; the head's ranges do.
  ['9.0', 'bf16', four, 4, 2],
] as const) {
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  t.test(`${rows} rows, ${precision} on ${devices}`, { skip }, async (t) => {
    const bytes = precision === 'bf16' ? 2 : 1;
    const before = await weightsRead(devices, precision, [...lengths], 1);
    const after = await weightsRead(devices, precision, [...lengths], 2);
    const read = new Map(
      [...after].map(([kernel, count]) => [kernel, count - (before.get(kernel) ?? 0)]),
    );
    t.same(
      Object.fromEntries([...read].filter(([, count]) => count > 0)),
      {
        linear_tensor: denseTiles * dense * bytes,
        lm_head_tensor_cores: headTiles * words * bytes,
      },
      `times the weights: ${denseTiles} and ${headTiles}`,
    );
  });
}
