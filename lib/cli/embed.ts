/** `embed`: a vector for a text. */
import type { Pooling } from '../token/readings.js';
import { Arguments, modelOptions, textOptions, UsageError } from './arguments.js';
import { modelHelp, textHelp, withModel, type Command } from './command.js';
import { answerTexts } from './reading.js';

const help = `Usage: mask-predict embed [options] TEXT...
       mask-predict embed [options] < FILE

Prints one JSON array of numbers for the text: its embedding. Without TEXT, one for
every line of the standard input. Prefixes that a model wants ('query: ') belong to the
text.

Options:
  --pooling NAME      mean of the states, or first (the state of <s>); default: as the
                      model's files say, else mean
  --normalize         to length 1; default: as the model's files say, else not
  --no-normalize      as it is
${textHelp}
${modelHelp}
Examples:
  mask-predict embed --model ./multilingual-e5-base 'query: how long is a day'
  mask-predict embed --model ./bge-m3 < texts.txt > vectors.jsonl
`;

export const embed: Command = {
  summary: 'print the embedding of a text, or of every line',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      ...textOptions,
      pooling: { type: 'string' },
      normalize: { type: 'boolean' },
      'no-normalize': { type: 'boolean' },
    });
    given.atMostOne('normalize', 'no-normalize');
    const pooling = given.text('pooling');
    if (pooling !== undefined && pooling !== 'mean' && pooling !== 'first') {
      throw new UsageError(`--pooling takes mean or first, not '${pooling}'`);
    }
    const asked = given.has('normalize') || given.has('no-normalize');
    const options = {
      ...given.textOptions(),
      ...(pooling !== undefined && { pooling: pooling as Pooling }),
      ...(asked && { normalize: given.has('normalize') }),
      signal: surroundings.signal,
    };
    await withModel(given, surroundings, (model) =>
      answerTexts(given, surroundings, async (texts) => {
        const vectors = await model.embed(texts, options);
        return vectors.map((vector) => `${JSON.stringify([...vector])}\n`);
      }),
    );
  },
};
