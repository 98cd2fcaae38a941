/**
 * The command line as a function: runs one command and returns its exit code. Results go to the standard
 * output and nothing else does; messages go to the standard error.
 *
 * 0: done, also when the reader of the output has gone. 1: the command failed. 2: the command line is
 * wrong. 130: stopped by the signal.
 */
import { version } from '../version.js';
import { UsageError } from './arguments.js';
import { ask } from './ask.js';
import { average } from './average.js';
import { choose } from './choose.js';
import { classify } from './classify.js';
import type { Command } from './command.js';
import { convert } from './convert.js';
import { embed } from './embed.js';
import { evaluation } from './eval.js';
import { fill } from './fill.js';
import { generate } from './generate.js';
import { info } from './info.js';
import { length } from './length.js';
import { quantize } from './quantize.js';
import { Output, OutputClosed, type Surroundings } from './output.js';
import { serve } from './serve.js';
import { tokens } from './tokens.js';
import { train } from './train.js';
import { trim } from './trim.js';

const commands: Record<string, Command> = {
  generate,
  choose,
  ask,
  length,
  fill,
  embed,
  classify,
  info,
  quantize,
  convert,
  trim,
  serve,
  train,
  average,
  tokens,
  eval: evaluation,
};

const help = `Usage: mask-predict COMMAND [options]

Text generation with XLM-R that writes all tokens of an answer at once and refines
them in a few passes (Mask-Predict).

Commands:
${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

  mask-predict COMMAND --help   explains a command
  mask-predict --version        prints the version

Examples, with the small models that come with mask-predict:
  mask-predict generate Write the number 4217 in German words.
  mask-predict generate --watch --model translate \\
    'Translate the following text from English to German: Where is my key?'
  mask-predict generate --watch 'Write this French number in digits: dix-neuf'
  mask-predict choose 'Write the number 3 in English words.' two three four

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

export async function run(given: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr, signal } = surroundings;
  const messages = new Output(stderr);
  const [name, ...rest] = given;
  try {
    const text = printed(given);
    if (text !== undefined) await new Output(stdout).write(text);
    else await commandNamed(name).run(rest, surroundings);
    return 0;
  } catch (error) {
    if (signal.aborted) return 130;
    if (error instanceof OutputClosed) return 0;
    // Nobody may be there to read the message either; the exit code still tells.
    await messages.write(message(error, name)).catch(() => {});
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Help or the version, if the arguments ask for it; they need no command. */
function printed(given: readonly string[]): string | undefined {
  const [name] = given;
  const end = given.indexOf('--');
  const options = end === -1 ? given : given.slice(0, end);
  const asksForHelp = options.includes('--help') || options.includes('-h');
  if (name === 'help') return given[1] === undefined ? help : commandNamed(given[1]).help;
  if (name === '--version') return `${version()}\n`;
  if (!asksForHelp) return undefined;
  return name === undefined || name.startsWith('-') ? help : commandNamed(name).help;
}

function commandNamed(name: string | undefined): Command {
  if (name === undefined) throw new UsageError('a command is missing');
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return command;
  const kind = name.startsWith('-') ? 'option' : 'command';
  const names = Object.keys(commands).join(', ');
  throw new UsageError(`there is no ${kind} '${name}' here; the commands are ${names}`);
}

function message(error: unknown, name: string | undefined): string {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof UsageError) {
    const command = name !== undefined && Object.hasOwn(commands, name) ? `${name} ` : '';
    return `mask-predict: ${text}\nTry 'mask-predict ${command}--help'.\n`;
  }
  const code = (error as { code?: unknown } | null)?.code;
  return `mask-predict: ${text}${typeof code === 'string' ? ` (${code})` : ''}\n`;
}
