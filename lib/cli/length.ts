/** `length`: how long the answer to an instruction is going to be. */
import { Arguments, modelOptions, textOptions, UsageError } from './arguments.js';
import { modelHelp, textHelp, withModel, type Command } from './command.js';
import { Output } from './output.js';

const help = `Usage: mask-predict length [options] TEXT...

Prints the most probable lengths of the answer to TEXT, best first: the number of
tokens and the probability.

Options:
  --count K           how many lengths (default: 1)
  --json              a JSON array of objects: length, logProb
${textHelp}
${modelHelp}
Examples:
  mask-predict length --count 3 Write the number 4217 in German words.
`;

export const length: Command = {
  summary: 'print how many tokens the answer is going to have',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      ...textOptions,
      count: { type: 'string' },
      json: { type: 'boolean' },
    });
    if (given.texts.length === 0) throw new UsageError('length takes a text');
    const count = given.integer('count', 1, 1000000) ?? 1;
    const options = { ...given.textOptions(), signal: surroundings.signal };
    await withModel(given, surroundings, async (model) => {
      const lengths = await model.predictLength(given.texts.join(' '), count, options);
      const lines = given.has('json') ? [JSON.stringify(lengths)] : lengths.map(render);
      await new Output(surroundings.stdout).write(`${lines.join('\n')}\n`);
    });
  },
};

function render({ length, logProb }: { length: number; logProb: number }): string {
  return `${length}\t${(100 * Math.exp(logProb)).toFixed(2)}%`;
}
