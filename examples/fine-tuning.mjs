// node examples/fine-tuning.mjs [OUT_DIR]
//
// Fine-tuning in some seconds: the small model of the package was taught to say whether a number is even, and says the same
// when it is asked whether it is odd. It learns the difference from 400 examples, beside 400 of what it knows, so that this is
// not forgotten. Prints how many questions about other numbers are answered right before and after, and writes a model
// directory (OUT_DIR, else a temporary one).
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { embeddedModel, MaskPredict, Trainer } from 'mask-predict';

const out = process.argv[2] ?? join(await mkdtemp(join(tmpdir(), 'fine-tuning-')), 'model');

function example(number, word) {
  const yes = number % 2 === (word === 'odd' ? 1 : 0);
  return { instruction: `Is the number ${number} ${word}? Yes or no?`, output: yes ? 'Yes' : 'No' };
}

const numbers = Array.from({ length: 900 }, (_, i) => (2617 * i + 11) % 10000); // no number twice
const data = numbers
  .slice(0, 400)
  .flatMap((number, i) => [example(number, 'odd'), example(numbers[400 + i], 'even')]);
const percent = (share) => `${(100 * share).toFixed(0)}%`;
const unseen = numbers.slice(850).map((number) => example(number, 'odd'));

const options = { learningRate: 1e-3, dropout: 0, labelSmoothing: 0, seed: 1 };
const trainer = await Trainer.load(embeddedModel, options);
const right = async () => (await trainer.validate(unseen, { answers: 50 })).answers[1].exact;
console.log(`before  ${percent(await right())} right`);
for await (const { step, loss } of trainer.train(data, { steps: 80, rows: 500, warmup: 3 })) {
  if (step % 20 === 0) console.log(`step ${String(step).padStart(3)}  loss ${loss.toFixed(3)}`);
}
console.log(`after   ${percent(await right())} right`);
await trainer.save(out);
await trainer.close();

const model = await MaskPredict.load(out);
for (const instruction of [unseen[0].instruction, 'Is the number 4217 even? Yes or no?']) {
  console.log(`${instruction}  ${(await model.generate(instruction)).text}`);
}
console.log(`saved   ${out}`);
await model.close();
