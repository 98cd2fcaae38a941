/** `fill`: what stands at `<mask>`. */
import type { LabelCandidate, MaskCandidate } from '../text/fill-mask.js';
import { Arguments, modelOptions } from './arguments.js';
import { modelHelp, withModel, type Command } from './command.js';
import { answerTexts, oneLine, percentage } from './reading.js';

const help = `Usage: mask-predict fill [options] TEXT...
       mask-predict fill [options] < FILE

Prints the most probable pieces for each <mask> of the text, best first: the number of
the mask, the probability, and the text with the piece put in. With labels, which of
them stands at the text's one <mask>. Without TEXT, for every line of the standard
input.

Options:
  --count K           pieces for each mask, 1 to 1000 (default: 5)
  --label WORD        instead: may stand at the <mask>; to be given several times, all
                      with the same number of tokens
  --json              one JSON array per text: of each mask an array of id, piece,
                      text, logProb; with labels of label, index, text, logProb,
                      probability
  --no-truncate       refuse a text that is too long instead of cutting it

${modelHelp}
Examples:
  mask-predict fill --model ./xlm-roberta-base 'Paris is the capital of <mask>.'
  mask-predict fill --label German --label French 'It is in <mask> words.'
`;

export const fill: Command = {
  summary: 'print what stands at <mask>, or which of some labels',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      'no-truncate': { type: 'boolean' },
      count: { type: 'string' },
      label: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    });
    given.atMostOne('count', 'label');
    const labels = given.list('label');
    const count = given.integer('count', 1, 1000) ?? 5;
    const { overflow } = given.textOptions();
    const options = { overflow: overflow!, signal: surroundings.signal };
    const json = given.has('json');
    await withModel(given, surroundings, (model) =>
      answerTexts(given, surroundings, async (texts) => {
        if (labels.length > 0) {
          const answers = await model.fillMask(texts, { ...options, labels });
          return answers.map(json ? renderJson : renderLabels);
        }
        const answers = await model.fillMask(texts, { ...options, count });
        return answers.map(json ? renderJson : renderMasks);
      }),
    );
  },
};

function renderJson(answer: unknown): string {
  return `${JSON.stringify(answer)}\n`;
}

function renderMasks(masks: MaskCandidate[][]): string {
  const lines = masks.flatMap((candidates, mask) =>
    candidates.map(
      ({ logProb, text }) => `${mask + 1}\t${percentage(Math.exp(logProb))}\t${oneLine(text)}\n`,
    ),
  );
  return lines.join('');
}

function renderLabels(labels: LabelCandidate[]): string {
  return labels
    .map(({ label, probability }) => `${percentage(probability)}\t${oneLine(label)}\n`)
    .join('');
}
