/** Texts of the text level as ids: an instruction is cut to what the model reads, an answer never. */
import type { EngineConfig } from '../token/engine-config.js';
import { invalidArgument, MaskPredictError } from '../errors.js';
import { queueOptions, type QueueOptions } from '../scheduling/options.js';
import type { Encoding, Tokenizer } from './tokenizer.js';

export interface TextOptions extends QueueOptions {
  /** Reads `<mask>`, `<s>` and the like inside a text as special tokens; default false: as text. */
  parseSpecial?: boolean;
  /** A text with too many tokens is cut (default; the result says so) or an `ERR_INVALID_ARGUMENT`. */
  overflow?: 'truncate' | 'error';
  /** Rejects the call with the signal's reason. */
  signal?: AbortSignal;
}

/** @internal */
export const textOptions = ['parseSpecial', 'overflow', 'signal', ...queueOptions];

const padding = 1;

/** @internal */
export class TextReader {
  readonly #tokenizer: Tokenizer;
  readonly #mostIds: number;

  constructor(tokenizer: Tokenizer, { maxPositions }: EngineConfig) {
    this.#tokenizer = tokenizer;
    this.#mostIds = maxPositions - 2;
  }

  /** The ids of a prompt, which has at least one token; errors name its index, if it has one. */
  prompt(prompt: string, options: TextOptions, index?: number): Encoding {
    const name = `prompt${index === undefined ? '' : ` ${index}`}`;
    if (typeof prompt !== 'string') throw invalidArgument(`${name} must be a string`);
    let encoding: Encoding;
    try {
      encoding = this.#tokenizer.encode(prompt, {
        maxIds: this.#mostIds,
        parseSpecial: options.parseSpecial ?? false,
        overflow: options.overflow ?? 'truncate',
      });
    } catch (error) {
      if (index === undefined || !(error instanceof MaskPredictError)) throw error;
      throw new MaskPredictError(error.code, `${name}: ${error.message}`, { cause: error });
    }
    if (this.#isBlank(encoding.ids)) {
      throw invalidArgument(`${name} has no tokens: it is empty or blank; give it an instruction`);
    }
    if (options.parseSpecial && encoding.ids.includes(padding)) {
      throw invalidArgument(`${name} has id ${padding} (<pad>, padding), which stands for no text`);
    }
    return encoding;
  }

  /** The ids of a given answer: never truncated, because its score would be another text's. */
  answer(text: string, options: TextOptions, name: string): Int32Array {
    if (typeof text !== 'string') throw invalidArgument(`${name} must be a string`);
    const { ids } = this.#tokenizer.encode(text, {
      maxIds: this.#mostIds,
      parseSpecial: options.parseSpecial ?? false,
      overflow: 'error',
    });
    if (this.#isBlank(ids)) throw invalidArgument(`${name} has no tokens: it is empty or blank`);
    return ids;
  }

  /** No token between `<s>` and `</s>`, or none but the space that some tokenizers keep of a blank text. */
  #isBlank(ids: Int32Array): boolean {
    return ids.subarray(1, -1).every((id) => this.#tokenizer.piece(id) === '▁');
  }
}
