/**
 * XWinograd in the two forms it is published in: the authors' table, where a pronoun is a span of tokens and candidates are
 * JSON, and rows with a sentence that has its `_` already, `option1`, `option2` and `answer` (1 or 2).
 */
import { invalidArgument, shown } from '../../errors.js';
import type { Fields } from './template.js';

type Given = Readonly<Record<string, unknown>>;

/** @internal */
export function readXWinograd(given: Given): Fields {
  return given['candidates'] === undefined ? ofOptions(given) : ofSpans(given);
}

function ofOptions({ sentence, o1, o2, answer }: Given): Fields {
  if (typeof o1 !== 'string' || typeof o2 !== 'string' || !/^[12]$/.test(String(answer))) {
    throw invalidArgument(
      'an example has option1, option2 and answer (1 or 2), or tokens, pronoun and candidates',
    );
  }
  if (!(sentence as string).includes('_')) throw invalidArgument('the sentence has no _');
  return fieldsOf(sentence as string, o1, o2, String(answer) === '1');
}

type Span = [text: string, range: [number, number], tokens: string[]];
type Candidate = [...Span, right: boolean];

function ofSpans({ sentence, tokens, pronoun, candidates }: Given): Fields {
  const list = json('candidates', candidates) as Candidate[];
  const right = Array.isArray(list) ? list.map((candidate) => candidate?.[3]) : [];
  if (right.length !== 2 || right[0] === right[1]) {
    throw invalidArgument('candidates must be two, of which one is right');
  }
  const [text, [first, end]] = json('pronoun', pronoun) as Span;
  const blank = spanOf(sentence as string, json('tokens', tokens) as string[], first, end);
  const whole = sentence as string;
  if (whole.slice(...blank) !== text) {
    throw invalidArgument(`the pronoun ${shown(text)} is not where its tokens are`);
  }
  const withBlank = `${whole.slice(0, blank[0])}_${whole.slice(blank[1])}`;
  return fieldsOf(withBlank, list[0]![0], list[1]![0], right[0] === true);
}

function fieldsOf(p: string, o1: string, o2: string, first: boolean): Fields {
  return { p, o1, o2, first: first ? 'Yes' : 'No', right: first ? o1 : o2 };
}

/** Where tokens `first` … `end` - 1 stand in the text: tokens follow one another, with white space between some. */
function spanOf(text: string, tokens: string[], first: number, end: number): [number, number] {
  let place = 0;
  let begin = 0;
  for (let i = 0; i < end; i++) {
    const token = tokens[i] ?? '';
    const written = [token, ...(token === '``' || token === "''" ? ['"'] : [])];
    const at = Math.min(...written.map((one) => text.indexOf(one, place)).filter((x) => x >= 0));
    if (!Number.isFinite(at))
      throw invalidArgument(`the token ${shown(token)} is not in the sentence`);
    if (i === first) begin = at;
    const length = text.startsWith(token, at) ? token.length : 1;
    place = at + length;
  }
  return [begin, place];
}

function json(name: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    throw invalidArgument(`${name} is not JSON: ${shown(value)}`);
  }
}
