// npm run bench -- linear [--threads 2] [--rounds 5] [--precision fp32] [--outer 250002]
//
// The dense product at the shapes of XLM-R base, weights cold (200 MB of matrices in turn), beside the bare packed
// kernel of bench/native/roof.c (for int8 its VNNI one): both in turn, `rounds` times. Prints for each shape the median
// and quartiles over all calls, the fraction of the machine's arithmetic peak (int8: of dot products of bytes) and of
// its bandwidth, and the ratio to the bare kernel (above 1: ours is faster). One JSON line per shape with --json.
import { parseArgs } from 'node:util';
import { linear, packWeight } from '../dist/token/operations.js';
import { compiled, describeMachine, measured, peakOf, spread } from './machine.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    precision: { type: 'string', default: 'fp32' },
    outer: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const { precision } = options;
const bytesPer = { fp32: 4, int8: 1 }[precision] ?? 2;
// The type of the values before they are packed; bytes are made from float32.
const type = precision === 'int8' ? 'fp32' : precision;

const layers = [
  [768, 768],
  [768, 3072],
  [3072, 768],
  [768, 250002],
];
const shapes = layers
  .filter(([, outer]) => !options.outer || outer === Number(options.outer))
  .flatMap(([inner, outer]) => [32, 96, 256].map((rows) => ({ rows, inner, outer })));

const { text, limit } = describeMachine(threads);
const peak = limit && peakOf(limit, precision);
const roof = compiled('roof');
// Products of bfloat16 where the processor has them.
const rounds16 = precision === 'bf16' && limit?.bf16 !== undefined;
const running = { device: 'cpu', threads, ...(rounds16 && { precision }) };
if (!options.json) {
  console.log(text);
  console.log(`linear, ${precision} weights, ${threads} threads, ${rounds} interleaved rounds\n`);
  console.log(
    'rows  inner   outer       ms (quartiles)        GOP/s  of peak     GB/s   of bw  bare kernel ms   ratio',
  );
}

/** Random values are cheap to make and no product of them is special. */
function values(count) {
  const array = type === 'fp32' ? new Float32Array(count) : new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const value = ((i * 2654435761) % 1024) / 1024 - 0.5;
    array[i] = type === 'fp32' ? value : 0x3c00 + (i % 512);
  }
  return array;
}

let weights = { key: '', list: [] };
function weightsOf({ inner, outer }) {
  const key = `${inner}x${outer}`;
  if (weights.key !== key) {
    const copies = 1 + Math.floor(200e6 / (inner * outer * bytesPer));
    const plain = values(inner * outer);
    weights = {
      key,
      list: Array.from({ length: copies }, () =>
        packWeight(plain, type, outer, inner, {
          device: 'cpu',
          precision: precision === 'int8' ? 'int8' : 'fp32',
        }),
      ),
    };
  }
  return weights.list;
}

for (const shape of shapes) {
  const { rows, inner, outer } = shape;
  const list = weightsOf(shape);
  const input = new Float32Array(rows * inner).map((_, i) => ((i * 40503) % 255) / 255 - 0.5);
  const bias = new Float32Array(outer);
  const output = new Float32Array(rows * outer);
  const calls = Math.max(list.length, outer > 100000 ? 4 : 40);
  const ours = [];
  const bare = [];
  for (let round = 0; round < rounds; round++) {
    for (let call = 0; call < calls; call++) {
      const begun = performance.now();
      linear({ input, weight: list[call % list.length], bias, output }, running);
      ours.push(performance.now() - begun);
    }
    const other = measured(roof, [
      precision === 'int8' ? 'u8s8' : 'fp32', // it has none of bfloat16
      threads,
      rows,
      inner,
      outer,
      calls,
    ]);
    if (other) bare.push(other.ms);
  }
  const time = spread(ours);
  const other = bare.length > 0 ? spread(bare).median : NaN;
  const gops = (2 * rows * inner * outer) / time.median / 1e6;
  const gbs = (inner * outer * bytesPer) / time.median / 1e6;
  if (options.json) {
    console.log(
      JSON.stringify({ ...shape, precision, threads, ms: time, gops, gbs, limit, bareMs: other }),
    );
    continue;
  }
  const part = (value, whole) => (whole ? `${((100 * value) / whole).toFixed(0)} %` : '–');
  console.log(
    [
      String(rows).padStart(4),
      String(inner).padStart(6),
      String(outer).padStart(7),
      `${time.median.toFixed(3)} (${time.low.toFixed(3)}–${time.high.toFixed(3)})`.padStart(25),
      gops.toFixed(1).padStart(9),
      part(gops, peak).padStart(8),
      gbs.toFixed(1).padStart(8),
      part(gbs, limit?.gbs).padStart(7),
      other.toFixed(3).padStart(15),
      (other / time.median).toFixed(2).padStart(7),
    ].join(' '),
  );
}
