// The models of jobs.mjs, bits.mjs and thresholds.mjs, their inputs, and their lines in $RESULTS.
import { appendFileSync } from 'node:fs';

// A rehearsal's, one for each placement of LayerNorm; peers/weights.py has the same.
const tinyShape = { layers: 2, heads: 2, vocabulary: 1000 };
const tinyPost = { ...tinyShape, hidden: 128, feedForward: 256, norm: 'post' };
const tinyPre = { ...tinyShape, hidden: 160, feedForward: 320, norm: 'pre' };

/** `base`, `large`, `xl` as { model, shape }: the name in reports, and what Engine.random takes. */
export function modelsOf(names, tiny) {
  return names.map((name) => {
    if (!['base', 'large', 'xl'].includes(name)) throw new Error(`there is no model '${name}'`);
    if (!tiny) return { model: `xlm-r-${name}`, shape: `xlm-r-${name}` };
    return name === 'xl'
      ? { model: 'tiny-pre', shape: tinyPre }
      : { model: 'tiny-post', shape: tinyPost };
  });
}

/** Source b of a batch; peers/huggingface.py has the same. */
export function sourceIds(b, length, maskTokenId) {
  return Int32Array.from({ length }, (_, i) =>
    i === 0 ? 0 : i === length - 1 ? 2 : 4 + ((i * 7919 + b * 104729) % (maskTokenId - 4)),
  );
}

/** Prints lines and appends them to $RESULTS; `who()` is the contestant. */
export const reporter = (who) => (line) => {
  const text = JSON.stringify({ who: who(), ...line });
  console.log(text.length > 400 ? `${text.slice(0, 400)} ...` : text);
  if (process.env.RESULTS) appendFileSync(process.env.RESULTS, `${text}\n`);
};
