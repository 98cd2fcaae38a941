/**
 * `npm run demo`: the two small models that come with the package answer what they were never trained on, and the passes
 * are shown as they happen. The first act is about numbers, the second translates.
 */
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Output, OutputClosed, type OutputStream } from './output.js';
import { bundledModels } from '../bundled-models.js';
import { readModelName } from '../hub/model-name.js';
import type { GenerateOptions } from '../text/generation.js';
import { MaskPredict } from '../text/mask-predict.js';
import { legend, showRefinement, wantsColours, type Write } from '../text/refinement-view.js';

interface Part {
  heading: string;
  options: GenerateOptions & { iterations: number };
  instructions: string[];
}

interface Act {
  /** The directory of its model. */
  model: string;
  heading: string;
  parts: Part[];
}

/**
 * `node bench/choose-demo.mjs` prints the instructions of the second part, with `--seed 1 --iterations 6`
 * those of the third; the first part has one of each kind of task.
 */
const numbers: Part[] = [
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

/**
 * Three sentences of the test set (Tatoeba, CC BY 2.0 FR). They were chosen because the passes change much and the last one is
 * right; of most sentences this is not so.
 */
const sentences = [
  "Aren't you afraid?",
  'Do you know where Tom is waiting for us?',
  "She's not as tall as he is.",
];

const translations: Part[] = [
  {
    heading:
      'A sentence has many translations. The first pass mixes them, because no word knows which one the others\n' +
      'belong to; pass by pass they agree on one.',
    options: { iterations: 10 },
    instructions: sentences.map(
      (sentence) => `Translate the following text from English to German: ${sentence}`,
    ),
  },
];

export const acts: Act[] = [
  {
    model: bundledModels.numbers,
    heading: 'Numbers in words and digits (models/numbers). None of these was in the training.',
    parts: numbers,
  },
  {
    model: bundledModels.translate,
    heading:
      'From English to German (models/translate). None of these sentences was in the training.',
    parts: translations,
  },
];

/** Instructions of the demo that the model of this name can follow; none for one that is not of the package. */
export function instructionsFor(name: string): string[] {
  const named = readModelName(name);
  const act = acts.find(
    ({ model }) => 'directory' in named && resolve(model) === resolve(named.directory),
  );
  return act?.parts.flatMap(({ instructions }) => instructions) ?? [];
}

/** Runs the demo. Ends quietly when nobody reads any more. */
export async function demo(stdout: OutputStream, environment: NodeJS.ProcessEnv): Promise<void> {
  const output = new Output(stdout);
  const write: Write = (text) => output.write(text);
  const colours = wantsColours(stdout, environment);
  try {
    await write(legend(colours));
    for (const act of acts) await showAct(act, colours, write);
    await write(`\nYour turn: npx mask-predict --help\n`);
  } catch (error) {
    if (!(error instanceof OutputClosed)) throw error;
  }
}

async function showAct(act: Act, colours: boolean, write: Write): Promise<void> {
  const model = await MaskPredict.load(act.model, { logger: () => {} });
  try {
    await write(`\n${act.heading}\n`);
    for (const part of act.parts) await showPart(model, part, colours, write);
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
