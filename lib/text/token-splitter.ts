/**
 * Finds tokens that stand in a text by their names, as Hugging Face's fast tokenizers do: the longest name at the leftmost
 * place; white space beside a token belongs to it where it says so; a token of a single word is passed over where a letter
 * or digit touches it. Tokens that are looked for in the normalised text are found after all others, in what is left
 * between them, by the text's NFKC form; a space before such a token stays, as a piece of its own.
 */
import type { AddedToken } from '../token/added-tokens.js';

/** @internal */
export type NamedToken = Omit<AddedToken, 'file'>;

/** A node of a trie over UTF-16 units. */
interface Node {
  next: Map<number, Node>;
  token?: NamedToken;
}

/** @internal */
export class TokenSplitter {
  readonly #asWritten: Node = { next: new Map() };
  readonly #normalized: Node = { next: new Map() };
  readonly #space: number | undefined;

  /** `space` is the id of a space that stands alone, if there is one. */
  constructor(tokens: Iterable<NamedToken>, space: number | undefined) {
    this.#space = space;
    for (const token of tokens) {
      if (token.normalized) insert(this.#normalized, normal(token.content), token);
      else insert(this.#asWritten, token.content, token);
    }
  }

  /** The text in parts: ids of tokens, and the text between them. */
  *split(text: string): Generator<number | string> {
    for (const part of splitBy(this.#asWritten, text)) {
      if (typeof part === 'number' || this.#normalized.next.size === 0) {
        yield part;
        continue;
      }
      const parts = [...splitBy(this.#normalized, normal(part))];
      // Where nothing is found, normalising is the vocabulary's business.
      if (parts.every((one) => typeof one === 'string')) yield part;
      else yield* this.#withSpaces(parts);
    }
  }

  *#withSpaces(parts: (number | string)[]): Generator<number | string> {
    for (const [index, part] of parts.entries()) {
      yield part;
      const before = typeof part === 'string' && index + 1 < parts.length;
      if (before && this.#space !== undefined && whiteSpace.test(part.at(-1)!)) yield this.#space;
    }
  }
}

function normal(text: string): string {
  return text.normalize('NFKC');
}

function insert(root: Node, name: string, token: NamedToken): void {
  let node = root;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    let next = node.next.get(unit);
    if (!next) node.next.set(unit, (next = { next: new Map() }));
    node = next;
  }
  node.token = token;
}

function* splitBy(root: Node, text: string): Generator<number | string> {
  let given = 0; // where what was given out ends
  for (let at = 0; at < text.length;) {
    const found = longest(root, text, at);
    if (!found) {
      at++;
      continue;
    }
    const { token, end } = found;
    const alone = !isWordBefore(text, at) && !isWordAt(text, end);
    if (!token.singleWord || alone) {
      const begin = token.lstrip ? beginOfSpace(text, at, given) : at;
      if (begin > given) yield text.slice(given, begin);
      yield token.id;
      given = token.rstrip ? endOfSpace(text, end) : end;
    }
    at = Math.max(end, given);
  }
  if (given < text.length) yield text.slice(given);
}

/** The longest name that begins at `at`. */
function longest(root: Node, text: string, at: number) {
  let found: { token: NamedToken; end: number } | undefined;
  let node = root.next.get(text.charCodeAt(at));
  for (let end = at + 1; node; end++) {
    if (node.token) found = { token: node.token, end };
    node = node.next.get(text.charCodeAt(end));
  }
  return found;
}

const whiteSpace = /\p{White_Space}/u;

function beginOfSpace(text: string, end: number, least: number): number {
  while (end > least && whiteSpace.test(text[end - 1]!)) end--;
  return end;
}

function endOfSpace(text: string, begin: number): number {
  while (begin < text.length && whiteSpace.test(text[begin]!)) begin++;
  return begin;
}

const word = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

function isWordBefore(text: string, end: number): boolean {
  return word.test(/[^]$/u.exec(text.slice(Math.max(0, end - 2), end))?.[0] ?? '');
}

function isWordAt(text: string, begin: number): boolean {
  return begin < text.length && word.test(String.fromCodePoint(text.codePointAt(begin)!));
}
