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
 * - `ERR_OVERLOADED`: the queue is full; try again later.
 */
export type ErrorCode =
  | 'ERR_MODEL_FORMAT'
  | 'ERR_TOKENIZER'
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE'
  | 'ERR_DISPOSED'
  | 'ERR_OVERLOADED';

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
