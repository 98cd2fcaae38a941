// Every program reads the same sequences, with one mask each where masks are filled.
import { sourceIds } from '../../workload.mjs';
import { int64 } from '../refinement.mjs';

export const best = 5;

/** The ids that textsOf needs, by the names they have in config.json. */
export const specialIdsOf = ({ bos_token_id, eos_token_id, mask_token_id }) => ({
  begin: bos_token_id,
  end: eos_token_id,
  mask: mask_token_id,
});

/**
 * `batch` sequences of `length` ids from `begin` to `end`; for `fill` the middle one is `mask`. The others are ordinary
 * ids: XLM-R's lie between `end` and `mask`, ModernBERT's below all three.
 */
export function textsOf({ task, batch, length }, { begin, end, mask }) {
  const texts = sourceIds(batch, length, begin > 0 ? begin : mask);
  for (const ids of texts) {
    ids[0] = begin;
    ids[length - 1] = end;
    if (task === 'fill') ids[length >> 1] = mask;
  }
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
