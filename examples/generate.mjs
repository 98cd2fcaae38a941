// node examples/generate.mjs [MODEL_DIR [INSTRUCTION...]]
//
// Instructions in, answers out: several in one call, then what else `generate` can be asked for, then a choice between
// given answers. Without arguments the small model of the package answers; it knows numbers alone.
import { MaskPredict } from 'mask-predict';

const [directory, ...given] = process.argv.slice(2);
const instructions =
  given.length > 0
    ? given
    : [
        'Write the number 4217 in German words.',
        'Write this French number in digits: dix-neuf',
        'Translate the following text from Spanish to English: veintiuno',
        'Is the number 4217 even? Yes or no?',
      ];

const model = await MaskPredict.load(directory);

for (const [index, answer] of (await model.generate(instructions)).entries()) {
  const { text, score, length, iterations } = answer;
  const probability = `${(100 * Math.exp(score)).toFixed(1)}% a token`;
  console.log(
    `${instructions[index]}\n  ${text}   (${length} tokens, ${iterations} passes, ${probability})`,
  );
}

// Four passes instead of ten, five lengths tried side by side over one encoded source; drawn tokens, the same for a seed.
const careful = await model.generate(instructions[0], { iterations: 4, length: { candidates: 5 } });
console.log(
  `\nfive lengths  ${careful.text}, of ${careful.candidates.map(({ length }) => length).join(', ')} tokens`,
);
const drawn = await model.generate(instructions[0], { sampling: { seed: 7 } });
console.log(`drawn         ${drawn.text}`);

if (directory === undefined) {
  const { label, logProbs } = await model.choose(instructions[3], ['Yes', 'No']);
  const [yes, no] = logProbs.map((logProb) => Math.exp(logProb).toFixed(3));
  console.log(`chosen        ${label}   (Yes ${yes}, No ${no})`);
}
await model.close();
