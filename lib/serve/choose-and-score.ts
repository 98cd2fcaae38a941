/** `POST /choose` and `POST /score`: what `model.choose` and `model.score` do. */
import type { FastifyInstance } from 'fastify';
import { textOptions, textOptionsSchema, type TextOptionsBody } from './generate-schema.js';
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
  app.post<{ Body: ChooseBody }>('/choose', { schema: { body } }, ({ body }, reply) =>
    requests.run(reply, (signal) =>
      model.choose(body.prompt, body.labels, { ...textOptions(body), signal }),
    ),
  );
}

export function scoreRoute(app: FastifyInstance, { model, limits, requests }: Served): void {
  const text = { type: 'string', maxLength: limits.characters };
  const body = {
    type: 'object',
    required: ['prompt', 'text'],
    properties: { prompt: text, text, ...textOptionsSchema },
    additionalProperties: false,
  };
  app.post<{ Body: ScoreBody }>('/score', { schema: { body } }, ({ body }, reply) =>
    requests.run(reply, async (signal) => {
      const score = await model.score(body.prompt, body.text, { ...textOptions(body), signal });
      return { ...score, tokenScores: [...score.tokenScores] };
    }),
  );
}
