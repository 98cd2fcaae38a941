/**
 * Which way each prompt is asked: with a length, written or chosen, and why. Section 5.1's rule is kept here: where the
 * answers to choose among do not have the same number of tokens, a length that is given would decide between them.
 */
import { invalidArgument } from '../../errors.js';
import type { LengthOption } from '../../text/generation.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import type { TaskExample } from '../tasks/examples.js';
import type { Prompt } from '../tasks/prompts.js';
import { hasFixedLabels, labelsOf } from '../tasks/template.js';

/** Where an answer's length comes from; `gold` is that of the first right answer. */
export type EvaluationLength = LengthOption | 'gold';

/** @internal A prompt and a way to ask it. */
export interface Plan {
  /** With its name. */
  prompt: Prompt & { name: string };
  answer: 'generate' | 'choose';
  length: EvaluationLength;
  /** In records and tables: `predicted`, `gold`, `1 token`, `3 candidates`, `3 candidates, weight 1`, `chosen`. */
  way: string;
  /** True if it counts in the mean over prompts; false if it is only shown beside another way. */
  counts: boolean;
  notes: string[];
}

/** @internal */
export interface PlanSettings {
  answer: 'generate' | 'choose';
  /** Undefined: as section 4.2 does, that of the labels for classification, else predicted. */
  length: EvaluationLength | undefined;
}

/** @internal */
export function plansOf(
  prompts: readonly Prompt[],
  examples: readonly TaskExample[],
  tokenizer: Tokenizer,
  settings: PlanSettings,
): Plan[] {
  return namedPrompts(prompts).flatMap((prompt) => {
    const lengths = lengthsOf(prompt, examples, tokenizer);
    const notes = prompt.note === undefined ? [] : [prompt.note];
    const plan = (answer: Plan['answer'], length: EvaluationLength, ...more: string[]): Plan => ({
      prompt,
      answer,
      length,
      way: answer === 'choose' ? 'chosen' : wayOf(length),
      counts: true,
      notes: [...notes, ...more],
    });
    if (settings.answer === 'generate') return [written(prompt, lengths, settings.length, plan)];
    if (settings.length !== undefined) {
      throw invalidArgument(
        'a length is for answers that are written: choose has those of the labels',
      );
    }
    if (lengths === undefined) {
      throw invalidArgument(
        `prompt ${prompt.name} has no labels to choose among: generate its answers`,
      );
    }
    if (lengths.alike !== undefined) return [plan('choose', lengths.alike)];
    const refused = `choose is refused, because ${lengths.unlike}: the length would decide (section 5.1)`;
    return [
      plan(
        'generate',
        'predict',
        `${refused}; the answer is written, with predicted and with gold length`,
      ),
      { ...plan('generate', 'gold', goldTells), counts: false },
    ];
  });
}

const goldTells = 'the gold length tells the answer where lengths differ';

/** With their numbers for names. @internal */
export function namedPrompts(prompts: readonly Prompt[]): (Prompt & { name: string })[] {
  return prompts.map((prompt, i) => ({ ...prompt, name: prompt.name ?? String(i + 1) }));
}

function written(
  prompt: Prompt & { name: string },
  lengths: LabelLengths | undefined,
  length: EvaluationLength | undefined,
  plan: (answer: 'generate', length: EvaluationLength, ...notes: string[]) => Plan,
): Plan {
  if (length === undefined) {
    if (lengths?.alike === undefined) return plan('generate', 'predict');
    return plan(
      'generate',
      lengths.alike,
      'the length of the labels, which have the same (section 5.1)',
    );
  }
  if (lengths === undefined || length === 'predict' || isCandidates(length)) {
    return plan('generate', length);
  }
  if (lengths.alike !== undefined) {
    const never = typeof length === 'number' && length !== lengths.alike;
    return plan(
      'generate',
      length,
      ...(never ? [`no label has ${length} tokens, all have ${lengths.alike}`] : []),
    );
  }
  if (length === 'gold' && !hasFixedLabels(prompt)) return plan('generate', length, goldTells);
  throw invalidArgument(
    `prompt ${prompt.name}: ${lengths.unlike}, so a given length would decide between them (section 5.1): ` +
      'predict the length, or take labels with as many tokens, as the paper took Yes and No for True and False',
  );
}

function isCandidates(length: EvaluationLength): boolean {
  return typeof length === 'object';
}

function wayOf(length: EvaluationLength): string {
  if (length === 'predict') return 'predicted';
  if (length === 'gold') return 'gold';
  if (typeof length === 'number') return `${length} token${length === 1 ? '' : 's'}`;
  const { candidates, weight } = length;
  return `${candidates} candidates${weight === undefined ? '' : `, weight ${weight}`}`;
}

/** The number of tokens that all labels have, or what says that they have not. */
interface LabelLengths {
  alike?: number;
  unlike?: string;
}

function lengthsOf(
  prompt: Prompt,
  examples: readonly TaskExample[],
  tokenizer: Tokenizer,
): LabelLengths | undefined {
  if (!prompt.labels) return undefined;
  let alike: number | undefined;
  for (const { fields, id } of hasFixedLabels(prompt) ? examples.slice(0, 1) : examples) {
    const labels = labelsOf(prompt, fields)!;
    const lengths = labels.map((label) => tokensOf(tokenizer, label));
    alike ??= lengths[0]!;
    if (lengths.every((length) => length === alike)) continue;
    const list = labels.map((label, i) => `"${label}" has ${lengths[i]}`).join(', ');
    return { unlike: `labels differ in tokens (${id}: ${list})` };
  }
  return { alike: alike! };
}

/** Without `<s>` and `</s>`. @internal */
export function tokensOf(tokenizer: Tokenizer, text: string): number {
  return tokenizer.encode(text).ids.length - 2;
}
