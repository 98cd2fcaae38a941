/** `trim`: a model directory becomes one of fewer pieces. */
import { trim as write } from '../text/trim.js';
import { Arguments, hubOptions, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { fetchModel, hubHelp } from './fetch-model.js';
import { Output, Progress } from './output.js';

const help = `Usage: mask-predict trim (--languages TAGS | --texts FILE) [options] IN OUT

Writes the model IN, a directory or owner/name of the Hugging Face hub, with only the
pieces that are used to the directory OUT: its tokenizer, its embeddings and its head.
Texts whose pieces are kept have the same pieces and the same states as before.

Options:
  --languages TAGS    keeps the pieces of the scripts of these languages (de,en)
  --texts FILE        keeps the pieces that the lines of FILE use most (UTF-8, .gz too);
                      may be given several times, and with --languages
  --keep SHARE        of the pieces that occur in FILE (default: 0.999)
  --overwrite         write into OUT although it has files
${hubHelp}
Examples:
  mask-predict trim --languages de,en ./xlm-r-base ./xlm-r-base-de-en
  mask-predict trim --texts train.tsv.gz ./my-model ./my-small-model
`;

export const trim: Command = {
  summary: 'write a model with only the pieces of some languages or texts',
  help,
  async run(list, surroundings) {
    const { stdout, stderr, signal } = surroundings;
    const given = new Arguments(list, {
      ...hubOptions,
      languages: { type: 'string' },
      texts: { type: 'string', multiple: true },
      keep: { type: 'string' },
      overwrite: { type: 'boolean' },
    });
    const [name, out] = given.texts;
    if (name === undefined || out === undefined || given.texts.length > 2) {
      throw new UsageError('trim takes a model and the directory where to write');
    }
    const languages = given.text('languages')?.split(',');
    const texts = given.list('texts');
    const keep = given.number('keep', 0, 1);
    if (languages === undefined && texts.length === 0) {
      throw new UsageError(
        'trim takes --languages, --texts or both: they say which pieces to keep',
      );
    }
    const directory = await fetchModel(name, given, surroundings);
    const progress = new Progress(stderr);
    let result;
    try {
      result = await write(directory, out, {
        ...(languages !== undefined && { languages }),
        ...(texts.length > 0 && { texts }),
        ...(keep !== undefined && { keep }),
        overwrite: given.has('overwrite'),
        signal,
        onProgress: (fraction, stage) =>
          progress.show(
            `${stage === 'texts' ? 'reading texts' : 'writing'}: ${Math.round(100 * fraction)}%`,
          ),
      });
    } finally {
      progress.clear();
    }
    const { leftOut, pieces, bytes } = result;
    if (leftOut.length > 0) {
      await new Output(stderr).write(`left out: ${leftOut.join(', ')}\n`);
    }
    await new Output(stdout).write(
      `${out}: ${pieces.after} of ${pieces.before} pieces, ` +
        `${mebibytes(bytes.after)} instead of ${mebibytes(bytes.before)} MiB\n`,
    );
  },
};

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
