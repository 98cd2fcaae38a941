/** `train`: examples and a model, or nothing, become a model. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { invalidArgument } from '../errors.js';
import { Trainer } from '../training/trainer.js';
import type { TrainerShape } from '../training/trainer-options.js';
import {
  newestCheckpoint,
  readRunFile,
  runFiles,
  runOnDisk,
  type RunOptions,
} from '../training/training-run.js';
import { Arguments, UsageError } from './arguments.js';
import type { Command } from './command.js';
import { Output, type Surroundings } from './output.js';
import {
  argumentsOf,
  keepingOptions,
  machineOptions,
  newShape,
  resumed,
  settingsOf,
  trainerOptions,
  trainingData,
  trainOptions,
  trainTable,
  validOptions,
  type Settings,
} from './train-settings.js';
import { TrainingProgress } from './training-progress.js';

const help = `Usage: mask-predict train [options] --model DIR --out DIR FILE...
       mask-predict train [options] --new 6x256 --tokenizer FILE --out DIR FILE...
       mask-predict train [options] --resume --out DIR

Trains on instructions and their outputs: JSON lines with the fields instruction and
output, or pairs in two columns (.tsv), gzip too. FILE=2 is a file whose examples are
seen twice an epoch, FILE=0.5 one of which another half is seen each epoch.

In --out are best/ and last/, models that load, checkpoints/, log.jsonl and loss.svg.
Ctrl-C ends the training at the last whole step and leaves all of them whole; --resume
goes on there, after a crash at the last checkpoint, with the same bits.

The model:
  --model DIR           fine-tune this one; a length predictor is added if it has none
    --new-head          give an encoder without a language-model head a new one
  --new LAYERSxHIDDEN   a new one, with weights from the seed; and for it
    --tokenizer FILE    a SentencePiece model
    --heads N           (default: hidden / 64)
    --feed-forward N    (default: 4 times hidden)
    --norm pre|post     before or after each block (default: pre)
    --max-positions N   2 more than the most ids of a text (default: 514)
    --lengths N         classes of the length predictor (default: 512)
  --resume              the training of --out goes on, with its own options; an end, the
                        machine, validation and checkpoints may be given anew
  --attention NAME      dynamic (eq. 7) or mixed (eq. 6, for comparison; default: what
                        the model was trained with, dynamic for a new one)
  --freeze embeddings   leave the embeddings as they are

The data:
  --valid FILE          validate on these examples
  --fields A,B          names of the fields (default: instruction,output)
  --max-source N        ids; longer instructions are left out (default: all the model
  --max-target N        reads), and so are longer outputs
  --cache DIR           of the tokenised data (default: ~/.cache/mask-predict)

The steps, which end with the first of --steps N, --epochs N and --time 90m:
  --rows N              ids of sources and targets in a step (default: 4096)
  --part-rows N         compute a step in parts of so many rows, for less memory
  --learning-rate X     at its highest (default: 2e-5, 5e-4 for a new model)
  --schedule NAME       polynomial, inverse-sqrt or constant (default: polynomial)
  --warmup N            steps (default: 500)
  --power X             of the polynomial (default: 1)
  --weight-decay X      (default: 0.01)
  --average X           decay, such as 0.999, of a moving average of the weights, which
                        is validated and saved instead of them (default: none)
  --dropout X           (default: 0.1)
  --label-smoothing X   (default: 0.1)
  --length-weight X     of the length predictor's loss (default: 0.1)
  --source-mask N       percent of a source's tokens that are masked (default: 15)
  --seed N              (default: 0)

What is kept:
  --best NAME           by validation: loss, exact or bleu (default: loss)
  --keep-best N         keep the models of the N best validations in kept/, for average
  --answers N           validation examples to answer at T = 1, 4, 10 (default: 200)
  --valid-every N       steps (default: 500)
  --checkpoint-every N  steps (default: 500)
  --save-precision NAME fp32, fp16 or bf16 (default: fp32)

The machine:
  --precision NAME      of the products: auto, which is fp32, or bf16, which needs
                        AVX512-BF16 (default: auto)
  --recompute NAME      none, gelu or layer: compute again instead of keeping
  --threads N           (default: one per available processor)
  --memory-limit SIZE   such as 4GiB; more is never used (default: what is available)

Examples:
  mask-predict train data.jsonl --valid valid.jsonl --model ./xlm-r --out ./tuned \\
    --steps 20000
  mask-predict train data.jsonl.gz --new 6x256 --tokenizer spm.model --out ./small \\
    --time 90m
  mask-predict train --resume --out ./tuned
`;

export const train: Command = {
  summary: 'make a model from instructions and their outputs',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, trainTable);
    given.atMostOne('model', 'new');
    const directory = given.text('out');
    if (directory === undefined) throw new UsageError('train needs --out DIR');
    if (given.has('new-head') && (given.has('resume') || given.text('new') !== undefined)) {
      throw new UsageError(
        '--new-head is for --model; a new model and one that goes on have a head',
      );
    }
    if (given.has('resume')) await goOn(given, directory, surroundings);
    else await begin(given, directory, surroundings);
  },
};

async function begin(
  given: Arguments,
  directory: string,
  surroundings: Surroundings,
): Promise<void> {
  const shape = newShape(given);
  if (shape === undefined && given.text('model') === undefined) {
    throw new UsageError('train needs --model DIR, --new LAYERSxHIDDEN or --resume');
  }
  const run = runOptions(given, directory, settingsOf(given));
  const options = { ...trainerOptions(given), signal: surroundings.signal };
  for (const name of [runFiles.best, runFiles.last, runFiles.kept, runFiles.checkpoints]) {
    if (!existsSync(join(directory, name))) continue;
    throw invalidArgument(
      `${directory} has a training already (${name}): --resume goes on with it, or name another directory`,
    );
  }
  const trainer = await (shape === undefined
    ? Trainer.load(given.text('model')!, {
        ...options,
        ...(given.has('new-head') && { head: 'new' as const }),
      })
    : Trainer.create(shape as unknown as TrainerShape, given.text('tokenizer'), options));
  await work(trainer, run, 0, surroundings);
}

async function goOn(
  given: Arguments,
  directory: string,
  surroundings: Surroundings,
): Promise<void> {
  const file = await readRunFile(directory);
  const checkpoint = await newestCheckpoint(directory);
  if (!file || !checkpoint) {
    throw invalidArgument(
      `${directory} has no ${file ? 'checkpoint' : 'training'} to go on from; begin one without --resume`,
    );
  }
  const settings = resumed(settingsOf(given), file.settings as Settings);
  const all = argumentsOf(settings);
  const run = runOptions(all, directory, settings);
  const trainer = await Trainer.resume(checkpoint, {
    ...machineOptions(all),
    signal: surroundings.signal,
  });
  await work(trainer, run, trainer.updates, surroundings);
}

type Planned = Omit<RunOptions, 'signal' | 'onStep' | 'onValidation'>;

function runOptions(given: Arguments, directory: string, settings: Settings): Planned {
  const valid = given.text('valid');
  return {
    directory,
    train: trainingData(given),
    trainOptions: trainOptions(given),
    ...(valid !== undefined && { valid }),
    validOptions: validOptions(given),
    ...keepingOptions(given),
    settings,
  };
}

/** Trains and closes the trainer whatever happens. */
async function work(
  trainer: Trainer,
  run: Planned,
  step: number,
  { stdout, stderr, signal }: Surroundings,
): Promise<void> {
  const progress = new TrainingProgress(stderr);
  try {
    if (trainer.addedLengthPredictor) {
      progress.line('the model has no length predictor: one is added, with weights from the seed');
    }
    await runOnDisk(
      trainer,
      {
        ...run,
        trainOptions: { ...run.trainOptions, signal, onData: (event) => progress.data(event) },
        validOptions: { ...run.validOptions, signal },
        signal,
        onStep: (one) => progress.step(one),
        onValidation: (...validated) => progress.validation(...validated),
      },
      step,
    );
    const model = join(run.directory, run.valid === undefined ? runFiles.last : runFiles.best);
    await new Output(stdout).write(`${model}\n`);
  } catch (error) {
    if (signal.aborted && existsSync(join(run.directory, runFiles.checkpoints))) {
      progress.line(`stopped; --resume --out ${run.directory} goes on`);
    }
    throw error;
  } finally {
    progress.clear();
    await trainer.close();
  }
}
