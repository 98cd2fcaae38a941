/**
 * A text on its way through Mask-Predict, for people: one line per pass, then the answer.
 *
 *     2/4   23%  sechstausend‹sechstausendsech›ig
 *
 * is pass 2 of 4, whose least certain token has a probability of 23 %, and of whose three tokens the second
 * is masked again and predicted anew in the next pass. Colours say the same: from red (unlikely) to green
 * (certain), and reversed where a token is masked again. Without colours it is marked ‹so›.
 */
import type { Generation, RefinedToken, RefinementStep } from './generation.js';

export type Write = (text: string) => Promise<void>;

export interface ViewOptions {
  colours: boolean;
  /** T, as asked. */
  iterations: number;
  /** True if the model chose the length. */
  lengthPredicted: boolean;
}

/** Below these probabilities: red, orange, yellow, olive; else green. Legible on black and on white. */
const scale = [
  { below: 0.2, colour: 160 },
  { below: 0.4, colour: 172 },
  { below: 0.6, colour: 178 },
  { below: 0.8, colour: 106 },
  { below: Infinity, colour: 34 },
];

/**
 * True if the view may write colours: `FORCE_COLOR` decides (`0` or `false`: none), then `NO_COLOR`, then the stream,
 * which must be a terminal with colours.
 */
export function wantsColours(stream: { isTTY?: boolean }, environment: NodeJS.ProcessEnv): boolean {
  const { FORCE_COLOR: force, NO_COLOR: none, TERM: terminal } = environment;
  if (force !== undefined) return force !== '0' && force !== 'false';
  if (none !== undefined && none !== '') return false;
  return stream.isTTY === true && terminal !== 'dumb';
}

/** The legend of a view. */
export function legend(colours: boolean): string {
  const masked = colours ? reversed(' like this ') : '‹like this›';
  const certainty = colours
    ? `, coloured by probability: ${scale.map(({ colour }) => coloured('■', colour)).join('')} 0 to 100 %`
    : '';
  return (
    `Each line is one pass over the whole text: its number, the probability of its least certain\n` +
    `token, and its tokens${certainty}.\n` +
    `Tokens ${masked} are masked again and predicted anew in the next pass.\n`
  );
}

/** Writes each pass as it happens, then the answer; returns it. */
export async function showRefinement(
  steps: AsyncGenerator<RefinementStep, Generation, void>,
  options: ViewOptions,
  write: Write,
): Promise<Generation> {
  try {
    for (;;) {
      const { value, done } = await steps.next();
      if (done) {
        await write(renderAnswer(value, options));
        return value;
      }
      await write(renderStep(value, options));
    }
  } finally {
    // Where a write failed: the generator still holds the encoded source.
    await steps.return(undefined as never);
  }
}

/** The line of one pass. */
export function renderStep(
  step: RefinementStep,
  { colours, iterations }: Pick<ViewOptions, 'colours' | 'iterations'>,
): string {
  const number = `${step.iteration}/${iterations}`.padStart(5);
  const least = Math.min(...step.tokens.map(probability));
  const render = colours ? renderColoured : renderPlain;
  const tokens = step.tokens.map((token, index) => render(token, index === 0)).join('');
  return `${number} ${percent(least).padStart(5)}  ${tokens}\n`;
}

/** The answer, and what it took. */
export function renderAnswer(
  generation: Generation,
  { colours, iterations, lengthPredicted }: ViewOptions,
): string {
  const { text, length, timings } = generation;
  const tokens = length === 1 ? '1 token' : `${length} tokens`;
  const passes = `${generation.iterations} of ${iterations} passes`;
  const times = (['tokenize', 'encode', 'decode'] as const)
    .map((phase) => `${phase} ${timings[phase].toFixed(1)} ms`)
    .join(', ');
  const details = `${tokens}, ${lengthPredicted ? 'as predicted' : 'as given'}; ${passes}; ${times}`;
  return (
    `    =        ${colours ? `\x1b[1m${visible(text)}\x1b[22m` : visible(text)}\n` +
    `             ${colours ? `\x1b[2m${details}\x1b[22m` : details}\n`
  );
}

function renderColoured(token: RefinedToken, first: boolean): string {
  const { space, word } = spaced(token, first);
  const { colour } = scale.find(({ below }) => probability(token) < below)!;
  const shown = word && coloured(word, colour);
  return space + (token.masked ? reversed(shown) : shown);
}

function renderPlain(token: RefinedToken, first: boolean): string {
  const { space, word } = spaced(token, first);
  return space + (token.masked ? `‹${word}›` : word);
}

/** A piece as it stands in the text; a piece that is nothing but a space stays visible while masked. */
function spaced({ piece, masked }: RefinedToken, first: boolean): { space: string; word: string } {
  if (piece === '▁' && masked) return { space: '', word: '▁' };
  const begins = piece.startsWith('▁');
  const word = visible((begins ? piece.slice(1) : piece).replaceAll('▁', ' '));
  return { space: begins && !first ? ' ' : '', word };
}

/** Control characters of a model's vocabulary must not reach the terminal. */
function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, '\ufffd');
}

function probability(token: RefinedToken): number {
  return Math.exp(token.score);
}

function percent(fraction: number): string {
  return `${Math.round(100 * fraction)}%`;
}

function coloured(text: string, colour: number): string {
  return `\x1b[38;5;${colour}m${text}\x1b[39m`;
}

function reversed(text: string): string {
  return `\x1b[7m${text}\x1b[27m`;
}
