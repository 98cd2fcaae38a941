/**
 * The tasks: which columns of which published form are which field, how an answer is judged, and what is special. A task
 * of one's own is the same in a JSON file (`task-file.ts`), but for `read`.
 */
import type { Measure } from '../runs/measures.js';
import { lastWordTask, letterOf, optionsTask } from './question-forms.js';
import { ownPrompts, paperPrompts, type Prompt } from './prompts.js';
import type { Fields } from './template.js';
import { readTranslation } from './translation.js';
import { readXWinograd } from './xwinograd.js';

/** One row of a file: what stands in each column. */
export type Row = Readonly<Record<string, unknown>>;

export interface Task {
  name: string;
  title: string;
  prompts: readonly Prompt[];
  /** `'paper'` if the paper prints the prompts (Table 7), else `'own'`. */
  promptsFrom: 'paper' | 'own';
  /**
   * The columns that a field may be in, by the field's name; the first that a row has is taken. A name with `?` at its
   * end need not be there. Without `columns` every column is a field of its own name.
   */
  columns?: Readonly<Record<string, readonly string[]>>;
  /** The meaning of each value, by field; null leaves the example out. Values that are not listed are errors. */
  values?: Readonly<Record<string, Readonly<Record<string, string | null>>>>;
  /** The columns of a TSV file without a line of names. */
  tsv?: readonly string[];
  /** Makes the fields of a row that has not one field in each column; null leaves it out. Throws what is wrong with it. */
  read?: (fields: Readonly<Record<string, unknown>>, context: ReadingContext) => Fields | null;
  /** The field by which examples that follow one another are one, with several answers in `target`. */
  merge?: string;
  /** The first one is the main one. */
  measures: readonly Measure[];
  /** Groups (languages) that the paper reports apart because xP3 has no such data. */
  heldOut?: readonly string[];
  /** The groups are pairs of languages, `en-de`. */
  pairs?: boolean;
  /** Published forms that nobody here had a file of. */
  untried?: string;
}

/** The context in which a row is read. */
export interface ReadingContext {
  /** A language, or a pair of languages such as `en-de`. */
  group: string;
}

const inference = {
  '0': 'Yes',
  '1': 'Maybe',
  '2': 'No',
  entailment: 'Yes',
  neutral: 'Maybe',
  contradiction: 'No',
  contradictory: 'No',
  '-': null,
  '-1': null,
};

const sourceAndTarget = (source: readonly string[], target: readonly string[]) => ({
  source: [...source, 'source', 'src', 'text'],
  target: [...target, 'references', 'target', 'tgt', 'trg'],
});

/** @internal */
export const tasks: readonly Task[] = [
  {
    name: 'xnli',
    title: 'XNLI',
    prompts: paperPrompts.xnli,
    promptsFrom: 'paper',
    columns: {
      p: ['premise', 'sentence1'],
      h: ['hypothesis', 'sentence2'],
      label: ['label', 'gold_label'],
      'group?': ['language', 'lang'],
    },
    values: { label: inference },
    measures: ['accuracy'],
    heldOut: ['bg', 'de', 'el', 'ru', 'th', 'tr'],
    untried: 'xnli.test.tsv and .jsonl, and the parquet files with premise, hypothesis, label',
  },
  {
    name: 'xcopa',
    title: 'XCOPA',
    prompts: paperPrompts.xcopa,
    promptsFrom: 'paper',
    columns: {
      p: ['premise'],
      c1: ['choice1'],
      c2: ['choice2'],
      question: ['question'],
      label: ['label'],
    },
    read: ({ p, c1, c2, question, label }) => ({
      p: p as string,
      o1: `- A: ${c1 as string}`,
      o2: `- B: ${c2 as string}`,
      question: question as string,
      letter: letterOf(label, 2),
    }),
    measures: ['accuracy'],
    heldOut: ['et', 'ht', 'it', 'qu', 'th', 'tr'],
  },
  {
    name: 'xwinograd',
    title: 'XWinograd',
    prompts: paperPrompts.xwinograd,
    promptsFrom: 'paper',
    columns: {
      sentence: ['sentence'],
      'tokens?': ['tokens'],
      'pronoun?': ['pronoun'],
      'candidates?': ['candidates'],
      'o1?': ['option1'],
      'o2?': ['option2'],
      'answer?': ['answer'],
      'group?': ['language', 'lang'],
    },
    tsv: ['language', 'source', 'original', 'sentence', 'tokens', 'pronoun', 'candidates'],
    read: readXWinograd,
    measures: ['accuracy'],
    heldOut: ['jp', 'ru'],
    untried: 'rows with sentence, option1, option2, answer',
  },
  {
    name: 'translation',
    title: 'Translation',
    prompts: paperPrompts.translation,
    promptsFrom: 'paper',
    columns: {
      'Source?': ['source', 'src', 'text'],
      'target?': ['references', 'reference', 'target', 'tgt', 'ref'],
      'translation?': ['translation'],
    },
    tsv: ['source', 'target'],
    read: readTranslation,
    pairs: true,
    measures: ['bleu', 'chrf'],
    untried: 'parquet files with a column translation',
  },
  {
    name: 'xsum',
    title: 'XSum',
    prompts: ownPrompts.xsum,
    promptsFrom: 'own',
    columns: sourceAndTarget(['document'], ['summary']),
    measures: ['rouge1', 'rougeL'],
    untried: 'all',
  },
  {
    name: 'gigaword',
    title: 'Gigaword',
    prompts: ownPrompts.gigaword,
    promptsFrom: 'own',
    columns: sourceAndTarget(['document', 'article'], ['summary', 'title']),
    measures: ['rouge1', 'rougeL'],
    untried: 'all',
  },
  {
    name: 'wiki-auto',
    title: 'WIKI-AUTO',
    prompts: ownPrompts['wiki-auto'],
    promptsFrom: 'own',
    columns: sourceAndTarget(['normal_sentence'], ['simple_sentence']),
    measures: ['bleu2', 'distinct2'],
    untried: 'all',
  },
  {
    name: 'qqp',
    title: 'QQP',
    prompts: ownPrompts.qqp,
    promptsFrom: 'own',
    columns: {
      ...sourceAndTarget(['question1'], ['question2']),
      'same?': ['is_duplicate', 'label'],
    },
    read: ({ source, target, same }) =>
      same === undefined || String(same) === '1' || same === true
        ? { source: source as string, target: target as string }
        : null,
    measures: ['bleu2', 'distinct2'],
    untried: 'all; only pairs that ask the same are taken',
  },
  {
    name: 'commongen',
    title: 'COMMONGEN',
    prompts: ownPrompts.commongen,
    promptsFrom: 'own',
    columns: { ...sourceAndTarget(['concepts'], []), 'key?': ['concept_set_idx'] },
    merge: 'key',
    measures: ['bleu2', 'distinct2'],
    untried: 'all',
  },
  {
    name: 'personachat',
    title: 'PersonaChat',
    prompts: ownPrompts.personachat,
    promptsFrom: 'own',
    columns: {
      'persona?': ['personality', 'persona'],
      history: ['history', 'source', 'src', 'text'],
      target: ['candidates', 'references', 'target', 'tgt'],
    },
    read: ({ persona, history, target }) => ({
      persona: joined(persona),
      history: joined(history),
      // The last candidate is the one that was said.
      target: Array.isArray(target) ? (target.at(-1) as string) : (target as string),
    }),
    measures: ['bleu2', 'distinct2'],
    untried: 'all',
  },
  {
    name: 'fever',
    title: 'FEVER',
    prompts: ownPrompts.fever,
    promptsFrom: 'own',
    columns: { claim: ['claim'], label: ['label'] },
    values: { label: { SUPPORTS: 'Yes', REFUTES: 'No', 'NOT ENOUGH INFO': 'Maybe' } },
    measures: ['accuracy'],
    untried: 'all',
  },
  {
    name: 'sst-2',
    title: 'SST-2',
    prompts: ownPrompts['sst-2'],
    promptsFrom: 'own',
    columns: { text: ['sentence'], label: ['label'] },
    values: { label: { '0': 'No', '1': 'Yes' } },
    measures: ['accuracy'],
    untried: 'all',
  },
  {
    name: 'poem-sentiment',
    title: 'Poem sentiment',
    prompts: ownPrompts['poem-sentiment'],
    promptsFrom: 'own',
    columns: { text: ['verse_text'], label: ['label'] },
    values: { label: { '0': 'A', '1': 'B', '2': 'C', '3': 'D' } },
    measures: ['accuracy'],
    untried: 'all',
  },
  {
    name: 'lambada',
    title: 'LAMBADA',
    prompts: ownPrompts.lambada,
    promptsFrom: 'own',
    columns: { text: ['text'] },
    read: lastWordTask,
    measures: ['accuracy'],
    untried: 'all',
  },
  {
    name: 'options',
    title: 'Four options',
    prompts: ownPrompts.options,
    promptsFrom: 'own',
    columns: {
      question: ['question', 'question_stem'],
      options: ['choices', 'options'],
      label: ['answer', 'answerKey', 'label'],
    },
    read: optionsTask,
    measures: ['accuracy'],
    untried: 'all',
  },
];

function joined(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : ((value as string | undefined) ?? '');
}
