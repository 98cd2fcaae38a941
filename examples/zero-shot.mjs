// node examples/zero-shot.mjs MODEL_DIR TEXT LABEL LABEL...
//
// Zero-shot classification: a model that was trained on natural language inference (XNLI), an
// XLMRobertaForSequenceClassification with a class "entailment" and one "contradiction", is asked of each label whether
// the text entails that it is about it. Prints the labels, the most probable first; each has a probability of its own,
// entailment against contradiction, so several may be true of a text.
import { MaskPredict } from 'mask-predict';

const [directory, text, ...labels] = process.argv.slice(2);
if (labels.length === 0) {
  console.error('usage: node examples/zero-shot.mjs MODEL_DIR TEXT LABEL LABEL...');
  process.exit(2);
}

const hypothesis = (label) => `This example is about ${label}.`;

const model = await MaskPredict.load(directory);
const names = model.classLabels.map((name) => name.toLowerCase());
const [entailment, contradiction] = ['entailment', 'contradiction'].map((name) => {
  const index = names.indexOf(name);
  if (index === -1) throw new Error(`the model's classes are ${names.join(', ')}; none is ${name}`);
  return index;
});
const results = await model.classify(labels.map((label) => ({ text, pair: hypothesis(label) })));
const ranked = labels
  .map((label, i) => {
    const { scores } = results[i];
    const probability = scores[entailment] / (scores[entailment] + scores[contradiction]);
    return { label, probability };
  })
  .sort((a, b) => b.probability - a.probability);
for (const { label, probability } of ranked) {
  console.log(`${(100 * probability).toFixed(1).padStart(5)}%  ${label}`);
}
await model.close();
