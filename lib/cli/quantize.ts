/** `quantize`: a model directory becomes one of int8 weights. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { quantize as write } from '../text/quantize.js';
import { Arguments, hubOptions, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { fetchModel, hubHelp } from './fetch-model.js';
import { Output, Progress } from './output.js';

const help = `Usage: mask-predict quantize [options] IN OUT

Rounds the weights of the model IN, a directory or owner/name of the Hugging Face hub,
to int8 and writes the model directory OUT, a quarter of the size of float32: generate
--model OUT maps it into memory, starts in a moment and answers as generate --model IN
--precision int8 does.

Options:
  --overwrite         write into OUT although it has files
${hubHelp}  --threads N         (default: one per available processor)
  --memory-limit SIZE such as 4GiB; more is never used (default: what is available)

Examples:
  mask-predict quantize ./my-model ./my-model-int8
`;

export const quantize: Command = {
  summary: 'write a model with int8 weights, for a quarter of the memory',
  help,
  async run(list, surroundings) {
    const { stdout, stderr, signal } = surroundings;
    const given = new Arguments(list, {
      ...hubOptions,
      overwrite: { type: 'boolean' },
      threads: { type: 'string' },
      'memory-limit': { type: 'string' },
    });
    const [name, out] = given.texts;
    if (name === undefined || out === undefined || given.texts.length > 2) {
      throw new UsageError('quantize takes a model and the directory where to write');
    }
    const directory = await fetchModel(name, given, surroundings);
    const progress = new Progress(stderr);
    try {
      await write(directory, out, {
        ...given.engineOptions(),
        overwrite: given.has('overwrite'),
        signal,
        onProgress: (fraction) => progress.show(`quantizing: ${Math.round(100 * fraction)}%`),
      });
    } finally {
      progress.clear();
    }
    const { size } = statSync(join(out, 'model.safetensors'));
    await new Output(stdout).write(`${out}: ${(size / 2 ** 20).toFixed(1)} MiB of int8 weights\n`);
  },
};
