/**
 * Errors as answers: every one is `{ error, code }` with a status; `error` says what is wrong and what to do,
 * `code` is stable. The Open Inference Protocol asks for `error`.
 */
import type { FastifyError, FastifyInstance, FastifySchemaValidationError } from 'fastify';
import { MaskPredictError, type ErrorCode } from '../errors.js';
import type { Limits } from './limits.js';

/** Of requests; what the model says keeps the code of its {@link MaskPredictError}. */
export type RequestErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_INVALID_JSON'
  | 'ERR_CONTENT_TYPE'
  | 'ERR_NOT_FOUND'
  | 'ERR_LIMIT'
  | 'ERR_CLIENT_GONE'
  | 'ERR_SHUTTING_DOWN'
  | 'ERR_INTERNAL';

export interface ErrorBody {
  error: string;
  code: RequestErrorCode | ErrorCode;
}

/** A request that is answered with an error. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: ErrorBody['code'];

  constructor(status: number, code: ErrorBody['code'], message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The client did what it could do better: not worth a line in a log. */
export const clientGone = 499;

export function limitError(message: string): RequestError {
  return new RequestError(400, 'ERR_LIMIT', message);
}

export function shuttingDown(): RequestError {
  return new RequestError(
    503,
    'ERR_SHUTTING_DOWN',
    'the server is shutting down; ask another one, or this one again later',
  );
}

const statusOf: Record<ErrorCode, number> = {
  ERR_INVALID_ARGUMENT: 400,
  ERR_OVERLOADED: 429,
  ERR_OUT_OF_MEMORY: 503,
  ERR_DISPOSED: 503,
  ERR_DEVICE: 500,
  ERR_MODEL_FORMAT: 500,
  ERR_TOKENIZER: 500,
  ERR_HUB_NOT_FOUND: 500,
  ERR_HUB_ACCESS: 500,
  ERR_HUB_UNREACHABLE: 500,
  ERR_HUB_CONTENT: 500,
  ERR_CACHE: 500,
};

/** Any error as the one to answer with. */
export function requestError(error: unknown, limits: Limits): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof MaskPredictError) {
    return new RequestError(statusOf[error.code], error.code, error.message);
  }
  const { code, statusCode, validation, message } = error as Partial<FastifyError>;
  if (validation?.[0]) return invalid(validation[0]);
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new RequestError(
      413,
      'ERR_LIMIT',
      `the body may have ${limits.body} bytes at most; send fewer prompts per request`,
    );
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new RequestError(
      415,
      'ERR_CONTENT_TYPE',
      'the body must be JSON, with the header content-type: application/json',
    );
  }
  if (error instanceof SyntaxError || code?.startsWith('FST_ERR_CTP_')) {
    return new RequestError(400, 'ERR_INVALID_JSON', 'the body is not valid JSON');
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new RequestError(statusCode, 'ERR_INVALID_ARGUMENT', message ?? 'a bad request');
  }
  return new RequestError(500, 'ERR_INTERNAL', 'the server failed; its log says how');
}

/** What a JSON schema says of a body, in words. */
function invalid(found: FastifySchemaValidationError): RequestError {
  const { keyword, params, instancePath } = found;
  const { parentSchema } = found as { parentSchema?: { properties?: Record<string, unknown> } };
  const where = instancePath.slice(1).replaceAll('/', '.');
  const name = where === '' ? 'the body' : where;
  switch (keyword) {
    case 'maxLength':
      return limitError(`${name} may have ${String(params['limit'])} characters at most`);
    case 'maxItems':
      return limitError(
        `${name} may have ${String(params['limit'])} entries at most; send several requests`,
      );
    case 'maximum':
      return limitError(`${name} may be ${String(params['limit'])} at most`);
  }
  const problem = {
    required: () => `needs '${String(params['missingProperty'])}'`,
    type: () =>
      where === ''
        ? 'must be a JSON object'
        : `must be of type ${[params['type']].flat().join(' or ')}`,
    minimum: () => `must be ${String(params['limit'])} or more`,
    minItems: () => `must have ${String(params['limit'])} or more entries`,
    enum: () => `must be one of ${(params['allowedValues'] as unknown[]).join(', ')}`,
    additionalProperties: () =>
      `has no '${String(params['additionalProperty'])}'; ` +
      `it takes ${Object.keys(parentSchema?.properties ?? {}).join(', ')}`,
  }[keyword];
  return new RequestError(
    400,
    'ERR_INVALID_ARGUMENT',
    `${name} ${problem ? problem() : (found.message ?? 'is not valid')}`,
  );
}

/** Answers what no route answers, and what goes wrong in one. */
export function answerErrors(
  app: FastifyInstance,
  limits: Limits,
  log: (error: unknown) => void,
): void {
  app.setErrorHandler((error, _request, reply) => {
    const answer = requestError(error, limits);
    if (answer.status === 500) log(error);
    if (answer.status === 429 || answer.status === 503) reply.header('retry-after', '1');
    const body: ErrorBody = { error: answer.message, code: answer.code };
    return reply.code(answer.status).send(body);
  });
  app.setNotFoundHandler(({ method, url }) => {
    throw new RequestError(404, 'ERR_NOT_FOUND', `there is no ${method} ${url}`);
  });
}
