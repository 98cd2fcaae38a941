/**
 * XLM-R's ids over SentencePiece's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, every other piece SentencePiece's own id + 1,
 * `<mask>` the number of pieces + 1. Tokens that the directory adds (lib/token/added-tokens.ts) mostly have ids behind
 * `<mask>`; their names are read where special names are.
 */
import { basename, dirname } from 'node:path';
import { MaskPredictError, shown } from '../errors.js';
import { readAddedTokens, type AddedToken } from '../token/added-tokens.js';
import { UNKNOWN_PIECE } from './sentencepiece-model.js';
import { loadSentencePiece, type SentencePiece } from './sentencepiece.js';
import { TokenSplitter, type NamedToken } from './token-splitter.js';
import type { TextPieces } from './tokenizer.js';

const BOS = 0;
const PAD = 1;
const EOS = 2;
const UNKNOWN = 3;

/** The name of the file in a model directory; added tokens are in files beside it. */
const nameInDirectory = 'sentencepiece.bpe.model';

/** @internal */
export class XlmRobertaPieces implements TextPieces {
  readonly begin = BOS;
  readonly end = EOS;
  readonly pad = PAD;
  readonly mask: number;
  readonly between: readonly number[] = [EOS, EOS];
  readonly pieces: number;
  readonly vocabulary: number;
  readonly maskTakesSpace = true;
  readonly isOfBytes = false;
  /** Behind `<mask>`, by rising id. */
  readonly added: readonly AddedToken[];
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #sentencePiece: SentencePiece;
  readonly #splitter: TokenSplitter;

  private constructor(sentencePiece: SentencePiece, tokens: readonly AddedToken[]) {
    this.#sentencePiece = sentencePiece;
    this.pieces = sentencePiece.model.pieces;
    this.mask = this.pieces + 1;
    this.vocabulary = this.mask + 1;
    this.added = tokens.filter(({ id }) => id > this.mask);
    this.#addedById = new Map(this.added.map((token) => [token.id, token]));
    const specials = [BOS, PAD, EOS, UNKNOWN, this.mask].map((id) => this.#special(id));
    for (const token of tokens) this.#checkAdded(token, specials);
    const others = tokens.filter(({ id }) => specials.every((special) => special.id !== id));
    this.#splitter = new TokenSplitter([...specials, ...others], this.#spaceId());
  }

  /**
   * Pieces of the same file share its memory. Where it is called as in a model directory, the added tokens are those of
   * the files beside it. `ERR_TOKENIZER`: missing, damaged, not laid out as XLM-R's, contradicted by an added token.
   */
  static async load(file: string): Promise<XlmRobertaPieces> {
    const inDirectory = basename(file) === nameInDirectory;
    const added = inDirectory ? readAddedTokens(dirname(file)) : [];
    return new XlmRobertaPieces(await loadSentencePiece(file), added);
  }

  isId(id: number): boolean {
    return (id >= 0 && id < this.vocabulary) || this.#addedById.has(id);
  }

  *encode(text: string, parseSpecial: boolean): Generator<number[]> {
    if (!parseSpecial) {
      yield* this.#encodePlain(text);
      return;
    }
    for (const part of this.#splitter.split(text)) {
      if (typeof part === 'number') yield [part];
      else yield* this.#encodePlain(part);
    }
  }

  decode(ids: number[], keepSpecial: boolean): string {
    if (keepSpecial) {
      return ids
        .map((id) => this.piece(id))
        .join('')
        .replaceAll('▁', ' ')
        .trim();
    }
    let text = '';
    for (const run of this.#runs(ids.filter((id) => !this.#isLeftOut(id)))) {
      const added = this.#addedById.get(run[0]!);
      // SentencePiece leaves out the space at the start; behind an added token it is one.
      const space = text !== '' && this.piece(run[0]!).startsWith('▁') ? ' ' : '';
      text += added ? added.content : space + this.#decodePlain(run);
    }
    return text;
  }

  piece(id: number): string {
    switch (id) {
      case BOS:
        return '<s>';
      case PAD:
        return '<pad>';
      case EOS:
        return '</s>';
      case UNKNOWN:
        return '<unk>';
      case this.mask:
        return '<mask>';
      default:
        return this.#addedById.get(id)?.content ?? this.#sentencePiece.model.piece(id - 1);
    }
  }

  written(id: number): string {
    return this.piece(id).replaceAll('▁', ' ');
  }

  *#encodePlain(text: string): Generator<number[]> {
    for (const pieces of this.#sentencePiece.encode(text)) {
      yield pieces.map((piece) => (piece === UNKNOWN_PIECE ? UNKNOWN : piece + 1));
    }
  }

  /** Ids in runs: an added token alone, others together. */
  *#runs(ids: number[]): Generator<number[]> {
    for (let begin = 0, end = 0; begin < ids.length; begin = end) {
      end = begin + 1;
      if (this.#addedById.has(ids[begin]!)) yield [ids[begin]!];
      else {
        while (end < ids.length && !this.#addedById.has(ids[end]!)) end++;
        yield ids.slice(begin, end);
      }
    }
  }

  #decodePlain(ids: number[]): string {
    const pieces = ids.map((id) => (id === UNKNOWN ? UNKNOWN_PIECE : id - 1));
    return this.#sentencePiece.decode(pieces);
  }

  /** The id of the piece that is a space alone. */
  #spaceId(): number | undefined {
    for (let id = UNKNOWN + 1; id < this.mask; id++) if (this.piece(id) === '▁') return id;
    return undefined;
  }

  /** One of the five tokens that every XLM-R has. */
  #special(id: number): NamedToken {
    const lstrip = id === this.mask;
    const flags = { lstrip, rstrip: false, normalized: false, singleWord: false, special: true };
    return { id, content: this.piece(id), ...flags };
  }

  /** A token that is no special one and of no piece must have an id behind `<mask>`, and only such a one. */
  #checkAdded({ id, content, file }: AddedToken, specials: readonly NamedToken[]): void {
    const special = specials.find((one) => one.content === content);
    if (special && special.id !== id) {
      throw this.#contradicted(
        `${shown(content)} the id ${id}, which has the id ${special.id}`,
        file,
      );
    }
    if (id > this.mask || this.piece(id) === content) return;
    throw this.#contradicted(
      `${shown(content)} the id ${id}, which is ${shown(this.piece(id))}`,
      file,
    );
  }

  #contradicted(what: string, file: string): MaskPredictError {
    return new MaskPredictError(
      'ERR_TOKENIZER',
      `${file}: it gives the added token ${what} in ${this.#sentencePiece.model.file}; one of the two files belongs to ` +
        'another model',
    );
  }

  #isLeftOut(id: number): boolean {
    return id <= EOS || id === this.mask || this.#addedById.get(id)?.special === true;
  }
}
