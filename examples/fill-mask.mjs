// node examples/fill-mask.mjs [MODEL [TEXT...]]
//
// What stands at <mask>, by a stock XLM-R or ModernBERT: a text is read by itself, as these models were trained. MODEL is a
// directory or a name on the hub; without one, FacebookAI/xlm-roberta-base is fetched (1.1 GB, once).
import { MaskPredict } from 'mask-predict';

const [name = 'FacebookAI/xlm-roberta-base', ...given] = process.argv.slice(2);
const model = await MaskPredict.load(name);
const mask = model.tokenizer.maskToken; // <mask>, or [MASK]
const texts =
  given.length > 0
    ? given
    : [
        `Paris is the capital of ${mask}.`,
        `Die Hauptstadt von Italien ist ${mask}.`,
        `Water ${mask} at zero degrees and ${mask} at a hundred.`,
      ];

// For each text, for each of its masks, the best pieces with their log-probabilities.
const filled = await model.fillMask(texts, { count: 3 });
filled.forEach((masks, index) => {
  console.log(texts[index]);
  masks.forEach((candidates, place) => {
    const shown = candidates.map(({ piece, logProb }) => `${piece} ${percent(logProb)}`);
    console.log(`  mask ${place + 1}: ${shown.join(', ')}`);
  });
});
await model.close();

function percent(logProb) {
  return `${(100 * Math.exp(logProb)).toFixed(1)}%`;
}
