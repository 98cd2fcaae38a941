// The contestants: this package's engine and its peers, each in the precisions it offers.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { targetLength } from '../workload.mjs';
import { make, modelFolder, quantize } from './models.mjs';
import { install } from './packages.mjs';

const program = (name) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Rows `{ name, precision, stored, peer, program, args, settings, prepare }` of a model size. `precision` (fp32, bf16,
 * int8) says which of our rows one is compared with, `stored` how its own weights are kept, and `peer` is null for ours.
 * `settings`, `{ name, args }`, are those of which a peer gets the one it is fastest with. `prepare` installs and makes
 * what the row needs, and throws with the reason why it cannot be measured.
 */
export function rowsOf(size, threads) {
  const model = modelFolder(size);
  const sameThreads = [{ name: `${threads} threads`, args: ['--threads', threads] }];
  // threads that wait for each other by turning on the spot are no help where there is no processor for each
  const fewerThreads = threads > 1 ? [{ name: '1 thread', args: ['--threads', 1] }] : [];
  const spinning = ['on', 'off'].map((state) => ({
    name: `spinning ${state}`,
    args: ['--threads', threads, '--spinning', state],
  }));
  const ours = (precision, directory, prepareFiles) => ({
    name: 'mask-predict',
    precision,
    stored: precision,
    peer: null,
    program: program('../engine.mjs'),
    args: ['--model', directory, '--precision', precision],
    settings: sameThreads,
    prepare() {
      make(size, 'graphs');
      prepareFiles();
    },
  });
  const theirs = (peer, name, step, row) => ({
    name,
    peer,
    program: program(`${peer}.mjs`),
    prepare() {
      install(peer);
      make(size, step);
    },
    ...row,
  });
  const onnxruntime = (graph, precision) =>
    theirs(
      'onnxruntime',
      `onnxruntime-node, ${graph}`,
      precision === 'int8' ? 'int8 graphs' : 'graphs',
      {
        precision,
        stored: precision,
        args: ['--model', model, '--graph', graph, '--precision', precision],
        settings: spinning,
      },
    );
  const transformers = (precision) =>
    theirs(
      'transformers',
      'transformers.js, forward passes only',
      precision === 'int8' ? 'int8 stock' : 'stock',
      {
        precision,
        stored: precision,
        args: ['--model', join(model, 'transformers'), '--precision', precision],
        settings: spinning,
      },
    );
  const llama = (precision, stored) =>
    theirs('llama', `node-llama-cpp, ${targetLength} tokens in turn`, stored, {
      precision,
      stored: stored.toUpperCase(),
      args: ['--model', join(model, `${stored}.gguf`)],
      settings: [...sameThreads, ...fewerThreads],
    });
  const nothing = () => {};
  return [
    ours('fp32', model, nothing),
    onnxruntime('plain', 'fp32'),
    onnxruntime('expert', 'fp32'),
    transformers('fp32'),
    llama('fp32', 'f32'),
    ours('bf16', join(model, 'bf16'), nothing),
    llama('bf16', 'f16'),
    ours('int8', join(model, 'mask-predict-int8'), () => quantize(size)),
    onnxruntime('plain', 'int8'),
    onnxruntime('expert', 'int8'),
    transformers('int8'),
    llama('int8', 'q8_0'),
  ];
}

export const titleOf = ({ name, stored }) => `${name} ${stored}`;

const parameters = { base: 278e6, large: 560e6, tiny: 170e3 };
const vocabulary = 250002;
const bytesOf = { fp32: 4, bf16: 2, int8: 1 };

/**
 * Roughly the bytes a row's process will take: packed weights beside those that are read, twice for a runtime that
 * shares none between two graphs; and logits of a batch as a runtime passes them on, three times.
 */
function memoryOf({ name, peer, precision }, size, batch) {
  const rows = { onnxruntime: targetLength, transformers: 3 * targetLength }[peer] ?? 0;
  const weights = parameters[size] * bytesOf[precision] * (name.endsWith('expert') ? 3 : 2);
  return weights + 3 * 4 * batch * rows * vocabulary;
}

/**
 * Rows that are measured together: all of them where they fit into the memory, else as many of one precision as do,
 * ours in every set.
 */
export function setsOf(rows, size, batch, available) {
  const need = (list) => list.reduce((sum, row) => sum + memoryOf(row, size, batch), 0);
  if (need(rows) <= available) return [rows];
  return Object.keys(bytesOf).flatMap((precision) => {
    const same = rows.filter((row) => row.precision === precision);
    const ours = same.filter((row) => !row.peer);
    const sets = [[...ours]];
    for (const row of same.filter(({ peer }) => peer)) {
      const last = sets.at(-1);
      if (last.length > ours.length && need([...last, row]) > available) sets.push([...ours, row]);
      else last.push(row);
    }
    return sets.filter((set) => set.length > 0);
  });
}
