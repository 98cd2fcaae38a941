/** `POST /choose` and `POST /score`: what `model.choose` and `model.score` do. */
import type { FastifyInstance } from 'fastify';
import { textOptionsSchema, type TextOptionsBody } from './generate-schema.js';
import type { Served } from './served.js';

interface ChooseBody extends TextOptionsBody {
  prompt: string;
  labels: string[];
}

interface ScoreBody extends TextOptionsBody {
  prompt: string;
  text: string;
}

export function chooseRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const text = { type: 'string', maxLength: limits.characters };
  const body = {
    type: 'object',
    required: ['prompt', 'labels'],
    properties: {
      prompt: text,
      labels: { type: 'array', minItems: 1, maxItems: limits.texts, items: text },
      ...textOptionsSchema,
    },
    additionalProperties: false,
  };
  app.post<{ Body: ChooseBody }>('/choose', { schema: { body } }, (request, reply) => {
    const { prompt, labels, ...options } = request.body;
    return requests.run(reply, (signal) => model.choose(prompt, labels, { ...options, signal }));
  });
}

export function scoreRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const text = { type: 'string', maxLength: limits.characters };
  const body = {
    type: 'object',
    required: ['prompt', 'text'],
    properties: { prompt: text, text, ...textOptionsSchema },
    additionalProperties: false,
  };
  app.post<{ Body: ScoreBody }>('/score', { schema: { body } }, (request, reply) => {
    const { prompt, text, ...options } = request.body;
    return requests.run(reply, async (signal) => {
      const score = await model.score(prompt, text, { ...options, signal });
      return { ...score, tokenScores: [...score.tokenScores] };
    });
  });
}
