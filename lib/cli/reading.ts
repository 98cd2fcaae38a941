/**
 * Code that `fill`, `embed` and `classify` share. They read the text of their arguments, or every line of the standard
 * input, and write each answer at once, in the order of the lines. Lines that arrive together are read together, which
 * changes no answer. An error names its line.
 */
import { MaskPredictError } from '../errors.js';
import type { Arguments } from './arguments.js';
import { readLines } from './lines.js';
import { Output, Progress, type Surroundings } from './output.js';

const linesAtOnce = 16;

/** `answer` makes of texts what is written for each of them. */
export async function answerTexts(
  given: Arguments,
  { stdin, stdout, stderr, signal }: Surroundings,
  answer: (texts: string[]) => Promise<string[]>,
): Promise<void> {
  const output = new Output(stdout);
  if (given.texts.length > 0) {
    const [only] = await answer([given.texts.join(' ')]);
    return output.write(only!);
  }
  if (stdin.isTTY && stderr.isTTY) stderr.write('One text per line; Ctrl-D ends.\n');
  const progress = new Progress(stderr);
  let line = 1;
  try {
    for await (const texts of readLines(stdin, linesAtOnce, signal)) {
      await answerLines(texts, line, answer, output);
      line += texts.length;
      if (!stdin.isTTY && !stdout.isTTY) progress.show(`${line - 1} lines answered`);
    }
  } finally {
    progress.clear();
  }
}

/** Those before one that is wrong have their answers all the same. */
async function answerLines(
  texts: string[],
  line: number,
  answer: (texts: string[]) => Promise<string[]>,
  output: Output,
): Promise<void> {
  let answers: string[];
  try {
    answers = await answer(texts);
  } catch (error) {
    if (!(error instanceof MaskPredictError) || error.code !== 'ERR_INVALID_ARGUMENT') throw error;
    if (texts.length === 1) {
      const { code, message } = error;
      const about = message.replace(/^text 0(?=[ :])/, 'the text');
      throw new MaskPredictError(code, `line ${line}: ${about}`, { cause: error });
    }
    const half = texts.length >> 1;
    await answerLines(texts.slice(0, half), line, answer, output);
    return answerLines(texts.slice(half), line + half, answer, output);
  }
  await output.write(answers.join(''));
}

export function percentage(probability: number): string {
  return `${(100 * probability).toFixed(2)}%`;
}

/** One line, whatever it contains. */
export function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, ' ');
}
