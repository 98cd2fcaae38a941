/**
 * `POST /fill-mask`, `/embed` and `/classify`: what the model's methods of these names do, for one text or for several.
 */
import type { FastifyInstance } from 'fastify';
import type { ClassifyInput } from '../text/classification.js';
import type { Pooling } from '../token/readings.js';
import { textOptionsSchema, type TextOptionsBody } from './generate-schema.js';
import type { Limits } from './limits.js';
import type { Served } from './served.js';

interface FillMaskBody extends Omit<TextOptionsBody, 'parseSpecial'> {
  text: string | string[];
  count?: number;
  labels?: string[];
}

interface EmbedBody extends TextOptionsBody {
  text: string | string[];
  pooling?: Pooling;
  normalize?: boolean;
}

interface ClassifyBody extends TextOptionsBody {
  input: ClassifyInput | ClassifyInput[];
}

export function fillMaskRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const { parseSpecial: _, ...options } = textOptionsSchema;
  const text = { type: 'string', maxLength: limits.characters };
  const body = {
    type: 'object',
    required: ['text'],
    properties: {
      text: oneOrMore(text, limits),
      count: { type: 'integer', minimum: 1, maximum: 1000 },
      labels: { type: 'array', minItems: 1, maxItems: limits.texts, items: text },
      ...options,
    },
    additionalProperties: false,
  };
  app.post<{ Body: FillMaskBody }>('/fill-mask', { schema: { body } }, (request, reply) => {
    const { text, ...options } = request.body;
    return requests.run(reply, async (signal) => {
      const filled = await model.fillMask([text].flat(), { ...options, signal });
      return Array.isArray(text) ? filled : filled[0];
    });
  });
}

export function embedRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const body = {
    type: 'object',
    required: ['text'],
    properties: {
      text: oneOrMore({ type: 'string', maxLength: limits.characters }, limits),
      pooling: { enum: ['mean', 'first'] },
      normalize: { type: 'boolean' },
      ...textOptionsSchema,
    },
    additionalProperties: false,
  };
  app.post<{ Body: EmbedBody }>('/embed', { schema: { body } }, (request, reply) => {
    const { text, ...options } = request.body;
    return requests.run(reply, async (signal) => {
      const vectors = await model.embed([text].flat(), { ...options, signal });
      const plain = vectors.map((vector) => [...vector]);
      return Array.isArray(text) ? plain : plain[0];
    });
  });
}

export function classifyRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const text = { type: 'string', maxLength: limits.characters };
  const input = {
    type: ['string', 'object'],
    maxLength: limits.characters,
    required: ['text', 'pair'],
    properties: { text, pair: text },
    additionalProperties: false,
  };
  const body = {
    type: 'object',
    required: ['input'],
    properties: { input: oneOrMore(input, limits), ...textOptionsSchema },
    additionalProperties: false,
  };
  app.post<{ Body: ClassifyBody }>('/classify', { schema: { body } }, (request, reply) => {
    const { input, ...options } = request.body;
    return requests.run(reply, async (signal) => {
      const classes = await model.classify([input].flat(), { ...options, signal });
      return Array.isArray(input) ? classes : classes[0];
    });
  });
}

/** Keywords apply to values of their own type only, so those of one and of an array stand side by side. */
function oneOrMore<One extends { type: string | string[] }>(one: One, { texts }: Limits) {
  return { ...one, type: [one.type, 'array'].flat(), minItems: 1, maxItems: texts, items: one };
}
