/** `classify`: which class a text, or a pair of texts, is of. */
import type { Classification, ClassifyInput } from '../text/classification.js';
import { Arguments, modelOptions, textOptions, UsageError } from './arguments.js';
import { modelHelp, textHelp, withModel, type Command } from './command.js';
import { answerTexts, oneLine } from './reading.js';

const help = `Usage: mask-predict classify [options] TEXT...
       mask-predict classify [options] < FILE

Prints the label of the class that the text is of, and its score, by the model's
sequence classifier. Without TEXT, for every line of the standard input, where a tab
separates the two texts of a pair.

Options:
  --pair TEXT         the second text of a pair
  --json              one JSON object per text: label, index, scores
${textHelp}
${modelHelp}
Examples:
  mask-predict classify --model ./xlm-roberta-large-xnli --pair 'It rains.' 'It is wet.'
  mask-predict classify --json --model ./sentiment < reviews.txt
`;

export const classify: Command = {
  summary: 'print the class of a text, or of every line',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      ...textOptions,
      pair: { type: 'string' },
      json: { type: 'boolean' },
    });
    const pair = given.text('pair');
    const fromLines = given.texts.length === 0;
    if (pair !== undefined && fromLines) {
      throw new UsageError('--pair takes a text too; in lines a tab separates the texts of a pair');
    }
    const options = { ...given.textOptions(), signal: surroundings.signal };
    const render = given.has('json') ? renderJson : renderText;
    const input = (text: string): ClassifyInput => {
      if (pair !== undefined) return { text, pair };
      return fromLines && text.includes('\t') ? pairOf(text) : text;
    };
    await withModel(given, surroundings, (model) =>
      answerTexts(given, surroundings, async (texts) => {
        const results = await model.classify(texts.map(input), options);
        return results.map(render);
      }),
    );
  },
};

function pairOf(line: string): ClassifyInput {
  const tab = line.indexOf('\t');
  return { text: line.slice(0, tab), pair: line.slice(tab + 1) };
}

function renderJson(result: Classification): string {
  return `${JSON.stringify(result)}\n`;
}

function renderText({ label, index, scores }: Classification): string {
  return `${oneLine(label)}\t${scores[index]!.toFixed(4)}\n`;
}
