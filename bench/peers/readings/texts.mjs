// Every program reads the same sequences, with one <mask> each where masks are filled.
import { sourceIds } from '../../workload.mjs';
import { int64 } from '../refinement.mjs';

export const best = 5;

/** `batch` sequences of `length` ids; for `fill` the middle one is <mask>. */
export function textsOf({ task, batch, length }, maskTokenId) {
  const texts = sourceIds(batch, length, maskTokenId);
  if (task === 'fill') for (const ids of texts) ids[length >> 1] = maskTokenId;
  return texts;
}

/** The rows of `[batch * length]` that are masks. */
export function maskedRows({ batch, length }) {
  return Array.from({ length: batch }, (_, i) => i * length + (length >> 1));
}

/** The two inputs of a graph, made by `Tensor`. */
export function inputsOf(Tensor, texts) {
  const shape = [texts.length, texts[0].length];
  const ids = texts.flatMap((row) => [...row]);
  return {
    input_ids: new Tensor('int64', int64(ids), shape),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), shape),
  };
}

/** A list of values as rows. */
export function rowsOf(values, width) {
  return Array.from({ length: values.length / width }, (_, row) =>
    Array.from(values.subarray(row * width, (row + 1) * width), Number),
  );
}
