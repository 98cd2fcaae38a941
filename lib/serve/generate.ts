/**
 * `POST /generate`: `{ prompt }` with the options of `model.generate`, answered by what that returns; an array
 * of prompts by an array.
 *
 * With `stream: true` or `Accept: text/event-stream`, one prompt is answered by server-sent events:
 * `iteration` with a step of `model.refine` after every pass, then `done` with the answer, or `error`.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Generation, RefinementStep } from '../text/mask-predict.js';
import { RequestError, requestError, type ErrorBody } from './errors.js';
import { sendEvents, type ServerEvent } from './event-stream.js';
import {
  checkTexts,
  generateOptions,
  generateOptionsSchema,
  type GenerateOptionsBody,
} from './generate-schema.js';
import type { Limits } from './limits.js';
import type { Served } from './served.js';

interface GenerateBody extends GenerateOptionsBody {
  prompt: string | string[];
  stream?: boolean;
}

export function generateRoute(app: FastifyInstance, served: Served): void {
  const { model, limits, requests } = served;
  app.post<{ Body: GenerateBody }>(
    '/generate',
    { schema: { body: schema(limits) } },
    async ({ body, headers }, reply) => {
      const { prompt, stream = accepts(headers.accept, 'text/event-stream'), ...given } = body;
      checkTexts(typeof prompt === 'string' ? 1 : prompt.length, given.length, limits);
      return requests.run(reply, async (signal) => {
        const options = generateOptions(given, limits, signal);
        if (!stream) {
          const generations = await model.generate([prompt].flat(), options);
          const answers = generations.map(plain);
          return typeof prompt === 'string' ? answers[0] : answers;
        }
        if (typeof prompt !== 'string') {
          throw new RequestError(
            400,
            'ERR_INVALID_ARGUMENT',
            'a stream follows one text: prompt must be a string, or stream false',
          );
        }
        await sendRefinement(reply, model.refine(prompt, options), limits, signal);
        return reply;
      });
    },
  );
}

function schema(limits: Limits) {
  return {
    type: 'object',
    required: ['prompt'],
    properties: {
      prompt: {
        type: ['string', 'array'],
        maxLength: limits.characters,
        minItems: 1,
        maxItems: limits.texts,
        items: { type: 'string', maxLength: limits.characters },
      },
      stream: { type: 'boolean' },
      ...generateOptionsSchema(limits),
    },
    additionalProperties: false,
  };
}

/** The first pass is awaited before the answer begins, so that a request that is wrong has its status. */
async function sendRefinement(
  reply: FastifyReply,
  steps: AsyncGenerator<RefinementStep, Generation, void>,
  limits: Limits,
  signal: AbortSignal,
): Promise<void> {
  try {
    const first = await steps.next();
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    reply.hijack();
    await sendEvents(reply.raw, refinementEvents(first, steps, limits), signal);
  } catch (error) {
    if (!reply.sent) throw error;
    // The answer has begun: its end without `done` is what tells the client.
    reply.raw.destroy();
  } finally {
    await steps.return(undefined as never);
  }
}

async function* refinementEvents(
  first: IteratorResult<RefinementStep, Generation>,
  steps: AsyncGenerator<RefinementStep, Generation, void>,
  limits: Limits,
): AsyncGenerator<ServerEvent> {
  try {
    for (let step = first; ; step = await steps.next()) {
      if (step.done) return yield { event: 'done', data: plain(step.value) };
      yield { event: 'iteration', data: step.value };
    }
  } catch (error) {
    const { message, code } = requestError(error, limits);
    const data: ErrorBody = { error: message, code };
    yield { event: 'error', data };
  }
}

/** Typed arrays as JSON's own. */
function plain({ tokens, tokenScores, ...rest }: Generation) {
  return { ...rest, tokens: [...tokens], tokenScores: [...tokenScores] };
}

function accepts(header: string | undefined, type: string): boolean {
  return (header ?? '')
    .split(',')
    .some((part) => part.split(';')[0]!.trim().toLowerCase() === type);
}
