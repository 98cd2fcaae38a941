/** The options of a generation as JSON, and as the API takes them. */
import type { GenerateOptions, LengthOption } from '../text/mask-predict.js';
import type { RemaskRule, StopRule } from '../token/engine-options.js';
import { limitError } from './errors.js';
import type { Limits } from './limits.js';

export interface TextOptionsBody {
  parseSpecial?: boolean;
  overflow?: 'truncate' | 'error';
  priority?: number;
  deadline?: number;
}

export interface GenerateOptionsBody extends TextOptionsBody {
  iterations?: number;
  length?: LengthOption;
  sampling?: { seed: number };
  stop?: StopRule;
  remask?: RemaskRule;
}

export const textOptionsSchema = {
  parseSpecial: { type: 'boolean' },
  overflow: { enum: ['truncate', 'error'] },
  priority: { type: 'integer' },
  deadline: { type: 'integer' },
};

export const seedSchema = {
  type: 'integer',
  minimum: Number.MIN_SAFE_INTEGER,
  maximum: Number.MAX_SAFE_INTEGER,
};

/**
 * Keywords of a schema apply to values of their own type only, which is how those of several types are meant. The model
 * checks whatever it alone can know, such as the lengths it has, and the members of `length`, `stop` and `remask`.
 */
export function generateOptionsSchema({ iterations, texts }: Limits) {
  return {
    ...textOptionsSchema,
    iterations: { type: 'integer', minimum: 1, maximum: iterations },
    length: {
      type: ['integer', 'string', 'object'],
      minimum: 1,
      required: ['candidates'],
      properties: {
        candidates: { type: 'integer', minimum: 1, maximum: texts },
        weight: { type: 'number', minimum: 0 },
      },
      additionalProperties: false,
    },
    stop: { type: ['string', 'object'] },
    remask: { type: 'object' },
    sampling: {
      type: 'object',
      required: ['seed'],
      properties: { seed: seedSchema },
      additionalProperties: false,
    },
  };
}

/** The API's own defaults, but not more passes than the server allows. */
export function generateOptions(
  body: GenerateOptionsBody,
  limits: Limits,
  signal: AbortSignal,
): GenerateOptions {
  return { iterations: Math.min(10, limits.iterations), ...body, signal };
}

/** Every prompt is written once per length candidate. */
export function checkTexts(prompts: number, length: LengthOption | undefined, limits: Limits) {
  const candidates = typeof length === 'object' ? length.candidates : 1;
  if (prompts * candidates > limits.texts) {
    throw limitError(
      `${prompts} prompts with ${candidates} length candidates each are more than the ` +
        `${limits.texts} texts a request may have written; send several requests`,
    );
  }
}
