// node examples/infilling.mjs [MODEL_DIR INSTRUCTION ANSWER_WITH_MASKS]
//
// Infilling: an answer that is partly given. Tokens that are written stay, each <mask> becomes one token, and every token
// sees the whole instruction and the whole answer, to its left and to its right. This is the token level: ids in, ids out.
import { MaskPredict } from 'mask-predict';

const [directory, instruction, draft] =
  process.argv.length > 2
    ? process.argv.slice(2)
    : [
        undefined,
        'Write the number 4217 in English words.',
        'four thousand<mask><mask> and seventeen',
      ];

const model = await MaskPredict.load(directory);
const { engine, tokenizer } = model;
// `parseSpecial` reads <mask> in a text as the mask. Without it, it is text like any other.
const { ids } = tokenizer.encode(draft, { parseSpecial: true });

const [source] = await engine.encode([tokenizer.encode(instruction).ids]);
const target = source.target(ids);
const [passes] = await engine.decode([target], 4);

console.log(`instruction  ${instruction}`);
console.log(`given        ${draft}`);
console.log(
  `filled       ${tokenizer.decode(target.tokens)}   (${target.maskable} tokens in ${passes} passes)`,
);
target.tokens.forEach((id, position) => {
  if (ids[position] !== engine.maskTokenId) return;
  const probability = (100 * Math.exp(target.scores[position])).toFixed(1);
  console.log(`  position ${position}: ${tokenizer.piece(id)} ${probability}%`);
});
await model.close();
