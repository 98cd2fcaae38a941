/**
 * The stable codes of {@link MaskPredictError}.
 *
 * - `ERR_MODEL_FORMAT`: a model file is missing, damaged, contradicts another one, or is of a kind
 *   this package does not run.
 * - `ERR_TOKENIZER`: a SentencePiece model is missing, damaged, or not laid out as XLM-R's.
 * - `ERR_INVALID_ARGUMENT`: an argument or option of a call is wrong.
 * - `ERR_OUT_OF_MEMORY`: the work does not fit the memory limit; nothing was started.
 * - `ERR_DEVICE`: the device asked for does not exist here or failed.
 * - `ERR_DISPOSED`: the engine, source or target was closed before or during the call.
 * - `ERR_OVERLOADED`: the queue is full, or the call could not begin within its deadline; try again later.
 * - `ERR_CANCELLED`: the work was cancelled between two layers. A call that a signal aborted rejects with the signal's
 *   own reason instead.
 * - `ERR_INTERNAL`: a mistake of this package; please report it with its message.
 * - `ERR_HUB_NOT_FOUND`: the hub has no such model or revision.
 * - `ERR_HUB_ACCESS`: the hub wants a token, or another one.
 * - `ERR_HUB_UNREACHABLE`: the hub does not answer, or must not be asked, and the cache does not have the model.
 * - `ERR_HUB_CONTENT`: what the hub sends is not what it lists, or makes no sense.
 * - `ERR_CACHE`: the cache of downloads cannot be read or written, because its disk is full for instance.
 */
export type ErrorCode =
  | 'ERR_MODEL_FORMAT'
  | 'ERR_TOKENIZER'
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE'
  | 'ERR_DISPOSED'
  | 'ERR_OVERLOADED'
  | 'ERR_CANCELLED'
  | 'ERR_INTERNAL'
  | 'ERR_HUB_NOT_FOUND'
  | 'ERR_HUB_ACCESS'
  | 'ERR_HUB_UNREACHABLE'
  | 'ERR_HUB_CONTENT'
  | 'ERR_CACHE';

/** Every error this package makes. Aborted calls reject with the signal's own reason instead. */
export class MaskPredictError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  static {
    this.prototype.name = 'MaskPredictError';
  }
}

/** @internal The error for a wrong argument: `message` names the argument, what it was, and what is allowed. */
export function invalidArgument(message: string): MaskPredictError {
  return new MaskPredictError('ERR_INVALID_ARGUMENT', message);
}

/**
 * @internal The same error with the stack of whoever waits for it: one that the addon made when its thread was done
 * knows no caller. To be called where an `async` function has waited; the stack then names those that await it.
 */
export function withCaller(error: unknown): unknown {
  if (error instanceof MaskPredictError) Error.captureStackTrace(error, withCaller);
  return error;
}

/** @internal A value for a message: short, whatever it is, and without calling anything of its own. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
    case 'function':
      return 'a function';
    default:
      return String(value);
  }
}
