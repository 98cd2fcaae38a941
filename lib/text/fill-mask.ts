/**
 * What stands at `<mask>`: the most probable pieces, or which of some labels (cloze classification). The text is read as
 * Hugging Face's tokenizer of XLM-R reads it: `<mask>` takes the white space to its left with it.
 */
import { invalidArgument, shown } from '../errors.js';
import { countOption, filledMasks } from '../token/readings.js';
import { Reading } from './reading.js';
import { checkLengths, sum } from './scoring.js';
import { textOptions, type TextOptions, type TextReader } from './text.js';
import type { Tokenizer } from './tokenizer.js';

export interface FillMaskOptions extends Omit<TextOptions, 'parseSpecial'> {
  /** Candidates for each `<mask>`: 1 … 1000, default 5. */
  count?: number;
}

export interface FillLabelsOptions extends Omit<TextOptions, 'parseSpecial'> {
  /** What may stand at the text's one `<mask>`, each a word of its own; all with as many tokens. */
  labels: readonly string[];
}

/** A piece for one `<mask>`. */
export interface MaskCandidate {
  id: number;
  /** `▁` stands for a space. */
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
  /** The sum of its tokens' log-probabilities, each token given none of the others. */
  logProb: number;
  /** Its share of all labels together. */
  probability: number;
}

const mask = '<mask>';

/** Of {@link FillMaskOptions} and {@link FillLabelsOptions}, but their own. @internal */
export const fillOptions = textOptions.filter((name) => name !== 'parseSpecial');

/** @internal */
export class MaskFiller {
  readonly #texts: TextReader;
  readonly #tokenizer: Tokenizer;

  constructor(texts: TextReader, tokenizer: Tokenizer) {
    this.#texts = texts;
    this.#tokenizer = tokenizer;
  }

  /** The best pieces for each `<mask>`, best first. */
  pieces(text: string, given: FillMaskOptions, name: string): Reading<MaskCandidate[][]> {
    const count = countOption(given.count);
    const ids = this.#ids(text, given, name, 0);
    return new Reading(ids, { kind: 'best', count }, (answer) =>
      filledMasks(answer).map(({ ids, logProbs }, index) =>
        Array.from(ids, (id, place) => {
          const piece = this.#tokenizer.piece(id);
          return { id, piece, text: put(text, index, piece), logProb: logProbs[place]! };
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
    const answers = list.map((label, index) => this.#texts.answer(label, {}, `label ${index}`));
    checkLengths(list, answers);
    const candidates = answers.map((answer) => answer.slice(1, -1));
    const tokens = candidates[0]!.length;
    const ids = this.#expanded(this.#ids(text, given, name, tokens - 1), tokens, name);
    return new Reading(ids, { kind: 'weigh', candidates }, ({ values }) => {
      const logProbs = list.map((_, index) =>
        sum(values.subarray(index * tokens, (index + 1) * tokens)),
      );
      return ranked(text, list, logProbs);
    });
  }

  /** The text's ids, with room for `more`; every `<mask>` of the text is among them. */
  #ids(text: string, given: TextOptions, name: string, more: number): Int32Array {
    const { ids } = this.#texts.text(text, { ...given, parseSpecial: true }, name, more);
    const masks = this.#masks(ids);
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
      throw invalidArgument(`${name} has ${masks} ${mask}; with labels it must have one`);
    }
    const all = Array.from(ids);
    const masked = new Array<number>(tokens).fill(this.#tokenizer.maskTokenId);
    all.splice(all.indexOf(this.#tokenizer.maskTokenId), 1, ...masked);
    return Int32Array.from(all);
  }

  #masks(ids: Int32Array): number {
    return ids.filter((id) => id === this.#tokenizer.maskTokenId).length;
  }
}

function ranked(text: string, labels: string[], logProbs: number[]): LabelCandidate[] {
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
      text: put(text, 0, `▁${label.trim()}`),
      logProb: logProbs[index]!,
      probability: weights[index]! / total,
    }))
    .sort((a, b) => b.logProb - a.logProb);
}

/** The text with a piece in place of its `<mask>` number `index`, counted from 0. */
function put(text: string, index: number, piece: string): string {
  const parts = text.split(mask);
  const before = parts
    .slice(0, index + 1)
    .join(mask)
    .trimEnd();
  const after = parts.slice(index + 1).join(mask);
  const written = piece.replaceAll('▁', ' ');
  return before === '' ? written.trimStart() + after : before + written + after;
}
