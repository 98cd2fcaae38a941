/** `average`: the mean of several models of one training. */
import { averageModels } from '../training/average-models.js';
import { Arguments, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { Output } from './output.js';

const help = `Usage: mask-predict average [options] MODEL MODEL... --out DIR

Writes to DIR the model whose weights are the mean of those of several models of one
training, such as the ones that train --keep-best leaves in kept/.

Options:
  --out DIR             where to write; a model that is there is replaced
  --save-precision NAME fp32, fp16 or bf16 (default: what the first model has)

Examples:
  mask-predict average tuned/kept/* --out averaged
`;

export const average: Command = {
  summary: 'write the mean of several models of one training',
  help,
  async run(list, { stdout, signal }) {
    const given = new Arguments(list, {
      out: { type: 'string' },
      'save-precision': { type: 'string' },
    });
    const out = given.text('out');
    if (out === undefined) throw new UsageError('average needs --out DIR');
    if (given.texts.length < 2)
      throw new UsageError('average takes at least two model directories');
    const precision = given.choice('save-precision', ['fp32', 'fp16', 'bf16']);
    await averageModels(given.texts, out, { ...(precision && { precision }), signal });
    await new Output(stdout).write(`${out}\n`);
  },
};
