/** Texts of the text level as ids: an instruction is cut to what the model reads, an answer never. */
import type { EngineConfig } from '../token/engine-config.js';
import { invalidArgument, MaskPredictError } from '../errors.js';
import { queueOptions, type QueueOptions } from '../scheduling/options.js';
import { Tokenizer, type Encoding, type TextPieces } from './tokenizer.js';

export interface TextOptions extends QueueOptions {
  /** Reads `<mask>`, `<s>`, `[MASK]` and the like inside a text as special tokens; default false: as text. */
  parseSpecial?: boolean;
  /** A text with too many tokens is cut (default; the result says so) or an `ERR_INVALID_ARGUMENT`. */
  overflow?: 'truncate' | 'error';
  /** Rejects the call with the signal's reason. */
  signal?: AbortSignal;
}

/** @internal */
export const textOptions = ['parseSpecial', 'overflow', 'signal', ...queueOptions];

/** @internal */
export class TextReader {
  readonly #tokenizer: Tokenizer;
  readonly #pieces: TextPieces;
  readonly #mostIds: number;

  constructor(tokenizer: Tokenizer, { maxIds }: EngineConfig) {
    this.#tokenizer = tokenizer;
    this.#pieces = Tokenizer.pieces(tokenizer);
    this.#mostIds = maxIds;
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
    const { pad } = this.#pieces;
    if (options.parseSpecial && encoding.ids.includes(pad)) {
      const piece = this.#pieces.piece(pad);
      throw invalidArgument(`${name} has id ${pad} (${piece}, padding), which stands for no text`);
    }
    return encoding;
  }

  /**
   * The ids of two texts that are read as one sequence, `<s> text </s></s> pair </s>` or `[CLS] text [SEP] pair [SEP]`.
   * Where they are too long, the longer one is cut, or both to halves of what is allowed.
   */
  pair(text: string, pair: string, options: TextOptions, name: string): Int32Array {
    const { begin, between, end } = this.#pieces;
    const around = 2 + between.length;
    const most = this.#mostIds - around;
    const encode = (part: string, which: string) => {
      const named = `${which} of ${name}`;
      // One more than is allowed, to see that there are more.
      const { ids, truncated } = this.text(part, { ...options, overflow: 'truncate' }, named, -1);
      const inner = ids.subarray(1, -1);
      const { parseSpecial = false } = options;
      const count = truncated ? this.#tokenizer.countTokens(part, { parseSpecial }) : inner.length;
      return { inner, count };
    };
    const [first, second] = [encode(text, 'the text'), encode(pair, 'the pair')];
    if (first.count + second.count > most && options.overflow === 'error') {
      throw invalidArgument(
        `${name} has ${first.count + second.count + around} ids with ${this.#ends()}, at most ` +
          `${most + around} are allowed; ` +
          `shorten it, or let overflow: 'truncate' cut it`,
      );
    }
    const [a, b] = shares(first.count, second.count, Math.max(most, 0));
    const [head, tail] = [first.inner.subarray(0, a), second.inner.subarray(0, b)];
    return Int32Array.from([begin, ...head, ...between, ...tail, end]);
  }

  /** The ids of a given answer, of which each can be answered: never truncated, because its score would be another text's. */
  answer(text: string, options: TextOptions, name: string): Int32Array {
    const { ids } = this.text(text, { ...options, overflow: 'error' }, name);
    if (this.#isBlank(ids)) throw invalidArgument(`${name} has no tokens: it is empty or blank`);
    const unanswerable = ids.find((id) => id >= this.#pieces.vocabulary);
    if (unanswerable !== undefined) {
      const piece = this.#pieces.piece(unanswerable);
      throw invalidArgument(
        `${name} has the added token ${piece} (id ${unanswerable}), which is never answered and so has no ` +
          'probability; such tokens may stand in prompts',
      );
    }
    return ids;
  }

  /** No token between `<s>` and `</s>`, or none but the space that tokenizers keep of a blank text. */
  #isBlank(ids: Int32Array): boolean {
    return ids.subarray(1, -1).every((id) => this.#pieces.written(id).trim() === '');
  }

  #ends(): string {
    const { begin, end } = this.#pieces;
    return `${this.#pieces.piece(begin)} and ${this.#pieces.piece(end)}`;
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

/** How much of two texts is read where at most so many tokens are allowed, as Hugging Face's tokenizers share it. */
function shares(first: number, second: number, most: number): [number, number] {
  if (first + second <= most) return [first, second];
  const shorter = Math.min(first, second);
  const half = Math.floor(most / 2);
  const [less, more] = shorter > half ? [half, most - half] : [shorter, most - shorter];
  return first > second ? [more, less] : [less, more];
}
