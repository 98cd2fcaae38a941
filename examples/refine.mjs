// node examples/refine.mjs [MODEL_DIR [INSTRUCTION]]
//
// One answer, pass by pass. All tokens are written at once; then the least certain ones, here ‹in brackets›, are masked and
// predicted again, fewer in each pass. The best tokens first, then drawn ones (sampling), with which more changes. Without
// arguments the small model of the package answers; it knows numbers alone.
import { MaskPredict } from 'mask-predict';

const [directory, given] = process.argv.slice(2);
const instruction = given ?? 'Write the number 5692 in French words.';

const model = await MaskPredict.load(directory);
console.log(instruction);
for (const options of [{ iterations: 4 }, { iterations: 6, sampling: { seed: 1 } }]) {
  console.log(options.sampling ? '\ndrawn' : '\nthe best');
  for await (const { iteration, text, tokens } of model.refine(instruction, options)) {
    const least = Math.min(...tokens.map(({ score }) => Math.exp(score)));
    const pieces = tokens.map(({ piece, masked }) => (masked ? `‹${piece}›` : piece)).join(' ');
    console.log(
      `pass ${iteration}  ${(100 * least).toFixed(0).padStart(3)}%  ${pieces}  =  ${text}`,
    );
  }
}
await model.close();
