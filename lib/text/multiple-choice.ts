/**
 * A multiple-choice question as ModernBERT-Large-Instruct was trained on them: an instruction, the question, the choices
 * under letters, and one mask that stands for the letter of the answer. A letter counts with the space before it and
 * without.
 */
import { invalidArgument } from '../errors.js';
import { Reading } from './reading.js';
import { textOptions, type TextOptions, type TextReader } from './text.js';
import { Tokenizer, type TextPieces } from './tokenizer.js';

export interface AskOptions extends Omit<TextOptions, 'parseSpecial' | 'overflow'> {
  /** The text before the question. Default: that of the model's card. */
  instruction?: string;
}

/** The choice that answers a question. */
export interface Answer {
  choice: string;
  /** Its place among the choices. */
  index: number;
  /** The probability of every choice; they add up to 1. */
  probabilities: number[];
}

/** @internal */
export const askOptions = [
  ...textOptions.filter((name) => name !== 'parseSpecial' && name !== 'overflow'),
  'instruction',
];

const defaultInstruction = 'You will be given a question and options. Select the right answer.';
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** The unused token that the model was trained to see before the mask. */
const marker = '[unused0]';

/** @internal */
export class MultipleChoice {
  readonly #texts: TextReader;
  readonly #tokenizer: Tokenizer;
  readonly #pieces: TextPieces;

  constructor(texts: TextReader, tokenizer: Tokenizer) {
    this.#texts = texts;
    this.#tokenizer = tokenizer;
    this.#pieces = Tokenizer.pieces(tokenizer);
  }

  reading(question: string, choices: readonly string[], options: AskOptions): Reading<Answer> {
    const list = checkedChoices(choices);
    const { instruction = defaultInstruction } = options;
    for (const [name, text] of Object.entries({ instruction, question })) {
      if (typeof text !== 'string') throw invalidArgument(`the ${name} must be a string`);
    }
    const spellings = list.map((_, index) => this.#spellings(letters[index]!));
    const ids = this.#ids(promptOf(instruction, question, list), options);
    const candidates = spellings.flat().map((id) => Int32Array.of(id));
    return new Reading(ids, { kind: 'score', candidates }, ({ values }) => {
      let next = 0;
      const weights = spellings.map((of) =>
        of.reduce((total) => total + Math.exp(values[next++]!), 0),
      );
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      if (!(total > 0)) {
        throw invalidArgument(
          'no letter of a choice can be written with the ids of this vocabulary',
        );
      }
      const index = weights.indexOf(Math.max(...weights));
      const probabilities = weights.map((weight) => weight / total);
      return { choice: list[index]!, index, probabilities };
    });
  }

  /** The prompt is text, whatever names stand in it; the marker is a token that is not special. */
  #ids(prompt: string, options: AskOptions): Int32Array {
    const { begin, end, mask } = this.#pieces;
    const { ids } = this.#texts.text(prompt, { ...options, overflow: 'error' }, 'the question', 1);
    if (this.#pieces.piece(ids.at(-2)!) !== marker) {
      throw invalidArgument(
        `ask() needs a tokenizer with the token ${marker}, as ModernBERT-Large-Instruct has; ` +
          'choose() and fillMask() with labels need none',
      );
    }
    return Int32Array.of(begin, ...ids.subarray(1, -1), mask, end);
  }

  #spellings(letter: string): number[] {
    return [letter, ` ${letter}`]
      .map((spelling) => this.#tokenizer.encode(spelling).ids)
      .filter((ids) => ids.length === 3)
      .map((ids) => ids[1]!);
  }
}

function checkedChoices(choices: unknown): string[] {
  if (!Array.isArray(choices) || choices.length < 2 || choices.length > letters.length) {
    throw invalidArgument(`choices must be an array of 2 to ${letters.length} strings`);
  }
  // Array.from, not map: a hole is no choice either.
  const list = Array.from(choices as unknown[]);
  const wrong = list.findIndex((choice) => typeof choice !== 'string' || choice.trim() === '');
  if (wrong >= 0) throw invalidArgument(`choice ${wrong} must be a string that is not blank`);
  return list as string[];
}

/** The prompt that `ask` makes of a question, as ModernBERT-Large-Instruct was taught. @internal */
export function promptOf(instruction: string, question: string, choices: string[]): string {
  return [
    instruction,
    `QUESTION: ${question}`,
    'CHOICES:',
    ...choices.map((choice, index) => `- ${letters[index]}: ${choice}`),
    `ANSWER: ${marker}`,
  ].join('\n');
}
