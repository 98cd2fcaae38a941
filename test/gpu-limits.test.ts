/**
 * What every kernel takes of a GPU, and what each compute capability has (native/simt/limits.h): whole jobs of the fixtures'
 * models, and operations of the sizes that choose the largest tiles of base and XL models, run on emulated GPUs of 8.0,
 * 9.0, 10.0 and 12.0 (`simt`, in a test build), where a launch beyond a limit is an error. They were all launched, and
 * where there is room the largest tiles were, so that the smaller ones elsewhere are the engine's choice.
 * test/simt/emulator_test.cu launches beyond the limits.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { built, runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated device';
const folderOf = (url: string) => fileURLToPath(new URL(url, import.meta.url));

/** KiB of shared memory for a block, of NVIDIA's table. */
const gpus: [capability: string, kibibytes: number][] = [
  ['8.0', 163],
  ['9.0', 227],
  ['10.0', 227],
  ['12.0', 99],
];

/** The kernels of native/ops, by the names they are launched with, one word each. `row_major` is only for cuBLASLt. */
const kernels = readdirSync(folderOf('../native/ops'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('_cuda.cu'))
  .map((file) => readFileSync(folderOf(`../native/ops/${file}`), 'utf8'))
  .flatMap((text) => [...text.matchAll(/"([a-z0-9_]+)"(?:,\s*true)?\s*\}/g)])
  .map(([, name]) => name!)
  .filter((name) => name !== 'row_major');

/** Heads of 64, 80 and 128, and every precision. */
const jobs = (
  [
    ['tiny-base', 'bf16'],
    ['tiny-xl', 'int8'],
    ['tiny-xxl', 'fp8'],
    ['tiny-odd', 'fp32'],
  ] as const
).map(([model, precision]) => [folderOf(`fixtures/${model}`), precision]);

/** The third decode launches the graphs that the second captures. A part of the vocabulary is selected. */
const runJobs = `
  const vocabulary = { allowedIds: [5, 17, 99] };
  for (const [directory, precision] of ${JSON.stringify(jobs)}) {
    const options = { device: 'simt', precision, threads: 1, vocabulary };
    const engine = await maskPredict.Engine.load(directory, options);
    const [source] = await engine.encode([Int32Array.of(0, 17, 30, 29, 5, 2)]);
    for (let i = 0; i < 3; i++) await engine.decode([source.target(6)], 2);
    await engine.close();
  }`;

/**
 * Few inputs, since they do not change what a block takes. With these outputs there are blocks enough for tiles of 128 and,
 * for bfloat16 where there is room, of 256 rows; other numbers of rows have tiles of their own.
 */
const runOperations = `
  const operations = await import(new URL('token/operations.js', ${JSON.stringify(built)}).href);
  const values = (count) => Float32Array.from({ length: count }, (_, i) => (i % 7) - 3);
  const ids = (count, id) => new Int32Array(count).fill(id);
  for (const precision of ['bf16', 'int8', 'fp8', 'fp32']) {
    const options = { device: 'simt', precision };
    const stored = precision === 'fp32' ? values
      : (count) => Uint16Array.from(new Uint32Array(values(count).buffer), (bits) => bits >>> 16);
    const type = precision === 'fp32' ? 'fp32' : 'bf16';
    const pack = (rows, columns) => operations.packWeight(stored(rows * columns), type, rows, columns, options);
    const wide = pack(6400, 32), narrow = pack(160, 32), row = values(32);
    const most = precision === 'bf16' ? 512 : 256;
    for (const rows of [8, 16, 32, 64]) operations.linear({ input: values(rows * 32), weight: narrow }, options);
    if (precision !== 'fp32') operations.linear({ input: values(most * 32), weight: wide }, options);
    operations.linearNorm({
      input: row, weight: pack(4096, 32), bias: values(4096), states: values(4096), placement: 'pre',
      gain: values(4096), shift: values(4096), epsilon: 1e-5,
    }, options);
    for (const rows of [16, 32, 64, 128, 256])
      operations.lmHeadArgmax({ states: values(rows * 32), weight: narrow, bias: values(160), maskTokenId: 150 }, options);
    operations.logitsAt(
      { states: row, weight: narrow, bias: values(160), rows: ids(1, 0), ids: ids(1, 5) }, options);
    if (precision === 'int8' || precision === 'fp8') continue; // the rest has no weights of bytes
    for (const size of [64, 80, 128]) {
      const states = values(70 * size), offsets = Int32Array.of(0, 70);
      operations.mixedAttention(
        { heads: 1, query: states, key: states, value: states, queryOffsets: offsets, ownOffsets: offsets }, options);
    }
    operations.layerNorm({ input: values(4096), gain: values(4096), shift: values(4096), epsilon: 1e-5 }, options);
    operations.meanRows({ input: row, offsets: Int32Array.of(0, 1), width: 32 }, options);
    operations.gatherRows({ input: row, index: ids(1, 0), width: 32 }, options);
    operations.remask({
      tokens: ids(514, 9), scores: values(514), maskable: new Uint8Array(514).fill(1), offsets: Int32Array.of(0, 514),
      counts: Int32Array.of(99), maskTokenId: 150,
    }, options);
    operations.sample({
      logits: values(160), vocabulary: 160, maskTokenId: 150, temperature: 1, nucleus: 0.9, seed: 1n,
      sequences: ids(1, 0), positions: ids(1, 0), iteration: 1,
    }, options);
  }`;

/** Threads and bytes of shared memory of each kernel's largest block. */
async function largestBlocks(capability: string, script: string) {
  const { code, stderr } = await runScript(script, {
    MASK_PREDICT_SIMT_DEVICES: capability,
    MASK_PREDICT_SIMT_REPORT: '1',
  });
  if (code !== 0) throw new Error(stderr);
  const lines = [...stderr.matchAll(/^(\w+) +\d+ +\d+ .* (\d+) +(\d+)$/gm)];
  return new Map(lines.map(([, kernel, ...sizes]) => [kernel!, sizes.map(Number)] as const));
}

t.ok(kernels.length > 15, `kernels: ${kernels.join(', ')}`);
for (const [capability, kibibytes] of gpus) {
  t.test(`compute capability ${capability}`, { skip }, async (t) => {
    const ofJobs = await largestBlocks(capability, runJobs);
    const ofOperations = await largestBlocks(capability, runOperations);
    const launched = new Set([...ofJobs.keys(), ...ofOperations.keys()]);
    t.same([...launched].sort(), [...new Set(kernels)].sort(), 'every kernel is launched');
    for (const blocks of [ofJobs, ofOperations])
      for (const [kernel, [threads, bytes]] of blocks) {
        t.ok(bytes! <= kibibytes * 1024, `${kernel}: ${bytes} bytes of shared memory`);
        t.ok(threads! <= 1024, `${kernel}: ${threads} threads`);
      }
    // A ring of three stages and the sums of 256 rows take 200 KiB: only 9.0 and 10.0 have room for them.
    const [threads, bytes] = ofOperations.get('linear_tensor')!;
    t.equal(threads, 256, 'tiles of 128 rows and more');
    t.equal(bytes! > 200 * 1024, kibibytes === 227, `the largest tile: ${bytes} bytes`);
    t.ok(bytes! > (kibibytes * 1024) / 2, 'more than half of what there is');
  });
}
