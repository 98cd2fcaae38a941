/**
 * Writes what the embedded model is made from: `node tools/numbers/data.mjs DIRECTORY`.
 *
 * - `train.jsonl`, `small.jsonl`: every instruction about every number from 0 to 9 999 that is not held out, shuffled;
 *   those about numbers below 100 are in `small.jsonl`, so that they may weigh more: their words are all different.
 * - `valid.jsonl`: 1 000 held-out instructions, none of which is in the test.
 * - `test.jsonl`: the 2 000 held-out instructions by which the model is judged (every fifth, as in
 *   `npm run bench -- precision`).
 * - `corpus.txt`: the texts that the SentencePiece model is made from.
 *
 * Spelling, prompts and the rule of what is held out are those of the benchmarks. The order is the same every time.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { instructionsAbout, isHeldOut } from '../../bench/held-out.mjs';
import { testedInstructions, validationInstructions } from './split.mjs';

const [directory] = process.argv.slice(2);
if (directory === undefined) {
  console.error('usage: node tools/numbers/data.mjs DIRECTORY');
  process.exit(2);
}
mkdirSync(directory, { recursive: true });

const numbers = Array.from({ length: 10_000 }, (_, number) => number);
const learned = numbers.filter((number) => !isHeldOut(number));

write(
  'train.jsonl',
  shuffled(learned.filter((number) => number >= 100).flatMap(instructionsAbout)),
);
write('small.jsonl', shuffled(learned.filter((number) => number < 100).flatMap(instructionsAbout)));

write('valid.jsonl', shuffled(validationInstructions()));
write('test.jsonl', testedInstructions());

const texts = learned
  .flatMap(instructionsAbout)
  .flatMap(({ prompt, answer }) => [prompt, answer])
  .join('\n');
writeFileSync(join(directory, 'corpus.txt'), `${texts}\n`);

function write(name, instructions) {
  const lines = instructions.map(({ prompt, answer }) =>
    JSON.stringify({ instruction: prompt, output: answer }),
  );
  writeFileSync(join(directory, name), `${lines.join('\n')}\n`);
  console.log(`${name}: ${lines.length} instructions`);
}

/** The same order every time: a linear congruential generator drives Fisher and Yates' shuffle. */
function shuffled(list) {
  let state = 1;
  for (let i = list.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}
