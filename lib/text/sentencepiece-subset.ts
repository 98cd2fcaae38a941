/**
 * A SentencePiece model of some of another's pieces, which cuts every text whose pieces it has as the other does.
 *
 * Why the cut is the same: a unigram model takes the cut with the highest sum of scores. With fewer pieces there are
 * fewer cuts to choose from, the best one still among them. The one new thing is `<unk>` in the place of a character
 * that was a piece; it costs 10 more than the piece with the lowest score, so no cut with it is better than the one with
 * that character was. This is so as long as `<unk>` costs the same, hence the piece with the lowest score always stays.
 */
import { fields, NORMAL, readSentencePieceModel, UNUSED } from './sentencepiece-model.js';

interface Piece {
  text: string;
  type: number;
  score: number;
  /** Its field in the file, tag and length included. */
  field: Buffer;
}

export class SentencePieceSubset {
  readonly #pieces: Piece[] = [];
  readonly #file: Buffer;

  /** `bytes` is the content of `file`. Throws what {@link readSentencePieceModel} throws. */
  constructor(bytes: Buffer, file: string) {
    readSentencePieceModel(bytes, file);
    this.#file = bytes;
    for (const { number, content, field } of parts(bytes)) {
      if (number === PIECES) this.#pieces.push({ ...readPiece(content), field });
    }
  }

  get size(): number {
    return this.#pieces.length;
  }

  /**
   * The pieces, rising, of a model that has the `wanted` ones: with them all that are no ordinary pieces (`<unk>`, `<s>`,
   * `</s>`, control and user-defined pieces), `▁`, those of the lowest and the highest score, and every character of a
   * `wanted` or `spelt` piece that is a piece itself, so that these can be written without `<unk>`; a `spelt` one that has
   * a character that is none is kept itself.
   */
  closure(wanted: Iterable<number>, spelt: Iterable<number>): Int32Array {
    const kept = new Set(wanted);
    const characters = new Map<string, number>();
    for (const [id, { text, type }] of this.#pieces.entries()) {
      if (type !== NORMAL && type !== UNUSED) kept.add(id);
      else if (isOneCharacter(text)) characters.set(text, id);
    }
    for (const id of [...this.#extremes(), characters.get('▁')]) {
      if (id !== undefined) kept.add(id);
    }
    for (const id of [...kept, ...spelt]) {
      for (const character of this.#pieces[id]!.text) kept.add(characters.get(character) ?? id);
    }
    return Int32Array.from(kept).sort();
  }

  /**
   * The file of a model that has only the pieces `ids`, which rise. Samples that the other tests itself with are left out,
   * since their pieces may be missing; the number of pieces that the trainer's settings state becomes the right one.
   */
  write(ids: Int32Array): Buffer {
    const written: Buffer[] = Array.from(ids, (id) => this.#pieces[id]!.field);
    for (const { number, content, field } of parts(this.#file)) {
      if (number === PIECES || number === SELF_TEST) continue;
      written.push(number === TRAINER ? withSize(content, ids.length) : field);
    }
    return Buffer.concat(written);
  }

  #extremes(): (number | undefined)[] {
    let lowest: number | undefined;
    let highest: number | undefined;
    for (const [id, { type, score }] of this.#pieces.entries()) {
      if (type !== NORMAL) continue;
      if (lowest === undefined || score < this.#pieces[lowest]!.score) lowest = id;
      if (highest === undefined || score > this.#pieces[highest]!.score) highest = id;
    }
    return [lowest, highest];
  }
}

// Fields of SentencePiece's ModelProto, and of its TrainerSpec.
const PIECES = 1;
const TRAINER = 2;
const SELF_TEST = 4;
const VOCABULARY_SIZE = 4;

interface Part {
  number: number;
  value: number;
  content: Buffer;
  /** With tag and length. */
  field: Buffer;
}

/** The fields of the message that `bytes` is. */
function* parts(bytes: Buffer): Generator<Part> {
  let begin = 0;
  for (const { number, value, start, end } of fields(bytes, 0, bytes.length)) {
    yield {
      number,
      value,
      content: bytes.subarray(start, end),
      field: bytes.subarray(begin, end),
    };
    begin = end;
  }
}

function readPiece(message: Buffer): Omit<Piece, 'field'> {
  const piece = { text: '', type: NORMAL, score: 0 };
  for (const { number, value, content } of parts(message)) {
    if (number === 1) piece.text = content.toString('utf8');
    else if (number === 2) piece.score = content.readFloatLE();
    else if (number === 3) piece.type = value;
  }
  return piece;
}

/** The trainer's settings as a field of the model, with the number of pieces they state, if any, changed. */
function withSize(settings: Buffer, pieces: number): Buffer {
  const written: Buffer[] = [];
  for (const { number, field } of parts(settings)) {
    written.push(
      number === VOCABULARY_SIZE ? Buffer.from([VOCABULARY_SIZE << 3, ...varint(pieces)]) : field,
    );
  }
  const content = Buffer.concat(written);
  return Buffer.concat([Buffer.from([(TRAINER << 3) | 2, ...varint(content.length)]), content]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

function isOneCharacter(text: string): boolean {
  return text.length === (text.codePointAt(0)! > 0xffff ? 2 : 1);
}
