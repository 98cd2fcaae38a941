/** The pieces that languages are written with: by Unicode's scripts, for a vocabulary of languages and for trimming. */
import { invalidArgument, shown } from '../errors.js';
import { pauses } from '../pauses.js';
import { Tokenizer } from './tokenizer.js';

/**
 * The ids of the pieces whose characters all belong to the languages' scripts or to none, rising. `option` is the name of
 * `languages` in messages.
 */
export async function idsOfLanguages(
  languages: unknown,
  tokenizer: Tokenizer,
  option: string,
): Promise<Int32Array> {
  if (Tokenizer.pieces(tokenizer).isOfBytes) {
    throw invalidArgument(
      `${option} does not apply to this model: the pieces of its tokenizer.json are bytes, which belong to no script; ` +
        'name ids instead',
    );
  }
  return idsOfScripts(scriptsOf(languages, option), tokenizer);
}

/** Scripts that are written together, by the name under which a language asks for them. */
const combinedScripts: Record<string, string[]> = {
  Jpan: ['Hira', 'Kana', 'Hani'],
  Kore: ['Hang', 'Hani'],
  Hans: ['Hani'],
  Hant: ['Hani'],
};

function scriptsOf(languages: unknown, option: string): string[] {
  if (!Array.isArray(languages) || languages.length === 0) {
    throw invalidArgument(`${option} must be an array of language tags, e.g. ['de']`);
  }
  return Array.from(languages as unknown[], (language) => {
    const script = typeof language === 'string' ? likelyScript(language) : undefined;
    if (script === undefined) {
      throw invalidArgument(
        `${option}: ${shown(language)} is not the tag of a language with a known script; ` +
          `BCP 47 tags are meant, such as 'de', 'zh' or 'sr-Latn'`,
      );
    }
    return combinedScripts[script] ?? [script];
  }).flat();
}

/** The script a language is usually written in (Unicode's likely subtags), or the one its tag names. */
function likelyScript(language: string): string | undefined {
  try {
    const { script } = new Intl.Locale(language).maximize();
    for (const part of combinedScripts[script!] ?? [script]) new RegExp(charactersOf(part!), 'u');
    return script;
  } catch {
    return undefined; // not a tag, or a script that Unicode has no characters of
  }
}

function charactersOf(script: string): string {
  return `\\p{Script_Extensions=${script}}`;
}

async function idsOfScripts(scripts: string[], tokenizer: Tokenizer): Promise<Int32Array> {
  const own = scripts.map(charactersOf).join('');
  const pattern = new RegExp(`^[${own}\\p{Script=Common}\\p{Script=Inherited}]*$`, 'u');
  const pause = pauses();
  const ids = [];
  for (let id = 3; id < tokenizer.maskTokenId; id++) {
    if (pattern.test(tokenizer.piece(id))) ids.push(id);
    if (id % 256 === 0) await pause();
  }
  return Int32Array.from(ids);
}
