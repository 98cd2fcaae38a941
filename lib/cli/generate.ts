/**
 * `generate`: answers one instruction from the arguments, or every line of the standard input.
 *
 * Line n of the output answers line n of the input, an empty line is answered by an empty one (as JSON by
 * an empty text whose score is null), and what is answered is written at once. Lines that are there together are worked on together, which changes no
 * answer. A line that cannot be answered ends the run; those before it are written, and the message names it.
 */
import { MaskPredictError } from '../errors.js';
import type { Generation, GenerateOptions, LengthOption } from '../text/generation.js';
import type { StopRule } from '../token/engine-options.js';
import type { MaskPredict } from '../text/mask-predict.js';
import { legend, showRefinement, wantsColours } from '../text/refinement-view.js';
import { Arguments, modelOptions, textOptions, UsageError, type OptionTable } from './arguments.js';
import { modelHelp, textHelp, withModel, type Command } from './command.js';
import { readLines } from './lines.js';
import { Output, Progress, type Surroundings } from './output.js';

/** Lines per call: about as many rows as matrix products like, and answers still come steadily. */
const linesAtOnce = 16;

const options: OptionTable = {
  ...modelOptions,
  ...textOptions,
  iterations: { type: 'string' },
  length: { type: 'string' },
  candidates: { type: 'string' },
  'length-weight': { type: 'string' },
  stop: { type: 'string' },
  'remask-below': { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean' },
  watch: { type: 'boolean' },
};

const help = `Usage: mask-predict generate [options] TEXT...
       mask-predict generate [options] < FILE

Answers an instruction. Without TEXT, answers every line of the standard input with
one line on the standard output, in the same order; an empty line is answered by an
empty one.

Options:
  --iterations N      passes over the answer, 1 or more (default: 10)
  --length N          tokens of the answer (default: predicted)
  --candidates K      try the K most probable lengths, keep the best answer
  --length-weight W   how much the probability of a length counts in that, 0 or more
                      (default: 0.25)
  --stop RULE         end early: 'unchanged', when a pass changes nothing, or a
                      probability such as 0.9, when all tokens have it
  --remask-below P    mask again only tokens whose probability is not above P; where
                      there are none the answer is finished
  --seed N            draw tokens by their probability instead of taking the best;
                      the same seed gives the same answer
  --json              one JSON object per answer: text, score (mean log-probability),
                      length, tokens, tokenScores, iterations, truncated, timings
                      (milliseconds; lines answered together share them); with
                      --candidates their length, score and lengthLogProb as well
  --watch             show the answer after every pass
${textHelp}
${modelHelp}
Examples:
  mask-predict generate Write the number 4217 in German words.
  mask-predict generate --watch --iterations 4 Write the number 940 in German words.
  seq 1 100 | sed 's/.*/Write the number & in French words./' | mask-predict generate
`;

export const generate: Command = {
  summary: 'answer an instruction, or every line of the standard input',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, options);
    given.atMostOne('json', 'watch');
    given.atMostOne('length', 'candidates');
    given.atMostOne('candidates', 'watch');
    const generateOptions = readOptions(given, surroundings.signal);
    await withModel(given, surroundings, async (model) => {
      const answer = given.has('watch')
        ? watcher(model, generateOptions, surroundings)
        : writer(model, generateOptions, given.has('json'), surroundings);
      if (given.texts.length > 0) await answer([given.texts.join(' ')], undefined);
      else await answerLines(answer, given.has('watch') ? 1 : linesAtOnce, surroundings);
    });
  },
};

/** Writes the answers to `texts`, of which the first is line `line` of the input, if they are lines. */
type Answer = (texts: string[], line: number | undefined) => Promise<void>;

function readOptions(given: Arguments, signal: AbortSignal): GenerateOptions {
  const iterations = given.integer('iterations', 1, 100000);
  const tokens = given.integer('length', 1, 1000000);
  const candidates = given.integer('candidates', 1, 1000000);
  const seed = given.bigInteger('seed');
  const weight = given.number('length-weight', 0, Number.MAX_VALUE);
  if (weight !== undefined && candidates === undefined) {
    throw new UsageError('--length-weight chooses among --candidates, which is not given');
  }
  const length: LengthOption =
    tokens ??
    (candidates === undefined
      ? 'predict'
      : { candidates, ...(weight !== undefined && { weight }) });
  const stop = readStop(given);
  const below = given.number('remask-below', 0, 1);
  return {
    ...given.textOptions(),
    length,
    signal,
    ...(stop !== undefined && { stop }),
    ...(below !== undefined && { remask: { below } }),
    ...(iterations !== undefined && { iterations }),
    ...(seed !== undefined && { sampling: { seed } }),
  };
}

/** `--stop RULE`. */
export function readStop(given: Arguments): StopRule | undefined {
  if (given.text('stop') === 'unchanged') return 'unchanged';
  const confidence = given.number('stop', 0, 1);
  return confidence === undefined ? undefined : { confidence };
}

async function answerLines(
  answer: Answer,
  atOnce: number,
  { stdin, stdout, stderr, signal }: Surroundings,
): Promise<void> {
  if (stdin.isTTY && stderr.isTTY) stderr.write('One instruction per line; Ctrl-D ends.\n');
  const progress = new Progress(stderr);
  let line = 1;
  try {
    for await (const texts of readLines(stdin, atOnce, signal)) {
      await answer(texts, line);
      line += texts.length;
      if (!stdin.isTTY && !stdout.isTTY) progress.show(`${line - 1} lines answered`);
    }
  } finally {
    progress.clear();
  }
}

function writer(
  model: MaskPredict,
  generateOptions: GenerateOptions,
  json: boolean,
  { stdout, stderr }: Surroundings,
): Answer {
  const output = new Output(stdout);
  const render = json ? renderJson : renderText;

  async function answer(texts: string[], line: number | undefined): Promise<void> {
    const asked = texts.filter((text) => !isEmpty(text));
    let generations: Generation[];
    try {
      generations = await model.generate(asked, generateOptions);
    } catch (error) {
      if (!isAboutTexts(error)) throw error;
      if (texts.length === 1) throw at(line, error);
      // One of them is wrong or too large: the others have their answers all the same.
      const half = texts.length >> 1;
      await answer(texts.slice(0, half), line);
      return answer(texts.slice(half), line === undefined ? line : line + half);
    }
    const answers = texts.map((text) => (isEmpty(text) ? nothing : generations.shift()!));
    for (const [index, { truncated }] of answers.entries()) {
      if (truncated) stderr.write(cutMessage(line === undefined ? line : line + index));
    }
    await output.write(answers.map(render).join(''));
  }
  return answer;
}

function watcher(
  model: MaskPredict,
  generateOptions: GenerateOptions,
  { stdout, stderr, environment }: Surroundings,
): Answer {
  const output = new Output(stdout);
  const view = {
    colours: wantsColours(stdout, environment),
    iterations: generateOptions.iterations ?? 10,
    lengthPredicted: generateOptions.length === 'predict',
  };
  let explained = false;
  return async ([text], line) => {
    if (!explained) await output.write(legend(view.colours));
    explained = true;
    if (isEmpty(text!)) return output.write('\n');
    const separator = line === undefined ? '\n' : `\n${line}:\n`;
    await output.write(separator);
    try {
      const steps = model.refine(text!, generateOptions);
      const { truncated } = await showRefinement(steps, view, (lines) => output.write(lines));
      if (truncated) stderr.write(cutMessage(line));
    } catch (error) {
      throw isAboutTexts(error) ? at(line, error) : error;
    }
  };
}

/** The answer to an empty line. */
const nothing: Generation = {
  text: '',
  tokens: new Int32Array(),
  tokenScores: new Float32Array(),
  score: NaN,
  length: 0,
  iterations: 0,
  truncated: false,
  timings: { tokenize: 0, queue: 0, encode: 0, decode: 0, total: 0 },
};

function isEmpty(text: string): boolean {
  return text.trim() === '';
}

/** One line, whatever pieces a model has. */
function renderText({ text }: Generation): string {
  return `${text.replace(/[\r\n]+/g, ' ')}\n`;
}

function renderJson(generation: Generation): string {
  const { text, score, length, tokens, tokenScores, candidates, iterations, truncated, timings } =
    generation;
  return `${JSON.stringify({
    text,
    score,
    length,
    tokens: [...tokens],
    tokenScores: [...tokenScores],
    candidates,
    iterations,
    truncated,
    timings,
  })}\n`;
}

function isAboutTexts(error: unknown): error is MaskPredictError {
  return (
    error instanceof MaskPredictError &&
    (error.code === 'ERR_OUT_OF_MEMORY' || error.code === 'ERR_INVALID_ARGUMENT')
  );
}

function at(line: number | undefined, error: MaskPredictError): MaskPredictError {
  if (line === undefined) return error;
  return new MaskPredictError(error.code, `line ${line}: ${error.message}`, { cause: error });
}

function cutMessage(line: number | undefined): string {
  const where = line === undefined ? 'the text' : `line ${line}`;
  return `mask-predict: ${where} is too long for the model; only its beginning was read\n`;
}
