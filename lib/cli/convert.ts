/** `convert`: fairseq's and Hugging Face's files become one model directory. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { convert as write, type ConvertOptions } from '../text/convert.js';
import { Arguments, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { Output, Progress } from './output.js';

const help = `Usage: mask-predict convert [options] IN OUT

Writes the model directory OUT (config.json, model.safetensors and the SentencePiece
model) of a checkpoint IN: fairseq's model.pt or checkpoint*.pt, the parts
…-model_part-N.pt of one, Hugging Face's .bin or safetensors, or a directory with one of
these. Nothing that a file of torch.save wants to call is called.

Options:
  --tokenizer FILE    the SentencePiece model (default: sentencepiece.bpe.model
                      beside IN, if there is one)
  --to bf16           rounds all weights to bfloat16 (default: as they are)
  --heads N           attention heads, where a fairseq checkpoint does not say
  --overwrite         write into OUT although it has files

Examples:
  mask-predict convert xlmr.base/model.pt ./xlm-r-base
  mask-predict convert --to bf16 instruct-xmlr-xl ./instruct-xl
`;

export const convert: Command = {
  summary: "write a model of fairseq's files, or of a .bin, as safetensors",
  help,
  async run(list, { stdout, stderr, signal }) {
    const given = new Arguments(list, {
      tokenizer: { type: 'string' },
      to: { type: 'string' },
      heads: { type: 'string' },
      overwrite: { type: 'boolean' },
    });
    const [input, out] = given.texts;
    if (input === undefined || out === undefined || given.texts.length > 2) {
      throw new UsageError('convert takes the model and the directory to write');
    }
    const to = given.text('to');
    if (to !== undefined && to !== 'bf16') throw new UsageError(`--to takes bf16, not '${to}'`);
    const tokenizer = given.text('tokenizer');
    const heads = given.integer('heads', 1, 1024);
    const progress = new Progress(stderr);
    const options: ConvertOptions = {
      ...(tokenizer !== undefined && { tokenizer }),
      ...(to !== undefined && { to }),
      ...(heads !== undefined && { heads }),
      overwrite: given.has('overwrite'),
      signal,
      onProgress: (fraction) => progress.show(`converting: ${Math.round(100 * fraction)}%`),
    };
    let result;
    try {
      result = await write(input, out, options);
    } finally {
      progress.clear();
    }
    if (result.leftOut.length > 0) {
      await new Output(stderr).write(`left out: ${result.leftOut.join(', ')}\n`);
    }
    const { size } = statSync(join(out, 'model.safetensors'));
    const { vocab_size: rows, mask_token_id: mask } = result.config;
    await new Output(stdout).write(
      `${out}: ${(size / 2 ** 20).toFixed(1)} MiB, ${String(rows)} ids, <mask> is ${String(mask)}\n`,
    );
  },
};
