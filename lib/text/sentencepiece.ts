/**
 * SentencePiece as the tokenizer needs it, over the sentencepiece-js package: one instance per model
 * file and process, ids without surprises, and nothing left behind in the process.
 *
 * Faults of that package, and our remedies:
 *
 * - Any file loads, damaged ones too, and then every text has no ids. The file is read and checked
 *   first (lib/text/sentencepiece-model.ts), and the loaded instance is tried.
 * - Every load leaves listeners for uncaughtException and unhandledRejection on the process that
 *   throw what they get: the application's own handlers stop working, and the instance's memory is
 *   held for ever. They are taken off again before any of them can be called.
 * - Runs of unknown characters take quadratic time, and memory never shrinks: texts are encoded in
 *   segments (lib/text/sentencepiece-segments.ts).
 * - Lone surrogates swallow the next character: they become U+FFFD.
 * - An id out of range makes the whole decoded text empty: ids are the caller's to check.
 *
 * Ids here are SentencePiece's own: 0 … pieces - 1.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { readFile, realpath, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { MaskPredictError } from '../errors.js';
import { fileURLToPath } from 'node:url';
import {
  modelOfTable,
  readSentencePieceModel,
  UNKNOWN_PIECE,
  type SentencePieceModel,
} from './sentencepiece-model.js';
import { segments } from './sentencepiece-segments.js';
import { Snapshot } from './sentencepiece-snapshot.js';

// Not an import: Node.js would first look through all of its 760 kB for the names that it exports, which takes longer than
// to run it.
const require = createRequire(import.meta.url);
const { SentencePieceProcessor } = require('sentencepiece-js') as typeof import('sentencepiece-js');
type SentencePieceProcessor = InstanceType<typeof SentencePieceProcessor>;

export class SentencePiece {
  readonly model: SentencePieceModel;
  readonly #processor: SentencePieceProcessor;
  readonly #whiteSpace: ReadonlySet<string>;
  /** A character that no piece holds; see #encodeInsideWord. */
  readonly #marker: string;
  readonly #markerPieces: readonly string[];

  /** `processor` has loaded `model` and gives ids for text. */
  constructor(processor: SentencePieceProcessor, model: SentencePieceModel) {
    this.model = model;
    this.#processor = processor;
    this.#whiteSpace = whiteSpace(processor);
    this.#marker = unknownCharacter(processor);
    this.#markerPieces = processor.encodePieces(this.#marker);
  }

  /**
   * The ids of `text`, a segment's worth at a time, so that a caller who has enough may stop. Put
   * together they are SentencePiece's ids of the whole text, with one exception: a word of thousands
   * of characters without white space is cut where it is too long, and the pieces right at such a cut
   * may differ. A text always gives the same ids, however many of them are asked for.
   */
  *encode(text: string): Generator<number[]> {
    let insideWord = false;
    let last: number | undefined;
    for (const segment of segments(text, this.#whiteSpace)) {
      const ids: number[] = insideWord
        ? this.#encodeInsideWord(segment.text)
        : this.#run((processor) => processor.encodeIds(segment.text));
      // Characters that normalisation removes do not begin a word.
      insideWord = segment.endsInsideWord && (insideWord || ids.length > 0);
      // SentencePiece makes one <unk> of a run of unknown characters.
      if (ids[0] === UNKNOWN_PIECE && last === UNKNOWN_PIECE) ids.shift();
      last = ids.at(-1) ?? last;
      yield ids;
    }
  }

  /** The text of `ids`. Every id is in range. */
  decode(ids: number[]): string {
    return ids.length === 0 ? '' : this.#run((processor) => processor.decodeIds(ids));
  }

  /**
   * The ids of a text that continues a word. SentencePiece would begin a new word with it, so it gets
   * an unknown character in front, whose ids are then taken off.
   */
  #encodeInsideWord(text: string): number[] {
    const marked = this.#marker + text;
    const head = this.#markerPieces.length;
    const ids = this.#run((processor) => processor.encodeIds(marked)).slice(head);
    const pieces = this.#run((processor) => processor.encodePieces(marked));
    // Unknown characters at the start of the text have become one piece with the marker.
    if (pieces[head - 1] !== this.#markerPieces[head - 1]) ids.unshift(UNKNOWN_PIECE);
    return ids;
  }

  /** WebAssembly may throw a bare number. Only damage that no check can see makes it throw. */
  #run<T>(call: (processor: SentencePieceProcessor) => T): T {
    try {
      return call(this.#processor);
    } catch (error) {
      throw new MaskPredictError(
        'ERR_TOKENIZER',
        `${this.model.file}: SentencePiece failed; the file is damaged, or there is no memory left`,
        { cause: error },
      );
    }
  }
}

/** The characters that the model's normaliser makes spaces of. */
function whiteSpace(processor: SentencePieceProcessor): ReadonlySet<string> {
  const space = processor.encodeIds('a b').join();
  const candidates =
    ' \t\n\v\f\r\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a' +
    '\u200b\u200e\u200f\u2028\u2029\u202f\u205f\u2581\u3000\ufeff\ufffd';
  return new Set(
    [...candidates].filter((character) => processor.encodeIds(`a${character}b`).join() === space),
  );
}

/** The first character of the private use planes that no piece holds and normalisation keeps. */
function unknownCharacter(processor: SentencePieceProcessor): string {
  for (let codePoint = 0xf0000; ; codePoint++) {
    const character = String.fromCodePoint(codePoint);
    const kept = processor.encodePieces(character).at(-1)?.endsWith(character);
    if (kept && processor.encodeIds(character).at(-1) === UNKNOWN_PIECE) return character;
  }
}

/** Larger files are no tokenizers; the largest known are some 20 MB. */
const LARGEST_FILE = 256 * 2 ** 20;

const underWay = new Map<string, Promise<SentencePiece>>();
// Weak, so that the memory of a model nobody uses any more (some 50 MB) is given back.
const loaded = new Map<string, WeakRef<SentencePiece>>();
const collected = new FinalizationRegistry<string>((identity) => {
  if (loaded.get(identity)?.deref() === undefined) loaded.delete(identity);
});

/** The instance of the model in `file`: the same one for the same, unchanged file. */
export async function loadSentencePiece(file: string): Promise<SentencePiece> {
  const { path, identity } = await identify(file);
  const existing = loaded.get(identity)?.deref();
  if (existing) return existing;

  let load = underWay.get(identity);
  if (!load) {
    load = read(file, path, identity).finally(() => underWay.delete(identity));
    underWay.set(identity, load);
  }
  return load;
}

async function read(file: string, path: string, identity: string): Promise<SentencePiece> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  const snapshot = await Snapshot.of(bytes);
  const kept = await snapshot?.read(() => processorOf(noModel));
  const instance = kept
    ? new SentencePiece(kept.processor, modelOfTable(bytes, file, kept.table))
    : await start(path, readSentencePieceModel(bytes, file), snapshot);
  // sentencepiece-js reads the file itself, a second time.
  if ((await identify(file)).identity !== identity) {
    throw new MaskPredictError('ERR_TOKENIZER', `${file}: changed while it was loaded; try again`);
  }

  loaded.set(identity, new WeakRef(instance));
  collected.register(instance, identity);
  return instance;
}

/**
 * Puts an error of SentencePiece's WebAssembly into words: flags of Node.js and limits of memory are not a damaged
 * file.
 */
function cannotLoad(file: string, cause: unknown): MaskPredictError {
  const text = String(cause);
  const refused = (what: string, flag: string) =>
    new MaskPredictError(
      'ERR_TOKENIZER',
      `${file}: SentencePiece needs ${what}, which this Node.js does not allow; start it without ${flag}`,
      { cause },
    );
  if (!('WebAssembly' in globalThis)) return refused('WebAssembly', '--jitless');
  if (cause instanceof EvalError || /Code generation from strings/.test(text)) {
    return refused('code made of strings', '--disallow-code-generation-from-strings');
  }
  if (/could not allocate|Out of memory|Cannot allocate/i.test(text)) {
    return new MaskPredictError(
      'ERR_OUT_OF_MEMORY',
      `${file}: there is no memory for SentencePiece's WebAssembly, which reserves some GiB of addresses: see the limit of ` +
        'the process (ulimit -v)',
      { cause },
    );
  }
  return new MaskPredictError(
    'ERR_TOKENIZER',
    `${file}: SentencePiece cannot load it; it is damaged, or there is no memory left`,
    { cause },
  );
}

async function start(
  path: string,
  model: SentencePieceModel,
  snapshot: Snapshot | undefined,
): Promise<SentencePiece> {
  try {
    const processor = await processorOf(path);
    if (processor.encodeIds('a').length === 0) throw new Error('a text has no ids');
    snapshot?.write(processor, model.table);
    return new SentencePiece(processor, model);
  } catch (error) {
    throw cannotLoad(model.file, error);
  }
}

/** A file that is no SentencePiece model; a processor of it has no pieces. */
const noModel = fileURLToPath(new URL('../../package.json', import.meta.url));

async function processorOf(path: string): Promise<SentencePieceProcessor> {
  const processor = new SentencePieceProcessor();
  await withoutProcessListeners(() => processor.load(path));
  return processor;
}

/** The real path of `file`, and a string that changes when the file does. */
async function identify(file: string): Promise<{ path: string; identity: string }> {
  try {
    const path = await realpath(file);
    const status = await stat(path, { bigint: true });
    if (!status.isFile()) throw new Error('it is not a file');
    if (status.size > LARGEST_FILE) throw new Error(`it is too large (${status.size} bytes)`);
    return {
      path,
      identity: [path, status.dev, status.ino, status.ctimeNs, status.mtimeNs, status.size].join(
        '\0',
      ),
    };
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, error: unknown): MaskPredictError {
  const problem = error instanceof Error ? error.message : String(error);
  return new MaskPredictError(
    'ERR_TOKENIZER',
    `${file}: cannot be read as a SentencePiece model: ${problem}`,
    { cause: error },
  );
}

const listenerFree = new AsyncLocalStorage<true>();

/**
 * Runs `work`; what it or anything it awaits adds to the process's listeners is taken off again in
 * the next microtask: before Node reports rejections, and without touching the listeners that others
 * add at the same time.
 */
async function withoutProcessListeners(work: () => Promise<void>): Promise<void> {
  const onNewListener = (event: string, listener: (...values: unknown[]) => void) => {
    if (listenerFree.getStore()) queueMicrotask(() => process.off(event, listener));
  };
  process.on('newListener', onNewListener);
  try {
    await listenerFree.run(true, work);
  } finally {
    process.off('newListener', onNewListener);
  }
}
