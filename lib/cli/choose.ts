/** `choose`: which of some labels answers an instruction, in one pass. */
import { Arguments, modelOptions, textOptions, UsageError } from './arguments.js';
import { modelHelp, textHelp, withModel, type Command } from './command.js';
import { Output } from './output.js';

const help = `Usage: mask-predict choose [options] TEXT LABEL LABEL...

Prints the label that is the most probable answer to TEXT. Labels must have the same
number of tokens; otherwise their length alone would decide.

Options:
  --json              a JSON object: label, index, logProbs (one per label)
${textHelp}
${modelHelp}
Examples:
  mask-predict choose 'Write the number 3 in English words.' two three four
  mask-predict choose --json 'Write this German number in digits: siebzehn' 17 71
`;

export const choose: Command = {
  summary: 'print which of some labels answers an instruction',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      ...textOptions,
      json: { type: 'boolean' },
    });
    const [text, ...labels] = given.texts;
    if (text === undefined || labels.length < 2) {
      throw new UsageError('choose takes a text and two labels or more; quote what has spaces');
    }
    const options = { ...given.textOptions(), signal: surroundings.signal };
    await withModel(given, surroundings, async (model) => {
      const choice = await model.choose(text, labels, options);
      const line = given.has('json') ? JSON.stringify(choice) : choice.label;
      await new Output(surroundings.stdout).write(`${line}\n`);
    });
  },
};
