/** `ask`: which of some choices answers a question, by a model that was trained on such questions. */
import { Arguments, modelOptions, UsageError } from './arguments.js';
import { modelHelp, withModel, type Command } from './command.js';
import { Output } from './output.js';
import { percentage } from './reading.js';

const help = `Usage: mask-predict ask [options] QUESTION --choices CHOICE CHOICE...

Prints the choice that answers QUESTION. The model must know multiple-choice questions:
ModernBERT-Large-Instruct was trained on them.

Options:
  --choices           what follows are the choices, 2 to 26 of them, each in quotes if
                      it has spaces
  --instruction TEXT  what stands before the question (default: that of the model's
                      card)
  --all               every choice with its probability
  --json              a JSON object: choice, index, probabilities (one per choice)

${modelHelp}
Examples:
  mask-predict ask --model ./ModernBERT-Large-Instruct 'What is 2 + 2?' --choices 3 4 5
`;

export const ask: Command = {
  summary: 'print which of some choices answers a question (ModernBERT-Large-Instruct)',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      choices: { type: 'boolean' },
      instruction: { type: 'string' },
      all: { type: 'boolean' },
      json: { type: 'boolean' },
    });
    given.atMostOne('all', 'json');
    const [question, ...choices] = given.texts;
    if (question === undefined || choices.length < 2 || !given.has('choices')) {
      throw new UsageError('ask takes a question and --choices with two of them or more');
    }
    const instruction = given.text('instruction');
    const options = {
      ...(instruction !== undefined && { instruction }),
      signal: surroundings.signal,
    };
    await withModel(given, surroundings, async (model) => {
      const answer = await model.ask(question, choices, options);
      const all = choices.map(
        (choice, index) => `${percentage(answer.probabilities[index]!)}\t${choice}`,
      );
      const text = given.has('json')
        ? JSON.stringify(answer)
        : given.has('all')
          ? all.join('\n')
          : answer.choice;
      await new Output(surroundings.stdout).write(`${text}\n`);
    });
  },
};
