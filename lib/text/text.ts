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
    const encoding = this.text(prompt, options, `prompt${index === undefined ? '' : ` ${index}`}`);
    if (this.#isBlank(encoding.ids)) {
      const name = `prompt${index === undefined ? '' : ` ${index}`}`;
      throw invalidArgument(`${name} has no tokens: it is empty or blank; give it an instruction`);
    }
    return encoding;
  }

  /**
   * The ids of a text that errors call `name`: as many as the model reads, or `maxIds` if that is fewer, without those
   * that are `reserved` for what the caller adds.
   */
  text(
    text: string,
    options: TextOptions,
    name: string,
    reserved = 0,
    maxIds = Infinity,
  ): Encoding {
    const most = Math.min(this.#mostIds, maxIds) - reserved;
    const overflow = options.overflow ?? 'truncate';
    const encoding = this.#encode(text, { ...options, overflow }, name, Math.max(most, 2));
    if (options.parseSpecial && encoding.ids.includes(padding)) {
      throw invalidArgument(`${name} has id ${padding} (<pad>, padding), which stands for no text`);
    }
    return encoding;
  }

  /**
   * The ids of two texts that are read as one sequence, `<s> text </s></s> pair </s>`. Where they are too long, the longer
   * one is cut, or both to halves of what there is room for.
   */
  pair(text: string, pair: string, options: TextOptions, name: string): Int32Array {
    const room = this.#mostIds - 4;
    const encode = (part: string, which: string) => {
      const named = `${which} of ${name}`;
      // One more than there is room for, to see that there are more.
      const { ids, truncated } = this.text(part, { ...options, overflow: 'truncate' }, named, -1);
      const inner = ids.subarray(1, -1);
      const { parseSpecial = false } = options;
      const count = truncated ? this.#tokenizer.countTokens(part, { parseSpecial }) : inner.length;
      return { inner, count };
    };
    const [first, second] = [encode(text, 'the text'), encode(pair, 'the pair')];
    if (first.count + second.count > room && options.overflow === 'error') {
      throw invalidArgument(
        `${name} has ${first.count + second.count + 4} ids with <s> and </s>, at most ${room + 4} are allowed; ` +
          `shorten it, or let overflow: 'truncate' cut it`,
      );
    }
    const [a, b] = shares(first.count, second.count, Math.max(room, 0));
    const end = 2;
    const ids = [0, ...first.inner.subarray(0, a), end, end, ...second.inner.subarray(0, b), end];
    return Int32Array.from(ids);
  }

  /** The ids of a given answer: never truncated, because its score would be another text's. */
  answer(text: string, options: TextOptions, name: string): Int32Array {
    const { ids } = this.text(text, { ...options, overflow: 'error' }, name);
    if (this.#isBlank(ids)) throw invalidArgument(`${name} has no tokens: it is empty or blank`);
    return ids;
  }

  /** No token between `<s>` and `</s>`, or none but the space that some tokenizers keep of a blank text. */
  #isBlank(ids: Int32Array): boolean {
    return ids.subarray(1, -1).every((id) => this.#tokenizer.piece(id) === '▁');
  }

  #encode(text: string, options: TextOptions, name: string, maxIds: number): Encoding {
    if (typeof text !== 'string') throw invalidArgument(`${name} must be a string`);
    const { parseSpecial = false, overflow = 'truncate' } = options;
    try {
      return this.#tokenizer.encode(text, { maxIds, parseSpecial, overflow });
    } catch (error) {
      // The tokenizer calls every text "the text".
      if (!/\d/.test(name) || !(error instanceof MaskPredictError)) throw error;
      throw new MaskPredictError(error.code, `${name}: ${error.message}`, { cause: error });
    }
  }
}

/** How much of two texts is read where there is room for so many tokens, as Hugging Face's tokenizers share it. */
function shares(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const shorter = Math.min(first, second);
  const half = Math.floor(room / 2);
  const [less, more] = shorter > half ? [half, room - half] : [shorter, room - shorter];
  return first > second ? [more, less] : [less, more];
}
