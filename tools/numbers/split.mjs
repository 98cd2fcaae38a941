/** The held-out instructions by which a model is judged, and those by which one is chosen; none is in both. */
import { heldOutInstructions } from '../../bench/held-out.mjs';

const heldOut = heldOutInstructions();
const tested = new Set(spread(2000, 0));

/** 2 000, evenly spread: those of `npm run bench -- precision`. */
export function testedInstructions() {
  return [...tested].map((index) => heldOut[index]);
}

/** 1 000 others. */
export function validationInstructions() {
  return spread(1000, 0.25)
    .filter((index) => !tested.has(index))
    .map((index) => heldOut[index]);
}

/** `count` places in the list, evenly spread; `shift` is a share of the distance between two. */
function spread(count, shift) {
  return Array.from({ length: count }, (_, i) =>
    Math.floor(((i + shift) * heldOut.length) / count),
  );
}
