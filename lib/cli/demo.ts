/**
 * `npm run demo`: the small model that comes with the package answers instructions about numbers it was
 * never trained on, and the passes are shown as they happen.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Output, OutputClosed, type OutputStream } from './output.js';
import type { GenerateOptions } from '../text/generation.js';
import { MaskPredict } from '../text/mask-predict.js';
import { legend, showRefinement, wantsColours, type Write } from '../text/refinement-view.js';

interface Part {
  heading: string;
  options: GenerateOptions & { iterations: number };
  instructions: string[];
}

/**
 * `node bench/choose-demo.mjs` prints the instructions of the second part, with `--seed 1 --iterations 6`
 * those of the third; the first part has one of each kind of task.
 */
export const parts: Part[] = [
  {
    heading:
      'Most answers are certain from the first pass on, and the further passes confirm them.',
    options: { iterations: 4 },
    instructions: [
      'Is the number 5692 even? Yes or no?',
      'Write this French number in digits: trois mille neuf cent quatre-vingt-douze',
      'Translate the following text from Spanish to English: dos mil ciento ochenta y cuatro',
    ],
  },
  {
    heading:
      'A few (22 of 10290) are not: all tokens of a pass are written at the same time, none knows the\n' +
      'others yet. The next pass sees the certain ones and repairs the rest.',
    options: { iterations: 4 },
    instructions: [
      'Translate the following text from English to German: five thousand and twelve',
      'Translate the following text from French to German: six mille soixante',
      'Translate the following text from French to German: trois mille soixante-seize',
    ],
  },
  {
    heading:
      'With sampling, tokens are drawn, wildly in the first pass and hardly at all in the last: an\n' +
      'answer that grows out of noise.',
    options: { iterations: 6, sampling: { seed: 1 } },
    instructions: [
      'Write the number 5692 in French words.',
      'Translate the following text from German to English: eintausendachthundertvierundvierzig',
    ],
  },
];

/** Runs the demo. Ends quietly when nobody reads any more. */
export async function demo(stdout: OutputStream, environment: NodeJS.ProcessEnv): Promise<void> {
  const output = new Output(stdout);
  const write: Write = (text) => output.write(text);
  const colours = wantsColours(stdout, environment);
  const model = await MaskPredict.load(undefined, { logger: () => {} });
  try {
    await write(`${legend(colours)}None of these numbers was in the training.\n`);
    for (const part of parts) await showPart(model, part, colours, write);
    await write(`\nYour turn: npx mask-predict --help\n`);
  } catch (error) {
    if (!(error instanceof OutputClosed)) throw error;
  } finally {
    await model.close();
  }
}

async function showPart(
  model: MaskPredict,
  { heading, options, instructions }: Part,
  colours: boolean,
  write: Write,
): Promise<void> {
  await write(`\n${heading}\n`);
  const view = { colours, iterations: options.iterations, lengthPredicted: true };
  for (const instruction of instructions) {
    await write(`\n  ${instruction}\n`);
    await showRefinement(model.refine(instruction, options), view, write);
  }
}

const program = process.argv[1];
if (program !== undefined && realpathSync(program) === fileURLToPath(import.meta.url)) {
  await demo(process.stdout, process.env);
}
