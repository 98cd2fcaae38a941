/**
 * Text to a model's ids and back, for two kinds of files: XLM-R's SentencePiece model (xlm-roberta-pieces.ts) and
 * ModernBERT's tokenizer.json (byte-level-pieces.ts).
 *
 * A text becomes `<s> pieces </s>`, or `[CLS] pieces [SEP]`. A model's embedding may have more rows than there are
 * pieces; they stand for nothing.
 *
 * `<s>`, `<mask>`, `[MASK]` and the like inside a text are ordinary text, so a text cannot smuggle in special
 * tokens. With `parseSpecial` they are read as Hugging Face's tokenizer reads them: each becomes its
 * id, and the text on either side is tokenized as a text of its own. So are the tokens that an XLM-R directory adds
 * behind `<mask>` (`added_tokens.json`, `tokenizer_config.json`, `tokenizer.json`). Their ids are read and never answered:
 * `vocabulary` ends with `<mask>`.
 *
 * Encoding runs on the calling thread, with XLM-R's pieces at more than half a million ids per second. With `maxIds` it
 * stops when it has enough, so a long text costs little more than the part that is used.
 */
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import type { AddedToken } from '../token/added-tokens.js';
import { ByteLevelPieces } from './byte-level-pieces.js';
import { XlmRobertaPieces } from './xlm-roberta-pieces.js';

/**
 * The part of a tokenizer that depends on the kind of its file; {@link Tokenizer} does the rest, and has checked ids
 * and texts.
 * @internal
 */
export interface TextPieces {
  /** The ids around a text, of padding, and of the mask. */
  readonly begin: number;
  readonly end: number;
  readonly pad: number;
  readonly mask: number;
  /** The ids between two texts that are read as one. */
  readonly between: readonly number[];
  /** How many pieces the file has. */
  readonly pieces: number;
  /** The number of ids that stand for something, one more than the largest. */
  readonly vocabulary: number;
  /** Tokens whose ids lie behind those of `vocabulary`: read, and never answered. */
  readonly added?: readonly AddedToken[];
  /** True if the white space before a mask belongs to the mask, so that its answer includes the space. */
  readonly maskTakesSpace: boolean;
  /** True if pieces are bytes, not characters. */
  readonly isOfBytes: boolean;
  /** True if a whole number is an id: of `vocabulary`, or of a token that was added to it. */
  isId(id: number): boolean;
  /** The ids of `text`, without those around it, a part at a time. */
  encode(text: string, parseSpecial: boolean): Iterable<number[]>;
  decode(ids: number[], keepSpecial: boolean): string;
  piece(id: number): string;
  /** The text that a piece writes, with its space as a space. */
  written(id: number): string;
}

/** With `overflow: 'error'`, ids are counted up to here for the message. */
const COUNTED_IDS = 2 ** 16;

export interface TokenizerOptions {
  /** Rows of the model's embedding: a model with too few does not belong to this tokenizer. */
  vocabulary?: number;
  /** The id of `<mask>` according to the model's config; must be the one said above. */
  maskTokenId?: number;
}

export interface EncodeOptions {
  /**
   * Read `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>`, or `[CLS]`, `[MASK]` and the like, and the names of added tokens in
   * the text as these tokens. Default: false.
   */
  parseSpecial?: boolean;
  /** The most ids to return, `<s>` and `</s>` included; at least 2. Default: no limit. */
  maxIds?: number;
  /** If there are more ids than `maxIds`: leave them out before `</s>`, or throw. Default: truncate. */
  overflow?: 'truncate' | 'error';
}

export interface Encoding {
  ids: Int32Array;
  /** True if ids were left out. */
  truncated: boolean;
}

export interface DecodeOptions {
  /**
   * Write special tokens as `<s>`, `<mask>` and so on, `<unk>` included, and join the pieces as Hugging
   * Face does. Default: false; `<s>`, `<pad>`, `</s>`, `<mask>` and added tokens that are special are left out, and
   * `<unk>` is ` ⁇ `. Other added tokens are written by their names.
   */
  keepSpecial?: boolean;
}

export class Tokenizer {
  readonly #pieces: TextPieces;

  private constructor(pieces: TextPieces) {
    this.#pieces = pieces;
  }

  /** @internal */
  static pieces(tokenizer: Tokenizer): TextPieces {
    return tokenizer.#pieces;
  }

  /** The number of pieces; SentencePiece's own `<unk>`, `<s>` and `</s>` and all tokens of a tokenizer.json included. */
  get pieces(): number {
    return this.#pieces.pieces;
  }

  get maskTokenId(): number {
    return this.#pieces.mask;
  }

  /** The mask token as it is written in a text: `<mask>` or `[MASK]`. */
  get maskToken(): string {
    return this.#pieces.piece(this.#pieces.mask);
  }

  /** The number of ids that stand for something: XLM-R's are 0 … `maskTokenId`. */
  get vocabulary(): number {
    return this.#pieces.vocabulary;
  }

  /**
   * Loads `sentencepiece.bpe.model`, or a `tokenizer.json` (by that name) of byte-level BPE such as ModernBERT's.
   * Tokenizers of the same SentencePiece file share its memory. A file that is missing, damaged, of another kind, or
   * contradicts the options: `ERR_TOKENIZER`.
   */
  static async load(file: string, options: TokenizerOptions = {}): Promise<Tokenizer> {
    if (typeof file !== 'string' || file === '') {
      throw invalidArgument(`file must be the path of a SentencePiece model, got ${shown(file)}`);
    }
    const { vocabulary, maskTokenId } = checkedOptions(options);
    for (const [name, value] of Object.entries({ vocabulary, maskTokenId })) {
      if (value !== undefined && !(Number.isInteger(value) && value >= 0)) {
        throw invalidArgument(`${name} must be a whole number, got ${shown(value)}`);
      }
    }

    const isJson = file.endsWith('.json');
    const pieces = isJson ? await ByteLevelPieces.load(file) : await XlmRobertaPieces.load(file);
    const tokenizer = new Tokenizer(pieces);
    if (vocabulary !== undefined && vocabulary < tokenizer.vocabulary) {
      throw new MaskPredictError(
        'ERR_TOKENIZER',
        `${file}: its ${tokenizer.pieces} pieces need ${tokenizer.vocabulary} rows, the model's ` +
          `vocabulary has ${vocabulary}; the tokenizer belongs to another model`,
      );
    }
    if (maskTokenId !== undefined && maskTokenId !== tokenizer.maskTokenId) {
      throw new MaskPredictError(
        'ERR_TOKENIZER',
        `${file}: with ${tokenizer.pieces} pieces ${tokenizer.maskToken} is ${tokenizer.maskTokenId}, the model's ` +
          `mask_token_id is ${maskTokenId}; the tokenizer belongs to another model`,
      );
    }
    return tokenizer;
  }

  /**
   * The ids of `text` with `<s>` and `</s>`. The ids of a truncated text are the first ones of the
   * whole text's, then `</s>`.
   */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    checkText(text);
    const {
      parseSpecial = false,
      maxIds = Infinity,
      overflow = 'truncate',
    } = checkedOptions(options);
    checkBoolean('parseSpecial', parseSpecial);
    if (maxIds !== Infinity && !(Number.isInteger(maxIds) && maxIds >= 2)) {
      throw invalidArgument(`maxIds must be a whole number of at least 2, got ${shown(maxIds)}`);
    }
    if (overflow !== 'truncate' && overflow !== 'error') {
      throw invalidArgument(`overflow must be 'truncate' or 'error', got ${shown(overflow)}`);
    }

    const wanted = maxIds - 1; // without </s>
    const enough = overflow === 'truncate' ? wanted : Math.max(wanted, COUNTED_IDS);
    const ids = [this.#pieces.begin];
    for (const part of this.#pieces.encode(text, parseSpecial)) {
      for (const id of part) ids.push(id);
      if (ids.length > enough) break;
    }

    const truncated = ids.length > wanted;
    if (truncated && overflow === 'error') {
      const count = ids.length > enough ? `more than ${enough}` : ids.length + 1;
      throw invalidArgument(
        `the text has ${count} ids with ${this.#ends()}, at most ${maxIds} are allowed (maxIds); ` +
          `shorten it, or let overflow: 'truncate' cut it`,
      );
    }
    if (truncated) ids.length = wanted;
    ids.push(this.#pieces.end);
    return { ids: Int32Array.from(ids), truncated };
  }

  /** The number of tokens of `text`, `<s>` and `</s>` not counted. */
  countTokens(text: string, options: Pick<EncodeOptions, 'parseSpecial'> = {}): number {
    checkText(text);
    const { parseSpecial = false } = checkedOptions(options);
    checkBoolean('parseSpecial', parseSpecial);
    let count = 0;
    for (const part of this.#pieces.encode(text, parseSpecial)) count += part.length;
    return count;
  }

  /** The text of `ids`. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    if (typeof ids !== 'object' || ids === null || !Number.isInteger(ids.length)) {
      throw invalidArgument(`ids must be an array of ids, got ${shown(ids)}`);
    }
    const { keepSpecial = false } = checkedOptions(options);
    checkBoolean('keepSpecial', keepSpecial);
    for (let index = 0; index < ids.length; index++) this.#checkId(ids[index], `ids[${index}]`);

    return this.#pieces.decode(Array.from(ids), keepSpecial);
  }

  /**
   * The text of one id's piece: `<s>`, `▁hello`, `<mask>`, or `[CLS]`, `Ġhello`, `[MASK]`. `▁` and `Ġ` stand for a
   * space; the pieces of a tokenizer.json are bytes in GPT-2's letters.
   */
  piece(id: number): string {
    this.#checkId(id, 'id');
    return this.#pieces.piece(id);
  }

  #ends(): string {
    const { begin, end } = this.#pieces;
    return `${this.#pieces.piece(begin)} and ${this.#pieces.piece(end)}`;
  }

  #checkId(id: unknown, name: string): void {
    if (Number.isInteger(id) && this.#pieces.isId(id as number)) return;
    const added = (this.#pieces.added?.length ?? 0) > 0 ? ', or that of an added token' : '';
    throw invalidArgument(
      `${name} must be an id from 0 to ${this.vocabulary - 1}${added}, got ${shown(id)}`,
    );
  }
}

function checkText(text: unknown): void {
  if (typeof text !== 'string') throw invalidArgument(`text must be a string, got ${shown(text)}`);
}

function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw invalidArgument(`${name} must be true or false, got ${shown(value)}`);
  }
}

function checkedOptions<T extends object>(options: T): T {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options must be an object, got ${shown(options)}`);
  }
  return options;
}
