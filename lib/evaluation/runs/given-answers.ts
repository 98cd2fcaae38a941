/**
 * Another system's answers: lines of text, an answer to each example in the order of the data, or JSON lines with a
 * field `answer`; those that have `prompt` and `id` as well, such as the answers of an evaluation, are found by them.
 */
import { invalidArgument, shown } from '../../errors.js';
import { formatOf, readRows } from '../tasks/rows.js';
import type { TaskExample } from '../tasks/examples.js';
import type { Prompt } from '../tasks/prompts.js';
import { answersOf, instructionOf } from '../tasks/template.js';
import type { AnswerRecord } from './answer-log.js';

const way = 'given';

/** @internal */
export async function givenAnswers(
  file: string,
  prompts: readonly (Prompt & { name: string })[],
  examples: readonly TaskExample[],
): Promise<AnswerRecord[]> {
  const format = formatOf(file) === 'jsonl' ? 'jsonl' : 'text';
  const rows = await readRows(file, format, undefined, new Set());
  const answers = rows.map(({ row, place }) => {
    const answer = row[format === 'text' ? 'text' : 'answer'];
    if (typeof answer === 'string') return { ...row, answer, place } as Given;
    throw invalidArgument(`${place} an answer is { "answer": text }, not ${shown(answer)}`);
  });
  const named = answers.length > 0 && answers.every(({ id }) => id !== undefined);
  return named
    ? byName(file, answers, prompts, examples)
    : inOrder(file, answers, prompts, examples);
}

interface Given {
  answer: string;
  place: string;
  prompt?: unknown;
  id?: unknown;
}

function inOrder(
  file: string,
  answers: readonly Given[],
  prompts: readonly (Prompt & { name: string })[],
  examples: readonly TaskExample[],
): AnswerRecord[] {
  if (prompts.length > 1) {
    throw invalidArgument(
      `${file} has answers without prompts and there are ${prompts.length} prompts: name the one they answer`,
    );
  }
  if (answers.length !== examples.length) {
    throw invalidArgument(
      `${file} has ${answers.length} answers and the data ${examples.length} examples: one for each is needed`,
    );
  }
  return examples.map((example, i) => recordOf(prompts[0]!, example, answers[i]!.answer));
}

function byName(
  file: string,
  answers: readonly Given[],
  prompts: readonly (Prompt & { name: string })[],
  examples: readonly TaskExample[],
): AnswerRecord[] {
  const only = prompts.length === 1 ? prompts[0]!.name : undefined;
  const key = (prompt: unknown, id: unknown) => JSON.stringify([prompt ?? only, id]);
  const found = new Map<string, string>();
  for (const { prompt, id, answer, place } of answers) {
    if (found.has(key(prompt, id))) {
      throw invalidArgument(`${place} there is an answer to this prompt and example already`);
    }
    found.set(key(prompt, id), answer);
  }
  return prompts.flatMap((prompt) =>
    examples.map((example) => {
      const answer = found.get(key(prompt.name, example.id));
      if (answer !== undefined) return recordOf(prompt, example, answer);
      throw invalidArgument(`${file} has no answer to ${example.id} under prompt ${prompt.name}`);
    }),
  );
}

function recordOf(
  prompt: Prompt & { name: string },
  example: TaskExample,
  answer: string,
): AnswerRecord {
  return {
    prompt: prompt.name,
    way,
    group: example.group,
    id: example.id,
    source: instructionOf(prompt, example.fields),
    answer,
    gold: answersOf(prompt, example.fields),
  };
}
