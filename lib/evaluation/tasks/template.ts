/** Templates: `{{name}}` stands for the field of that name. */
import { invalidArgument, shown } from '../../errors.js';
import type { Prompt } from './prompts.js';

/** The fields of an example: texts, or lists of them. */
export interface Fields {
  [name: string]: string | readonly string[];
}

const placeholder = /\{\{\s*([\w-]+)\s*\}\}/g;

/** The instruction that a prompt makes of an example. @internal */
export function instructionOf({ template, either }: Prompt, fields: Fields): string {
  if (!either) return rendered(template, fields);
  const { question } = fields;
  if (question !== 'effect' && question !== 'cause') {
    throw invalidArgument(`the field question must be effect or cause, not ${shown(question)}`);
  }
  // A function, because a replacement text has signs of its own ($&).
  return rendered(
    template.replace(either.printed, () => either[question]),
    fields,
  );
}

/** The right answers, several where the answer is a field with several texts. @internal */
export function answersOf({ answer }: Prompt, fields: Fields): readonly string[] {
  const [, alone] = /^\{\{\s*([\w-]+)\s*\}\}$/.exec(answer) ?? [];
  const value = alone === undefined ? undefined : fields[alone];
  return Array.isArray(value) ? value : [rendered(answer, fields)];
}

/** The answers there are, or undefined for a prompt that takes any. @internal */
export function labelsOf({ labels }: Prompt, fields: Fields): string[] | undefined {
  return labels?.map((label) => rendered(label, fields));
}

/** True if all examples have the same labels. @internal */
export function hasFixedLabels({ labels }: Prompt): boolean {
  return labels !== undefined && !labels.some((label) => label.includes('{{'));
}

/** A list is written with commas. */
function rendered(template: string, fields: Fields): string {
  return template.replace(placeholder, (_, name: string) => {
    const value = Object.hasOwn(fields, name) ? fields[name]! : undefined;
    if (value === undefined) {
      throw invalidArgument(
        `the prompt ${shown(template)} asks for a field ${name}; the examples have ${Object.keys(fields).join(', ')}`,
      );
    }
    return typeof value === 'string' ? value : value.join(', ');
  });
}
