/**
 * XLM-R's ids over SentencePiece's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, every other piece SentencePiece's own id + 1,
 * `<mask>` the number of pieces + 1.
 */
import { UNKNOWN_PIECE } from './sentencepiece-model.js';
import { loadSentencePiece, type SentencePiece } from './sentencepiece.js';
import type { TextPieces } from './tokenizer.js';

const BOS = 0;
const PAD = 1;
const EOS = 2;
const UNKNOWN = 3;

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
  readonly #sentencePiece: SentencePiece;

  private constructor(sentencePiece: SentencePiece) {
    this.#sentencePiece = sentencePiece;
    this.pieces = sentencePiece.model.pieces;
    this.mask = this.pieces + 1;
    this.vocabulary = this.mask + 1;
  }

  /** Pieces of the same file share its memory. `ERR_TOKENIZER`: missing, damaged, not laid out as XLM-R's. */
  static async load(file: string): Promise<XlmRobertaPieces> {
    return new XlmRobertaPieces(await loadSentencePiece(file));
  }

  *encode(text: string, parseSpecial: boolean): Generator<number[]> {
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

  decode(ids: number[], keepSpecial: boolean): string {
    if (keepSpecial) {
      return ids
        .map((id) => this.piece(id))
        .join('')
        .replaceAll('▁', ' ')
        .trim();
    }
    return this.#sentencePiece.decode(
      ids
        .filter((id) => !this.#isLeftOut(id))
        .map((id) => (id === UNKNOWN ? UNKNOWN_PIECE : id - 1)),
    );
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
        return this.#sentencePiece.model.piece(id - 1);
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

  #specialId(name: string): number {
    const id = ['<s>', '<pad>', '</s>', '<unk>'].indexOf(name);
    return id === -1 ? this.mask : id;
  }

  #isLeftOut(id: number): boolean {
    return id <= EOS || id === this.mask;
  }
}

/** Hugging Face drops white space before `<mask>`, and counts U+0085, which trimEnd does not. */
function withoutTrailingSpace(text: string): string {
  let trimmed = text.trimEnd();
  while (trimmed.endsWith('\u0085')) trimmed = trimmed.slice(0, -1).trimEnd();
  return trimmed;
}
