/**
 * Errors as answers: every one is `{ error, code }` with a status; `error` says what is wrong and what to do,
 * `code` is stable. The Open Inference Protocol asks for `error`.
 */
import type {
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifySchemaValidationError,
} from 'fastify';
import { MaskPredictError, type ErrorCode } from '../errors.js';
import type { Limits } from './limits.js';

/** Error codes of requests; an error of the model keeps the code of its {@link MaskPredictError}. */
export type RequestErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_INVALID_JSON'
  | 'ERR_INVALID_REQUEST'
  | 'ERR_CONTENT_TYPE'
  | 'ERR_CONTENT_ENCODING'
  | 'ERR_FORBIDDEN'
  | 'ERR_NOT_FOUND'
  | 'ERR_LIMIT'
  | 'ERR_TIMEOUT'
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

/** For a body of more bytes than `limit`, as they came or decoded. */
export function tooLarge(limit: number): RequestError {
  return new RequestError(
    413,
    'ERR_LIMIT',
    `the body may have ${limit} bytes at most; send fewer prompts per request`,
  );
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
  ERR_CANCELLED: 503,
  ERR_DEVICE: 500,
  ERR_INTERNAL: 500,
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
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return tooLarge(limits.body);
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new RequestError(
      415,
      'ERR_CONTENT_TYPE',
      'the body must be JSON, with the header content-type: application/json',
    );
  }
  if (code === 'FST_ERR_CTP_INVALID_CONTENT_LENGTH') {
    return new RequestError(
      400,
      'ERR_INVALID_REQUEST',
      'the body has fewer bytes than the header content-length says',
    );
  }
  if (code === 'FST_ERR_BAD_URL') {
    return new RequestError(
      400,
      'ERR_INVALID_REQUEST',
      'the address has a % that is not followed by a byte of UTF-8 in hexadecimal',
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new RequestError(statusCode, 'ERR_INVALID_REQUEST', message ?? 'a bad request');
  }
  return new RequestError(500, 'ERR_INTERNAL', 'the server failed; its log says how');
}

/** Puts into words why a body does not fit the JSON schema. */
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

/** An error as JSON. */
export function errorBody({ message, code }: RequestError): string {
  const body: ErrorBody = { error: message, code };
  return JSON.stringify(body);
}

/**
 * Answers with an error. As bytes, for fastify adds a charset to JSON: some clients read an error only if its
 * content-type is `application/json` and nothing else.
 */
export function sendError(reply: FastifyReply, error: RequestError): FastifyReply {
  const { status } = error;
  // Fastify would cut off a client that still sends its body, which then has an error of its own and not this answer.
  // Node.js reads the rest of it, as long as a request may take.
  reply.removeHeader('connection');
  if (status === 429 || status === 503) reply.header('retry-after', '1');
  if (error.code === 'ERR_CONTENT_ENCODING') reply.header('accept-encoding', 'gzip, deflate, br');
  return reply
    .code(status)
    .type('application/json')
    .send(Buffer.from(errorBody(error)));
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
    return sendError(reply, answer);
  });
  app.setNotFoundHandler(({ method, url }) => {
    throw new RequestError(404, 'ERR_NOT_FOUND', `there is no ${method} ${url}`);
  });
}
