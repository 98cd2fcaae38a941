// node examples/cloze.mjs [MODEL [LABEL LABEL... -- TEXT...]]
//
// Classification without training, by cloze: a sentence with a <mask> is put behind each text, and the labels are words
// that could stand there. MODEL is any XLM-R or ModernBERT with a masked-LM head, a directory or a name on the hub;
// without one, FacebookAI/xlm-roberta-base is fetched (1.1 GB, once). All labels must have the same number of tokens.
import { MaskPredict } from 'mask-predict';

const [name = 'FacebookAI/xlm-roberta-base', ...rest] = process.argv.slice(2);
const end = rest.indexOf('--');
const [labels, texts] =
  end > 0
    ? [rest.slice(0, end), rest.slice(end + 1)]
    : [
        ['good', 'bad'],
        ['The food was cold and nobody came.', 'We laughed all evening and want to go again.'],
      ];

const model = await MaskPredict.load(name);
const cloze = (text) => `${text} It was ${model.tokenizer.maskToken}.`;
const answers = await model.fillMask(texts.map(cloze), { labels });
answers.forEach((ranked, index) => {
  const shown = ranked.map(
    ({ label, probability }) => `${label} ${(100 * probability).toFixed(1)}%`,
  );
  console.log(`${shown.join(', ')}   ${texts[index]}`);
});
await model.close();
