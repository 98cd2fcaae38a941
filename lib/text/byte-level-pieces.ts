/**
 * The pieces of a tokenizer.json of byte-level BPE, as ModernBERT's: over @huggingface/tokenizers, which does what the
 * file says. Special names in a text are text unless they are asked for: a second instance does not know them. Tokens
 * that the file adds without calling them special, such as `[unused0]` and runs of spaces, are read in any text.
 *
 * A long text is encoded a part at a time. Parts end where the file's pattern begins a new word with a space, so that
 * together they are the ids of the whole text; but a word of thousands of characters is cut where it is too long.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import { MaskPredictError, shown } from '../errors.js';
import { isObject, readOptionalObject, type JsonObject } from '../json-files.js';
import type { TextPieces } from './tokenizer.js';

/** Bytes of a file; the largest known have 35 million. */
const LARGEST_FILE = 256 * 2 ** 20;
/** Characters of a part: about so many, and at most. */
const PART = 2 ** 11;
const LONGEST_PART = 2 ** 13;

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  lstrip: boolean;
}

/** @internal */
export class ByteLevelPieces implements TextPieces {
  readonly begin: number;
  readonly end: number;
  readonly pad: number;
  readonly mask: number;
  readonly between: readonly number[];
  readonly vocabulary: number;
  readonly pieces: number;
  readonly maskTakesSpace: boolean;
  readonly isOfBytes = true;
  readonly #file: TokenizerFile;
  readonly #names: readonly (string | undefined)[];
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #encoders = new Map<boolean, Encoder>();

  private constructor(file: TokenizerFile) {
    this.#file = file;
    this.#names = file.names;
    this.#added = new Map(file.added.map((token) => [token.id, token]));
    const { begin, end } = file.ends();
    this.begin = begin;
    this.end = end;
    this.between = [end];
    this.pad = file.special('pad_token', '[PAD]').id;
    const mask = file.special('mask_token', '[MASK]');
    this.mask = mask.id;
    this.maskTakesSpace = mask.lstrip;
    this.vocabulary = this.#names.length;
    this.pieces = this.#names.filter((name) => name !== undefined).length;
  }

  /** `ERR_TOKENIZER`: missing, damaged, or not byte-level BPE. */
  static async load(path: string): Promise<ByteLevelPieces> {
    const pieces = new ByteLevelPieces(await TokenizerFile.read(path));
    pieces.#encoder(false); // a damaged file is found now
    return pieces;
  }

  isId(id: number): boolean {
    return id >= 0 && id < this.vocabulary;
  }

  *encode(text: string, parseSpecial: boolean): Generator<number[]> {
    const encoder = this.#encoder(parseSpecial);
    for (const part of parts(text)) {
      yield encoder.encode(part, { add_special_tokens: false }).ids;
    }
  }

  decode(ids: number[], keepSpecial: boolean): string {
    const bytes: number[] = [];
    for (const id of ids) {
      const added = this.#added.get(id);
      if (added?.special && !keepSpecial) continue;
      if (added) bytes.push(...Buffer.from(added.content, 'utf8'));
      else for (const letter of this.#names[id] ?? '') bytes.push(byteOf.get(letter) ?? 0);
    }
    return Buffer.from(bytes).toString('utf8');
  }

  /** Empty where an id below the largest stands for nothing. */
  piece(id: number): string {
    return this.#names[id] ?? '';
  }

  written(id: number): string {
    return this.decode([id], true);
  }

  #encoder(parseSpecial: boolean): Encoder {
    let encoder = this.#encoders.get(parseSpecial);
    if (!encoder) {
      encoder = this.#file.encoder(parseSpecial);
      this.#encoders.set(parseSpecial, encoder);
    }
    return encoder;
  }
}

/** A tokenizer.json and the tokenizer_config.json beside it, as far as they are read here. */
class TokenizerFile {
  readonly #path: string;
  readonly #content: JsonObject;
  readonly #settings: JsonObject;
  readonly added: readonly AddedToken[];
  /** By id. */
  readonly names: readonly (string | undefined)[];

  private constructor(path: string, content: JsonObject, settings: JsonObject) {
    this.#path = path;
    this.#content = content;
    this.#settings = settings;
    this.#checkKind();
    this.added = this.#readAdded();
    this.names = this.#readNames();
  }

  static async read(path: string): Promise<TokenizerFile> {
    const unreadable = (cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause);
      return new MaskPredictError('ERR_TOKENIZER', `${path}: cannot be read: ${reason}`, { cause });
    };
    let content: unknown;
    try {
      const { size } = await stat(path);
      if (size > LARGEST_FILE) throw new Error(`it is too large (${size} bytes)`);
      content = JSON.parse((await readFile(path, 'utf8')).replace(/^\uFEFF/, ''));
    } catch (error) {
      throw unreadable(error);
    }
    if (!isObject(content))
      throw unreadable(new Error(`it holds ${shown(content)}, not an object`));
    const settings = readOptionalObject(dirname(path), 'tokenizer_config.json') ?? {};
    return new TokenizerFile(path, content, settings);
  }

  fail(message: string, cause?: unknown): MaskPredictError {
    return new MaskPredictError('ERR_TOKENIZER', `${this.#path}: ${message}`, { cause });
  }

  /** Encodes without the ids around a text; without `special`, special names are text. */
  encoder(special: boolean): Encoder {
    const all = this.#content['added_tokens'] as JsonObject[];
    const added_tokens = special ? all : all.filter((token) => token['special'] !== true);
    try {
      return new Encoder(
        { ...this.#content, added_tokens, truncation: null, padding: null },
        this.#settings,
      );
    } catch (error) {
      throw this.fail('it is damaged, or of a kind that is not read', error);
    }
  }

  /** The ids before and after a text, from the template. */
  ends(): { begin: number; end: number } {
    const processor = this.#content['post_processor'];
    const single = isObject(processor) ? processor['single'] : undefined;
    const list: unknown[] = Array.isArray(single) ? single : [];
    const names = list.map((item) => {
      const token = isObject(item) ? item['SpecialToken'] : undefined;
      return isObject(token) ? token['id'] : undefined;
    });
    if (list.length !== 3 || names[0] === undefined || names[2] === undefined) {
      throw this.fail('its post_processor must put one token before a text and one after it');
    }
    return { begin: this.#idOf(names[0]), end: this.#idOf(names[2]) };
  }

  /** The token that tokenizer_config.json calls so. */
  special(field: string, otherwise: string): AddedToken {
    const given = this.#settings[field];
    const name = isObject(given) ? given['content'] : (given ?? otherwise);
    const token = this.added.find(({ content }) => content === name);
    if (!token) throw this.fail(`it has no token ${shown(name)}, which is the ${field}`);
    return token;
  }

  #idOf(name: unknown): number {
    const token = this.added.find(({ content }) => content === name);
    if (!token)
      throw this.fail(`its template names ${shown(name)}, which is not among the added_tokens`);
    return token.id;
  }

  #checkKind(): void {
    const typeOf = (name: string) => {
      const part = this.#content[name];
      return isObject(part) ? part['type'] : part;
    };
    const model = typeOf('model');
    const splitter = typeOf('pre_tokenizer');
    if (model !== 'BPE' || splitter !== 'ByteLevel') {
      const named = [model, splitter].map((type) => shown(type)).join(' with the pre-tokenizer ');
      throw this.fail(`it is of the kind ${named}; what is read is 'BPE' with 'ByteLevel'`);
    }
    const normalizer = typeOf('normalizer');
    if (normalizer !== 'NFC' && normalizer !== null && normalizer !== undefined) {
      throw this.fail(`its normalizer is ${shown(normalizer)}; what is read is 'NFC' or none`);
    }
  }

  #readAdded(): AddedToken[] {
    const list = this.#content['added_tokens'];
    if (!Array.isArray(list)) throw this.fail('its added_tokens are missing');
    return (list as unknown[]).map((token, index) => {
      const { id, content, special, lstrip } = isObject(token) ? token : {};
      if (!isId(id) || typeof content !== 'string' || content === '') {
        throw this.fail(`its added token ${index} has no id or no content`);
      }
      return { id, content, special: special === true, lstrip: lstrip === true };
    });
  }

  #readNames(): (string | undefined)[] {
    const model = this.#content['model'] as JsonObject;
    const vocabulary = model['vocab'];
    if (!isObject(vocabulary)) throw this.fail('its model has no vocab');
    const names: (string | undefined)[] = [];
    const entries: [string, unknown][] = [
      ...Object.entries(vocabulary),
      ...this.added.map(({ content, id }): [string, number] => [content, id]),
    ];
    for (const [name, id] of entries) {
      if (!isId(id)) throw this.fail(`the id of ${shown(name)} is ${shown(id)}`);
      names[id] = name;
    }
    return Array.from(names);
  }
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 24;
}

/** GPT-2's letters for bytes: printable ones are themselves, the others the letters from U+0100 on. */
const byteOf = new Map<string, number>();
for (let byte = 0, others = 0; byte < 256; byte++) {
  const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  byteOf.set(String.fromCodePoint(printable ? byte : 256 + others++), byte);
}

/** A text in parts that are encoded alone with the ids they have together. */
export function* parts(text: string): Generator<string> {
  // A space between two that are none: there a word begins, and no combining mark reaches across.
  const border = /(?<=\S) (?=\S)/g;
  for (let begin = 0; begin < text.length;) {
    // One character more than a part may have, to see what follows.
    const ahead = text.slice(begin, begin + LONGEST_PART + 1);
    border.lastIndex = PART;
    let length = ahead.length <= PART ? ahead.length : (border.exec(ahead)?.index ?? ahead.length);
    if (length > LONGEST_PART) length = LONGEST_PART - (endsInPair(ahead) ? 1 : 0);
    yield ahead.slice(0, length);
    begin += length;
  }
}

/** True if the longest part would end between two halves of a character. */
function endsInPair(text: string): boolean {
  return /[\uD800-\uDBFF]/.test(text[LONGEST_PART - 1]!);
}
