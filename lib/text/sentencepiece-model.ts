/**
 * Reads a SentencePiece model file (a protobuf `ModelProto`) far enough to know that it is whole and
 * laid out as XLM-R's, and to name its pieces.
 *
 * XLM-R's layout: a unigram model; piece 0 is `<unk>`, 1 `<s>`, 2 `</s>`, no padding piece, no byte
 * pieces, no `<pad>` or `<mask>` among the pieces; text is normalised with a space put in front, runs
 * of white space collapsed, and `▁` standing for a space at the start of a word. Everything else is
 * `ERR_TOKENIZER`: other layouts (BART's, mBART's, T5's) number their ids differently, and a model
 * read with the wrong numbers gives wrong text without any error.
 *
 * A protobuf cut between two fields is still a valid protobuf. The normaliser comes after the pieces, so such a
 * file is found out all the same. The number of pieces that the trainer's settings state is not looked at: whoever
 * trims or extends a vocabulary leaves it as it was.
 */
import { isUtf8 } from 'node:buffer';
import { MaskPredictError } from '../errors.js';

/** SentencePiece's own id of `<unk>` in XLM-R's layout. */
export const UNKNOWN_PIECE = 0;

export interface SentencePieceModel {
  /** The file's name, for error messages. */
  readonly file: string;
  /** How many pieces there are; SentencePiece's ids are 0 … pieces - 1. */
  readonly pieces: number;
  /** The text of a piece. `id` is SentencePiece's own and in range. */
  piece(id: number): string;
  /** Where the text of each piece is in the file: begin and end, in bytes. */
  readonly table: Int32Array;
}

/** The model in `bytes`, the content of `file`, whose table of pieces is known. */
export function modelOfTable(bytes: Buffer, file: string, table: Int32Array): SentencePieceModel {
  const piece = (id: number) => bytes.toString('utf8', table[2 * id], table[2 * id + 1]);
  return { file, pieces: table.length / 2, piece, table };
}

/** Reads the model in `bytes`, the content of `file`. */
export function readSentencePieceModel(bytes: Buffer, file: string): SentencePieceModel {
  try {
    return modelOfTable(bytes, file, readModel(bytes));
  } catch (error) {
    if (!(error instanceof Unsuitable)) throw error;
    throw new MaskPredictError('ERR_TOKENIZER', `${file}: ${error.message}`);
  }
}

/** Why a model cannot be used; becomes the end of the error message. */
class Unsuitable extends Error {}

function damaged(problem: string): Unsuitable {
  return new Unsuitable(`not a SentencePiece model, or a damaged one: ${problem}`);
}

function otherLayout(difference: string): Unsuitable {
  return new Unsuitable(`not laid out as XLM-R's SentencePiece model: ${difference}`);
}

/** The table of pieces. */
function readModel(bytes: Buffer): Int32Array {
  const table: number[] = [];
  let normalised = false;
  const pointer = 'version https://git-lfs';
  if (bytes.subarray(0, pointer.length).equals(Buffer.from(pointer))) {
    throw new Unsuitable('a Git LFS pointer, not the file itself; fetch it with `git lfs pull`');
  }

  for (const field of fields(bytes, 0, bytes.length)) {
    if (field.number === 1) {
      const { start, end } = readPiece(bytes, field, table.length / 2);
      table.push(start, end);
    } else if (field.number === 2) {
      checkTrainerSettings(bytes, field);
    } else if (field.number === 3) {
      readNormaliser(bytes, field);
      normalised = true;
    }
  }

  if (table.length === 0) throw damaged('it holds no pieces');
  for (const [id, name] of ['<unk>', '<s>', '</s>'].entries()) {
    const text = bytes.toString('utf8', table[2 * id], table[2 * id + 1]);
    if (2 * id >= table.length || text !== name) {
      throw otherLayout(`piece ${id} is ${2 * id < table.length ? text : 'missing'}, not ${name}`);
    }
  }
  if (!normalised) throw damaged('its normaliser is missing; the file may have been cut off');
  return Int32Array.from(table);
}

/** @internal Types of pieces. */
export const NORMAL = 1;
/** @internal */
export const UNUSED = 5;
const UNKNOWN = 2;
const CONTROL = 3;
const BYTE = 6;

/** Where the text of piece `id` lies. Checks the piece. */
function readPiece(bytes: Buffer, message: Field, id: number): { start: number; end: number } {
  let start = 0;
  let end = 0;
  let type = NORMAL;
  for (const field of fields(bytes, message.start, message.end)) {
    if (field.number === 1) ({ start, end } = field);
    else if (field.number === 3) type = field.value;
    else if (field.number === 2) {
      const score = field.end - field.start === 4 ? bytes.readFloatLE(field.start) : NaN;
      if (!Number.isFinite(score)) throw damaged(`piece ${id} has no finite score`);
    }
  }

  if (start === end) throw damaged(`piece ${id} is empty`);
  if (!isUtf8(bytes.subarray(start, end))) throw damaged(`piece ${id} is not UTF-8`);
  if (type === BYTE) throw otherLayout(`piece ${id} stands for a byte`);
  const expected = id === 0 ? UNKNOWN : id <= 2 ? CONTROL : undefined;
  if (expected === undefined ? type === UNKNOWN : type !== expected) {
    throw otherLayout(`piece ${id} is of type ${type}`);
  }
  if (id > 2 && bytes[start] === 0x3c /* < */) {
    const name = bytes.toString('utf8', start, end);
    if (name === '<pad>' || name === '<mask>') throw otherLayout(`piece ${id} is ${name}`);
  }
  return { start, end };
}

function checkTrainerSettings(bytes: Buffer, message: Field): void {
  for (const { number, value } of fields(bytes, message.start, message.end)) {
    if (number === 3 && value !== 1) {
      const name = { 2: 'BPE', 3: 'word', 4: 'character' }[value] ?? `type ${value}`;
      throw otherLayout(`it is a ${name} model, not a unigram model`);
    } else if (number === 24 && value !== 0) {
      throw otherLayout('white space belongs to the end of a word, not to its start');
    } else if (number === 35 && value !== 0) {
      throw otherLayout('it falls back to bytes');
    } else if (number === 40 && value !== 0) {
      throw otherLayout(`its <unk> is ${value}, not 0`);
    } else if (number === 41 && value !== 1) {
      throw otherLayout(`its <s> is ${value}, not 1`);
    } else if (number === 42 && value !== 2) {
      throw otherLayout(`its </s> is ${value}, not 2`);
    } else if (number === 43 && value !== -1) {
      throw otherLayout(`it has a padding piece (${value})`);
    }
  }
}

function readNormaliser(bytes: Buffer, message: Field): void {
  let name = '';
  let mapped = false;
  for (const { number, value, start, end } of fields(bytes, message.start, message.end)) {
    if (number === 1) name = bytes.toString('utf8', start, end);
    else if (number === 2) mapped = end > start;
    else if (number === 3 && value === 0) throw otherLayout('no space is put in front of a text');
    else if (number === 4 && value === 0) throw otherLayout('runs of white space are kept');
    else if (number === 5 && value === 0) throw otherLayout('spaces are not written as ▁');
  }
  if (!mapped && name !== '' && name !== 'identity') {
    throw damaged(`the character map of its normaliser ${name} is missing`);
  }
}

/** @internal */
export interface Field {
  readonly number: number;
  /** The low 32 bits of a varint, as protobuf reads an int32, enum or bool; else 0. */
  readonly value: number;
  /** Where the field's content lies in the file. */
  readonly start: number;
  readonly end: number;
}

/** @internal The fields of the protobuf message in bytes `start` … `end - 1`; throws where it is not one. */
export function* fields(bytes: Buffer, start: number, end: number): Generator<Field> {
  let at = start;

  function varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw damaged(`byte ${at} is beyond its end`);
      const byte = bytes[at++]!;
      if (shift < 32) value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw damaged(`the number before byte ${at} is too long`);
  }

  while (at < end) {
    const tag = varint() >>> 0;
    const number = tag >>> 3;
    if (number === 0) throw damaged(`there is no field before byte ${at}`);
    let contentStart = at;
    let value = 0;
    switch (tag & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint();
        contentStart = at;
        if (length < 0) throw damaged(`the length before byte ${at} is beyond its end`);
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw damaged(`there is no field before byte ${at}`);
    }
    if (at > end) throw damaged(`it ends at byte ${end}, inside a field; it may have been cut off`);
    yield { number, value, start: contentStart, end: at };
  }
}
