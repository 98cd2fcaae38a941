/**
 * Fills `<mask>` (ModernBERT: `[MASK]`) with the most probable pieces, or with one of given labels (cloze
 * classification). The text is read as Hugging Face's tokenizers read it: `<mask>` takes the white space to its left
 * with it.
 */
import { invalidArgument, shown } from '../errors.js';
import { countOption, filledMasks } from '../token/readings.js';
import { Reading } from './reading.js';
import { checkLengths, sum } from './scoring.js';
import { textOptions, type TextOptions, type TextReader } from './text.js';
import { Tokenizer, type TextPieces } from './tokenizer.js';

export interface FillMaskOptions extends Omit<TextOptions, 'parseSpecial'> {
  /** Candidates for each `<mask>`: 1 … 1000, default 5. */
  count?: number;
}

export interface FillLabelsOptions extends Omit<TextOptions, 'parseSpecial'> {
  /** Candidates for the text's one `<mask>`, each a word of its own; all have the same number of tokens. */
  labels: readonly string[];
}

/** A piece for one `<mask>`. */
export interface MaskCandidate {
  id: number;
  /** `▁` stands for a space, in byte-level pieces `Ġ`. */
  piece: string;
  /** The whole text with the piece put in; other masks stay. */
  text: string;
  /** Over all real ids. */
  logProb: number;
}

/** A label for the `<mask>`. */
export interface LabelCandidate {
  label: string;
  /** Its place among the labels. */
  index: number;
  /** The whole text with the label put in. */
  text: string;
  /**
   * The sum of its tokens' log-probabilities, each token given none of the others. With byte-level pieces, of both of its
   * spellings, with a space before it and without, where they have as many tokens.
   */
  logProb: number;
  /** Its share of all labels together. */
  probability: number;
}

/** The text options among {@link FillMaskOptions} and {@link FillLabelsOptions}. @internal */
export const fillOptions = textOptions.filter((name) => name !== 'parseSpecial');

/** @internal */
export class MaskFiller {
  readonly #texts: TextReader;
  readonly #pieces: TextPieces;
  readonly #mask: string;

  constructor(texts: TextReader, tokenizer: Tokenizer) {
    this.#texts = texts;
    this.#pieces = Tokenizer.pieces(tokenizer);
    this.#mask = tokenizer.maskToken;
  }

  /** The best pieces for each `<mask>`, best first. */
  pieces(text: string, given: FillMaskOptions, name: string): Reading<MaskCandidate[][]> {
    const count = countOption(given.count);
    const ids = this.#ids(text, given, name, 0);
    return new Reading(ids, { kind: 'best', count }, (answer) =>
      filledMasks(answer).map(({ ids, logProbs }, index) =>
        Array.from(ids, (id, place) => {
          const written = this.#put(text, index, this.#pieces.written(id));
          return { id, piece: this.#pieces.piece(id), text: written, logProb: logProbs[place]! };
        }),
      ),
    );
  }

  /** The labels, best first. */
  labels(text: string, given: FillLabelsOptions, name: string): Reading<LabelCandidate[]> {
    const { labels } = given;
    if (!Array.isArray(labels) || labels.length === 0) {
      throw invalidArgument('labels must be an array with at least one label');
    }
    const list = Array.from(labels as readonly string[]);
    const answers = list.map((label, index) => this.#spellings(label, `label ${index}`));
    checkLengths(
      list,
      answers.map(([answer]) => answer!),
    );
    const tokens = answers[0]![0]!.length - 2;
    const candidates = answers.flat().map((answer) => answer.slice(1, -1));
    const ids = this.#expanded(this.#ids(text, given, name, tokens - 1), tokens, name);
    return new Reading(ids, { kind: 'score', candidates }, ({ values }) => {
      let next = 0;
      const logProbs = answers.map((spellings) =>
        logSumExp(spellings.map(() => sum(values.subarray(next, (next += tokens))))),
      );
      return ranked(list, logProbs, (label) => this.#put(text, 0, ` ${label.trim()}`));
    });
  }

  /**
   * The ids of a label as a word of its own, and, where a piece may bring its space or not, also without the space if
   * that takes as many tokens.
   */
  #spellings(label: string, name: string): Int32Array[] {
    if (!this.#pieces.isOfBytes || typeof label !== 'string') {
      return [this.#texts.answer(label, {}, name)];
    }
    const [spaced, bare] = [` ${label.trim()}`, label.trim()].map((spelling) =>
      this.#texts.answer(spelling, {}, name),
    );
    return spaced!.length === bare!.length ? [spaced!, bare!] : [spaced!];
  }

  /** The text's ids, with space for `more`; every `<mask>` of the text is among them. */
  #ids(text: string, given: TextOptions, name: string, more: number): Int32Array {
    const { ids } = this.#texts.text(text, { ...given, parseSpecial: true }, name, more);
    const masks = this.#masks(ids);
    const mask = this.#mask;
    const written = text.split(mask).length - 1;
    if (written === 0) throw invalidArgument(`${name} has no ${mask} to fill: ${shown(text)}`);
    if (masks < written) {
      throw invalidArgument(
        `${name} is too long: only ${masks} of its ${written} ${mask} lie within the ${ids.length} ids that are ` +
          `read; shorten it`,
      );
    }
    return ids;
  }

  /** As many masks as a label has tokens in place of the one that stands for it. */
  #expanded(ids: Int32Array, tokens: number, name: string): Int32Array {
    const masks = this.#masks(ids);
    if (masks !== 1) {
      throw invalidArgument(`${name} has ${masks} ${this.#mask}; with labels it must have one`);
    }
    const all = Array.from(ids);
    const masked = new Array<number>(tokens).fill(this.#pieces.mask);
    all.splice(all.indexOf(this.#pieces.mask), 1, ...masked);
    return Int32Array.from(all);
  }

  #masks(ids: Int32Array): number {
    return ids.filter((id) => id === this.#pieces.mask).length;
  }

  /** The text with what a piece writes in place of its mask number `index`, counted from 0. */
  #put(text: string, index: number, written: string): string {
    const parts = text.split(this.#mask);
    const given = parts.slice(0, index + 1).join(this.#mask);
    const before = this.#pieces.maskTakesSpace ? given.trimEnd() : given;
    const after = parts.slice(index + 1).join(this.#mask);
    return before === '' ? written.trimStart() + after : before + written + after;
  }
}

/** The log-probability that one of several exclusive events happens. */
function logSumExp(logProbs: number[]): number {
  const largest = Math.max(...logProbs);
  if (logProbs.length === 1 || largest === -Infinity) return largest;
  return largest + Math.log(logProbs.reduce((total, x) => total + Math.exp(x - largest), 0));
}

function ranked(
  labels: string[],
  logProbs: number[],
  put: (label: string) => string,
): LabelCandidate[] {
  const best = Math.max(...logProbs);
  if (best === -Infinity) {
    throw invalidArgument(
      'no label can be written with the allowed ids of this vocabulary; allow the ids of a label',
    );
  }
  const weights = logProbs.map((logProb) => Math.exp(logProb - best));
  const total = weights.reduce((all, weight) => all + weight, 0);
  return labels
    .map((label, index) => ({
      label,
      index,
      text: put(label),
      logProb: logProbs[index]!,
      probability: weights[index]! / total,
    }))
    .sort((a, b) => b.logProb - a.logProb);
}
