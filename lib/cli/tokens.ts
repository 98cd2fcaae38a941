/** `tokens`: a file of examples becomes a file of ids, for a trainer that is not this package's. */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { writeTokens } from '../training/dataset.js';
import { defaultFields } from '../training/examples.js';
import { Tokenizer } from '../text/tokenizer.js';
import { Arguments, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { Output, Progress } from './output.js';
import { fieldsOf } from './train-settings.js';

const help = `Usage: mask-predict tokens FILE --tokenizer MODEL --out FILE.tokens

Writes the ids of a file of examples, as train reads them, for a program that trains
elsewhere (bench/peers/trainer.py in PyTorch). Layout, little-endian: the ids of all
examples, int32, each source followed by its target; the lengths of source and target
of each example, uint16; three uint64 (examples, ids, examples left out); MPTOKEN1.

Options:
  --tokenizer FILE      a SentencePiece model
  --out FILE            the file to write
  --fields A,B          names of the fields (default: instruction,output)
  --max-source N        ids; longer instructions are left out (default: 512)
  --max-target N        ids; longer outputs are left out (default: 511)

Examples:
  mask-predict tokens data.jsonl --tokenizer spm.model --out data.tokens
`;

export const tokens: Command = {
  summary: 'write the ids of examples, for a trainer elsewhere',
  help,
  async run(list, { stdout, stderr, signal }) {
    const text = { type: 'string' } as const;
    const given = new Arguments(list, {
      tokenizer: text,
      out: text,
      fields: text,
      'max-source': text,
      'max-target': text,
    });
    const [file] = given.texts;
    const model = given.text('tokenizer');
    const out = given.text('out');
    if (file === undefined || given.texts.length > 1) {
      throw new UsageError('tokens takes one file of examples');
    }
    if (model === undefined) throw new UsageError('tokens needs --tokenizer FILE');
    if (out === undefined) throw new UsageError('tokens needs --out FILE');
    const maxSource = given.integer('max-source', 3, 65535) ?? 512;
    const maxTarget = given.integer('max-target', 3, 65535) ?? 511;
    const tokenizer = await Tokenizer.load(model);
    const progress = new Progress(stderr);
    try {
      const { examples, leftOut } = await writeTokens(file, out, {
        tokenizer,
        tokenizerBytes: await readFile(model),
        fields: fieldsOf(given.text('fields')) ?? defaultFields,
        maxSource,
        maxTarget,
        cache: tmpdir(),
        onProgress: (name, count) => progress.show(`${name}: ${count} examples`),
        signal,
      });
      progress.clear();
      const left = leftOut > 0 ? `, ${leftOut} left out as too long` : '';
      await new Output(stdout).write(`${out}: ${examples} examples${left}\n`);
    } finally {
      progress.clear();
    }
  },
};
