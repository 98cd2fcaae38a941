/**
 * Tokens that Hugging Face's tokenizers add to those of a vocabulary file, from the files of an XLM-R directory. As there,
 * `added_tokens_decoder` of `tokenizer_config.json` is all of them where it stands; else they are those of
 * `added_tokens.json` and of `tokenizer.json` together.
 *
 * Their ids may stand in sources. They are never answered: the ids of answers end with `<mask>`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MaskPredictError, shown } from '../errors.js';
import { isObject, readOptionalObject, type JsonObject } from '../json-files.js';

export interface AddedToken {
  id: number;
  content: string;
  /** True if white space to its left, or to its right, belongs to it. */
  lstrip: boolean;
  rstrip: boolean;
  /** True if it is looked for in the normalised text, and not in the text as it stands. */
  normalized: boolean;
  /** True if it is only read where no letter or digit touches it. */
  singleWord: boolean;
  /** True if it is left out when ids are written as text. */
  special: boolean;
  /** The file it is from. */
  file: string;
}

const settingsFile = 'tokenizer_config.json';
const listFile = 'added_tokens.json';
const tokenizerFile = 'tokenizer.json';
const specialsFile = 'special_tokens_map.json';

/** One more than the largest id of any model. */
const IDS = 2 ** 24;

/**
 * The added tokens of a directory by rising id, those included that are also tokens of the vocabulary file. None where no
 * file names any. `ERR_MODEL_FORMAT` names the file: not JSON, an id that is none, a token of two ids, an id of two tokens.
 */
export function readAddedTokens(directory: string): AddedToken[] {
  const tokens = new AddedTokens();
  const settings = readOptionalObject(directory, settingsFile) ?? {};
  const decoder = settings['added_tokens_decoder'];
  if (decoder !== undefined && decoder !== null) {
    const file = join(directory, settingsFile);
    if (!isObject(decoder)) throw damaged(file, `added_tokens_decoder is ${shown(decoder)}`);
    for (const [id, fields] of Object.entries(decoder)) {
      const number = /^\d{1,15}$/.test(id) ? Number(id) : id;
      tokens.add(file, number, isObject(fields) ? fields : {});
    }
    return tokens.list();
  }
  const listed = readOptionalObject(directory, listFile) ?? {};
  const specials = namesOfSpecials(directory, settings);
  for (const [content, id] of Object.entries(listed)) {
    const special = specials.has(content);
    const fields = { content, special, normalized: !special };
    tokens.add(join(directory, listFile), id, fields);
  }
  const file = join(directory, tokenizerFile);
  for (const fields of listInside(file, 'added_tokens')) {
    tokens.add(file, isObject(fields) ? fields['id'] : undefined, isObject(fields) ? fields : {});
  }
  return tokens.list();
}

/** Content of a tokenizer_config.json that says the same of `tokens`. */
export function addedTokensDecoder(tokens: readonly AddedToken[]): JsonObject {
  const entries = tokens.map(({ id, content, lstrip, rstrip, normalized, singleWord, special }) => {
    return [id, { content, lstrip, normalized, rstrip, single_word: singleWord, special }] as const;
  });
  return { added_tokens_decoder: Object.fromEntries(entries) };
}

/** Tokens so far, no two of one id and no two of one content. */
class AddedTokens {
  readonly #byId = new Map<number, AddedToken>();
  readonly #byContent = new Map<string, AddedToken>();

  add(file: string, id: unknown, fields: JsonObject): void {
    const { content, lstrip, rstrip, special, normalized, single_word } = fields;
    if (typeof content !== 'string' || content === '') {
      throw damaged(
        file,
        `the added token of id ${shown(id)} has the content ${shown(content)}, not a text`,
      );
    }
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= IDS) {
      const range = `a whole number from 0 to ${IDS - 1}`;
      throw damaged(
        file,
        `the added token ${shown(content)} has the id ${shown(id)}, not ${range}`,
      );
    }
    const token: AddedToken = {
      id: id as number,
      content,
      lstrip: lstrip === true,
      rstrip: rstrip === true,
      normalized: typeof normalized === 'boolean' ? normalized : special !== true,
      singleWord: single_word === true,
      special: special === true,
      file,
    };
    for (const other of [this.#byId.get(token.id), this.#byContent.get(content)]) {
      if (other && (other.id !== id || other.content !== content))
        throw contradiction(token, other);
    }
    this.#byId.set(token.id, token);
    this.#byContent.set(content, token);
  }

  list(): AddedToken[] {
    return [...this.#byId.values()].sort((a, b) => a.id - b.id);
  }
}

function contradiction(token: AddedToken, other: AddedToken): MaskPredictError {
  const where = other.file === token.file ? '' : ` in ${other.file}`;
  return damaged(
    token.file,
    `the added token ${shown(token.content)} has the id ${token.id}, but ${shown(other.content)} has the id ` +
      `${other.id}${where}; take one of them out`,
  );
}

function damaged(file: string, problem: string): MaskPredictError {
  return new MaskPredictError('ERR_MODEL_FORMAT', `${file}: ${problem}`);
}

/** added_tokens.json does not say which of its tokens are special; these two files do. */
function namesOfSpecials(directory: string, settings: JsonObject): Set<unknown> {
  const given = [settings, readOptionalObject(directory, specialsFile) ?? {}];
  const lists = given.map((content) => content['additional_special_tokens']);
  const tokens = lists.flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  return new Set(tokens.map((token) => (isObject(token) ? token['content'] : token)));
}

/**
 * The list that a JSON file has under `name`; empty where there is no file or no such list. The rest of a tokenizer.json
 * has up to 17 MB and is not read.
 */
function listInside(file: string, name: string): unknown[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw new MaskPredictError('ERR_MODEL_FORMAT', `${file} cannot be read: ${message}`, { cause });
  }
  const key = `"${name}"`;
  for (let at = bytes.indexOf(key); at >= 0; at = bytes.indexOf(key, at + 1)) {
    const before = /^\s*:\s*\[/.exec(bytes.toString('latin1', at + key.length, at + 64));
    if (!before) continue; // a value, not a key, or not a list
    const start = at + key.length + before[0].length - 1;
    try {
      return JSON.parse(bytes.toString('utf8', start, endOfList(bytes, start))) as unknown[];
    } catch (cause) {
      const message = `${file}: its ${name} are not JSON`;
      throw new MaskPredictError('ERR_MODEL_FORMAT', message, { cause });
    }
  }
  return [];
}

/** Where the list that begins at `start` ends. */
function endOfList(bytes: Buffer, start: number): number {
  let depth = 0;
  let quoted = false;
  for (let at = start; at < bytes.length; at++) {
    const letter = bytes[at]!;
    if (letter === 0x22 /* " */) quoted = !quoted;
    else if (quoted && letter === 0x5c /* \ */) at++;
    else if (!quoted && letter === 0x5b /* [ */) depth++;
    else if (!quoted && letter === 0x5d /* ] */ && --depth === 0) return at + 1;
  }
  return bytes.length;
}
