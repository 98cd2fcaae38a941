// npm run bench -- operations [--threads 2] [--rounds 50] [--rows 96] [--precision fp32|bf16|int8]
//
// The operations beside the dense product (`bench -- linear`), one by one at the shapes of XLM-R base: attention of targets
// over their source, the head with its argmax, LayerNorm, the end of a block, embeddings and re-masking. Prints the
// median and quartiles and the floor: operations over the arithmetic peak or bytes that must be read and written over the
// read bandwidth, whichever takes longer. What is small enough for a cache, as all but the head's weights is, is read
// faster than that. A call from JavaScript, with its arrays, is in the time: that of `remask` is little else.
import { parseArgs } from 'node:util';
import {
  embed,
  layerNorm,
  linearNorm,
  lmHeadArgmax,
  mixedAttention,
  packWeight,
  remask,
} from '../dist/token/operations.js';
import { describeMachine, peakOf, spread } from './machine.mjs';
import { table, withQuartiles } from './table.mjs';

const { values: options } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '50' },
    rows: { type: 'string', default: '96' },
    precision: { type: 'string', default: 'fp32' },
  },
});
const [threads, rounds, rows] = ['threads', 'rounds', 'rows'].map((name) => Number(options[name]));
const { precision } = options;
const { text, limit } = describeMachine(threads);
console.log(
  `${text}\noperations, ${precision} weights, ${threads} threads, median of ${rounds} calls\n`,
);

const [width, heads, vocabulary, maskTokenId] = [768, 12, 250002, 250001];
const bytesOf = { fp32: 4, bf16: 2, int8: 1 }[precision];
const running = {
  device: 'cpu',
  threads,
  ...(precision === 'bf16' && limit?.bf16 !== undefined && { precision }),
};
const floats = (count) => new Float32Array(count).map((_, i) => ((i * 40503) % 255) / 255 - 0.5);
const weight = (outputs, inputs) => {
  const values = floats(outputs * inputs);
  if (precision !== 'bf16')
    return packWeight(values, 'fp32', outputs, inputs, { device: 'cpu', precision });
  const halves = Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
  return packWeight(halves, 'bf16', outputs, inputs, { device: 'cpu' });
};

/** Milliseconds for multiply-adds at the peak of `kept` numbers, or for bytes, whichever are more. */
const floorOf = (multiplyAdds, bytes, kept = 'fp32') =>
  limit ? Math.max((2 * multiplyAdds) / peakOf(limit, kept), bytes / limit.gbs) / 1e6 : NaN;

const states = floats(rows * width);
const [gain, shift] = [floats(width), floats(width)];
const words = weight(vocabulary, width);
const headBias = floats(vocabulary);
const square = weight(width, width);
const output = new Float32Array(rows * width);
const cells = [];
const cell = (name, floor, call) => {
  for (let i = 0; i < 3; i++) call();
  const times = Array.from({ length: rounds }, () => {
    const begun = performance.now();
    call();
    return performance.now() - begun;
  });
  const time = spread(times);
  const known = floor >= 0.001; // below it a call costs more than its work
  cells.push([
    name,
    withQuartiles(time, 3),
    known ? floor.toFixed(3) : '',
    known ? (time.median / floor).toFixed(1) : '',
  ]);
};

for (const [target, source] of [
  [32, 64],
  [32, 510],
  [128, 384],
]) {
  const count = Math.max(1, Math.round(rows / target));
  const own = count * target;
  const offsets = (each) => Int32Array.from({ length: count + 1 }, (_, i) => i * each);
  const args = {
    heads,
    query: floats(own * width),
    key: floats(own * width),
    value: floats(own * width),
    sourceKey: floats(count * source * width),
    sourceValue: floats(count * source * width),
    queryOffsets: offsets(target),
    ownOffsets: offsets(target),
    sourceOffsets: offsets(source),
    sourceIndex: Int32Array.from({ length: count }, (_, i) => i),
  };
  const pairs = own * (target + source);
  const bytes = 4 * width * (2 * own + 2 * (own + count * source));
  cell(
    `attention, ${count} targets of ${target} over ${source}`,
    floorOf(2 * pairs * width, bytes),
    () => mixedAttention(args, running),
  );
}
cell(
  `head, ${rows} rows`,
  floorOf(rows * width * vocabulary, vocabulary * width * bytesOf, precision),
  () => lmHeadArgmax({ states, weight: words, bias: headBias, maskTokenId }, running),
);
cell(`LayerNorm, ${rows} rows`, floorOf(0, 8 * rows * width), () =>
  layerNorm({ input: states, gain, shift, epsilon: 1e-5 }, { device: 'cpu', threads }),
);
cell(
  `end of a block, ${rows} rows, ${width} inputs`,
  floorOf(rows * width * width, width * width * bytesOf + 12 * rows * width, precision),
  () =>
    linearNorm(
      {
        input: states,
        weight: square,
        bias: shift,
        states: output,
        placement: 'post',
        gain,
        shift,
        epsilon: 1e-5,
      },
      running,
    ),
);
const ids = Int32Array.from({ length: rows }, (_, i) => 4 + ((i * 7919) % (maskTokenId - 4)));
const positionTable = floats(514 * width);
const positions = Int32Array.from({ length: rows }, (_, i) => 2 + (i % 512));
cell(`embeddings, ${rows} rows`, floorOf(0, rows * width * (bytesOf + 8)), () =>
  embed({ ids, positions, words, positionTable }, { device: 'cpu', threads }),
);
const length = Math.min(rows, 32);
const sequences = Math.round(rows / length);
cell(`re-masking, ${sequences} targets of ${length}`, floorOf(0, 9 * sequences * length), () =>
  remask(
    {
      tokens: ids.slice(0, sequences * length),
      scores: floats(sequences * length),
      maskable: new Uint8Array(sequences * length).fill(1),
      offsets: Int32Array.from({ length: sequences + 1 }, (_, i) => length * i),
      counts: new Int32Array(sequences).fill(length >> 1),
      maskTokenId,
    },
    { device: 'cpu', threads },
  ),
);
console.log(table(['operation', 'ms (quartiles)', 'floor, ms', 'times the floor'], cells));
