/**
 * Text to XLM-R's ids and back.
 *
 * Ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, every other piece SentencePiece's own id + 1, `<mask>`
 * the number of pieces + 1. A text becomes `<s> pieces </s>`. A model's embedding may have more rows;
 * they stand for nothing.
 *
 * `<s>`, `<mask>` and the like inside a text are ordinary text, so a text cannot smuggle in special
 * tokens. With `parseSpecial` they are read as Hugging Face's tokenizer reads them: each becomes its
 * id, and the text on either side is tokenized as a text of its own.
 *
 * Encoding runs on the calling thread, at more than half a million ids per second. With `maxIds` it
 * stops when it has enough, so a long text costs little more than the part that is used.
 */
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { UNKNOWN_PIECE } from './sentencepiece-model.js';
import { loadSentencePiece, type SentencePiece } from './sentencepiece.js';

const BOS = 0;
const PAD = 1;
const EOS = 2;
const UNKNOWN = 3;

/** With `overflow: 'error'`, ids are counted up to here for the message. */
const COUNTED_IDS = 2 ** 16;

export interface TokenizerOptions {
  /** Rows of the model's embedding: a model with too few does not belong to this tokenizer. */
  vocabulary?: number;
  /** The id of `<mask>` according to the model's config; must be the one said above. */
  maskTokenId?: number;
}

export interface EncodeOptions {
  /** Read `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>` in the text as special tokens. Default: false. */
  parseSpecial?: boolean;
  /** The most ids to return, `<s>` and `</s>` included; at least 2. Default: no limit. */
  maxIds?: number;
  /** What to do with more ids than `maxIds`: leave them out before `</s>`, or throw. Default: truncate. */
  overflow?: 'truncate' | 'error';
}

export interface Encoding {
  ids: Int32Array;
  /** Whether ids were left out. */
  truncated: boolean;
}

export interface DecodeOptions {
  /**
   * Write special tokens as `<s>`, `<mask>` and so on, `<unk>` included, and join the pieces as Hugging
   * Face does. Default: false; `<s>`, `<pad>`, `</s>` and `<mask>` are left out and `<unk>` is ` ⁇ `.
   */
  keepSpecial?: boolean;
}

export class Tokenizer {
  /** The number of SentencePiece's pieces, its own `<unk>`, `<s>` and `</s>` included. */
  readonly pieces: number;
  readonly maskTokenId: number;
  /** The number of ids that stand for something: 0 … `maskTokenId`. */
  readonly vocabulary: number;
  readonly #sentencePiece: SentencePiece;

  private constructor(sentencePiece: SentencePiece) {
    this.#sentencePiece = sentencePiece;
    this.pieces = sentencePiece.model.pieces;
    this.maskTokenId = this.pieces + 1;
    this.vocabulary = this.maskTokenId + 1;
  }

  /**
   * Loads `sentencepiece.bpe.model`. Tokenizers of the same file share its memory. A file that is
   * missing, damaged, not laid out as XLM-R's, or contradicts the options: `ERR_TOKENIZER`.
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

    const tokenizer = new Tokenizer(await loadSentencePiece(file));
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
        `${file}: with ${tokenizer.pieces} pieces <mask> is ${tokenizer.maskTokenId}, the model's ` +
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
    const ids = [BOS];
    for (const part of this.#encodeParts(text, parseSpecial)) {
      for (const id of part) ids.push(id);
      if (ids.length > enough) break;
    }

    const truncated = ids.length > wanted;
    if (truncated && overflow === 'error') {
      const count = ids.length > enough ? `more than ${enough}` : ids.length + 1;
      throw invalidArgument(
        `the text has ${count} ids with <s> and </s>, at most ${maxIds} are allowed (maxIds); ` +
          `shorten it, or let overflow: 'truncate' cut it`,
      );
    }
    if (truncated) ids.length = wanted;
    ids.push(EOS);
    return { ids: Int32Array.from(ids), truncated };
  }

  /** The number of tokens of `text`, `<s>` and `</s>` not counted. */
  countTokens(text: string, options: Pick<EncodeOptions, 'parseSpecial'> = {}): number {
    checkText(text);
    const { parseSpecial = false } = checkedOptions(options);
    checkBoolean('parseSpecial', parseSpecial);
    let count = 0;
    for (const part of this.#encodeParts(text, parseSpecial)) count += part.length;
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

    const all = Array.from(ids);
    if (keepSpecial) {
      return all
        .map((id) => this.piece(id))
        .join('')
        .replaceAll('▁', ' ')
        .trim();
    }
    return this.#sentencePiece.decode(
      all
        .filter((id) => !this.#isLeftOut(id))
        .map((id) => (id === UNKNOWN ? UNKNOWN_PIECE : id - 1)),
    );
  }

  /** The text of one id's piece: `<s>`, `▁hello`, `<mask>`. `▁` stands for a space. */
  piece(id: number): string {
    this.#checkId(id, 'id');
    switch (id) {
      case BOS:
        return '<s>';
      case PAD:
        return '<pad>';
      case EOS:
        return '</s>';
      case UNKNOWN:
        return '<unk>';
      case this.maskTokenId:
        return '<mask>';
      default:
        return this.#sentencePiece.model.piece(id - 1);
    }
  }

  /** XLM-R's ids of `text`, without `<s>` and `</s>`, a part at a time. */
  *#encodeParts(text: string, parseSpecial: boolean): Generator<number[]> {
    if (!parseSpecial) {
      yield* this.#encodePlain(text);
      return;
    }
    let end = 0;
    for (const { 0: name, index } of text.matchAll(/<(?:s|pad|\/s|unk|mask)>/g)) {
      const before = text.slice(end, index);
      yield* this.#encodePlain(name === '<mask>' ? withoutTrailingSpace(before) : before);
      yield [this.#specialId(name)];
      end = index + name.length;
    }
    yield* this.#encodePlain(text.slice(end));
  }

  *#encodePlain(text: string): Generator<number[]> {
    for (const pieces of this.#sentencePiece.encode(text)) {
      yield pieces.map((piece) => (piece === UNKNOWN_PIECE ? UNKNOWN : piece + 1));
    }
  }

  #specialId(name: string): number {
    const id = ['<s>', '<pad>', '</s>', '<unk>'].indexOf(name);
    return id === -1 ? this.maskTokenId : id;
  }

  #isLeftOut(id: number): boolean {
    return id <= EOS || id === this.maskTokenId;
  }

  #checkId(id: unknown, name: string): void {
    if (!(Number.isInteger(id) && (id as number) >= 0 && (id as number) <= this.maskTokenId)) {
      throw invalidArgument(
        `${name} must be an id from 0 to ${this.maskTokenId}, got ${shown(id)}`,
      );
    }
  }
}

/** Hugging Face drops white space before `<mask>`, and counts U+0085, which trimEnd does not. */
function withoutTrailingSpace(text: string): string {
  let trimmed = text.trimEnd();
  while (trimmed.endsWith('\u0085')) trimmed = trimmed.slice(0, -1).trimEnd();
  return trimmed;
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
