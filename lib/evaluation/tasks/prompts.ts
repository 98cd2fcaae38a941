/**
 * The prompts of every task. Those of the paper are Table 7's, word for word; for the tasks of its appendix A.4 it prints
 * none, and these are this project's own (`promptsFrom` in tasks.ts says so, and every report).
 *
 * `{{name}}` stands for a field of an example. Which fields a task has is said in tasks.ts. A prompt is named by its
 * number in the table.
 */

/** A way to ask for the answer to an example. */
export interface Prompt {
  /** In reports and of `only`. Default: its number. */
  name?: string;
  /** The instruction. */
  template: string;
  /** The right answer; one that is a field alone may have several texts, which are then several references. */
  answer: string;
  /** The answers there are, for tasks with few of them. */
  labels?: readonly string[];
  /**
   * Where the paper prints two versions in one (`effect/cause`): the words as printed, and what stands for them by the
   * example's field `question`, which is `effect` or `cause`.
   */
  either?: { printed: string; effect: string; cause: string };
  /** A remark that reports print. */
  note?: string;
}

const xnli = { answer: '{{label}}', labels: ['Yes', 'No', 'Maybe'] };
/** The options are named as in Table 19, `- A: … - B: …`, and the answer is the letter. */
const xcopa = { answer: '{{letter}}', labels: ['A', 'B'] };
/** About the first candidate alone, as the prompt says. */
const isIt = { answer: '{{first}}', labels: ['Yes', 'No'] };
const which = { answer: '{{right}}', labels: ['{{o1}}', '{{o2}}'] };
const translated = { answer: '{{target}}' };

/** Table 7. @internal */
export const paperPrompts = {
  xnli: [
    { template: 'Suppose {{p}} Can we infer that "{{h}}"? Yes, no, or maybe?', ...xnli },
    { template: '{{p}} Are we justified in saying that "{{h}}"? Yes, no, or maybe?', ...xnli },
    {
      template: 'Given that {{p}} Does it follow that "{{h}}"? Yes, no, or maybe?',
      ...xnli,
      note: 'the paper prints it without the braces of its fields',
    },
    {
      template: 'Given that {{p}} Therefore, it must be true that "{{h}}"? Yes, no, or maybe?',
      ...xnli,
    },
    {
      template: '{{p}} Based on the previous passage, is it true that "{{h}}"? Yes, no, or maybe?',
      ...xnli,
    },
  ],
  xcopa: [
    {
      template: '{{p}} Select the most plausible effect/cause: {{o1}} {{o2}}',
      either: { printed: 'effect/cause', effect: 'effect', cause: 'cause' },
      ...xcopa,
    },
    {
      template:
        '{{p}} As a consequence.../This happened because... Help me pick the more plausible option: {{o1}} {{o2}}',
      either: {
        printed: 'As a consequence.../This happened because...',
        effect: 'As a consequence...',
        cause: 'This happened because...',
      },
      ...xcopa,
    },
    {
      template:
        '{{p}} I am hesitating between two options. Help me choose the best effect/cause: {{o1}} {{o2}}',
      either: { printed: 'effect/cause', effect: 'effect', cause: 'cause' },
      ...xcopa,
    },
    {
      template: '{{p}} We are looking for an effect/cause, what is the best option? {{o1}} {{o2}}',
      either: { printed: 'an effect/cause', effect: 'an effect', cause: 'a cause' },
      ...xcopa,
      note: 'for a cause it reads "a cause"',
    },
    {
      template: '{{o1}} {{o2}} {{p}} because/so:',
      either: { printed: 'because/so', effect: 'so', cause: 'because' },
      ...xcopa,
    },
  ],
  xwinograd: [
    { template: '{{p}} The _ in the sentence above refers to {{o1}} Yes or No?', ...isIt },
    {
      template: '{{p}} What does the _ in the above sentence refer to? {{o1}} or {{o2}}?',
      ...which,
    },
    {
      template: '{{p}} The _ in the sentence above refers to {{o1}} Yes or No?',
      ...isIt,
      note: 'the paper prints prompt 1 again here, though their scores differ in its Table 8',
    },
    {
      template: 'What does the _ stand for in the below sentence? {{p}} {{o1}} or {{o2}}',
      ...which,
    },
    {
      template:
        '{{p}} Replace the _ in the above sentence with the correct option: {{o1}} or {{o2}}',
      ...which,
    },
  ],
  translation: [
    { template: 'A text in {{src}}: {{Source}} The same text in {{tgt}}', ...translated },
    {
      template: 'Translate the following text from {{src}} to {{tgt}}: {{Source}}',
      ...translated,
    },
    { template: '{{Source}} Here is the same text in {{tgt}}:', ...translated },
    {
      template: '{{Source}} The previous text is in {{src}} Here is the same text in {{tgt}}:',
      ...translated,
    },
    {
      template: 'Text in {{src}}: {{Source}} Translation of the previous text to {{tgt}}:',
      ...translated,
    },
  ],
} satisfies Record<string, readonly Prompt[]>;

/** Not the paper's. @internal */
export const ownPrompts = {
  xsum: [
    { template: '{{source}} Summarize the text above in one sentence:', answer: '{{target}}' },
  ],
  gigaword: [{ template: '{{source}} Write a headline for the text above:', answer: '{{target}}' }],
  'wiki-auto': [{ template: 'Simplify the following sentence: {{source}}', answer: '{{target}}' }],
  qqp: [
    { template: 'Ask the following question in other words: {{source}}', answer: '{{target}}' },
  ],
  commongen: [
    { template: 'Write a sentence with the following words: {{source}}', answer: '{{target}}' },
  ],
  personachat: [
    {
      template: '{{persona}} Write the next answer in this conversation: {{history}}',
      answer: '{{target}}',
    },
  ],
  fever: [
    {
      template: 'Is the following claim true? {{claim}} Yes, no, or maybe?',
      answer: '{{label}}',
      labels: ['Yes', 'No', 'Maybe'],
    },
  ],
  'sst-2': [
    {
      template: '{{text}} Is the text above positive? Yes or no?',
      answer: '{{label}}',
      labels: ['Yes', 'No'],
    },
  ],
  'poem-sentiment': [
    {
      template:
        '{{text}} Which is the sentiment of this verse? - A: negative - B: positive - C: neutral - D: mixed',
      answer: '{{label}}',
      labels: ['A', 'B', 'C', 'D'],
    },
  ],
  lambada: [{ template: 'Write the next word of this text: {{source}}', answer: '{{target}}' }],
  options: [
    {
      template: '{{question}} - A: {{o1}} - B: {{o2}} - C: {{o3}} - D: {{o4}}',
      answer: '{{letter}}',
      labels: ['A', 'B', 'C', 'D'],
    },
  ],
} satisfies Record<string, readonly Prompt[]>;
