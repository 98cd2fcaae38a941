/**
 * Cuts a text into stretches short enough for SentencePiece, whose time and memory grow with the
 * square of a run of unknown characters and whose memory is never given back.
 *
 * A stretch ends after white space wherever there is any: words are tokenized independently of each
 * other, so the stretches' ids put together are those of the whole text. A word that is longer than a
 * stretch is cut between two graphemes; what that means for its ids is said in lib/text/sentencepiece.ts.
 * Where the cuts lie depends on the text before them alone.
 */

/** The length of the longest stretch in UTF-16 units. */
export const LONGEST_SEGMENT = 4096;

export interface Segment {
  /** A part of the text. Lone surrogates are replaced by U+FFFD. */
  readonly text: string;
  /** True if the text was cut inside a word after this part. */
  readonly endsInsideWord: boolean;
}

/** The parts of `text` in order. `whiteSpace`: the characters a text may be cut behind. */
export function* segments(text: string, whiteSpace: ReadonlySet<string>): Generator<Segment> {
  for (let start = 0; start < text.length;) {
    const rest = text.length - start;
    let end = rest <= LONGEST_SEGMENT ? text.length : start + LONGEST_SEGMENT;
    let endsInsideWord = false;
    if (end < text.length) {
      while (end > start && !whiteSpace.has(text[end - 1]!)) end--;
      if (end === start) {
        end = graphemeBoundary(text, start);
        endsInsideWord = true;
      }
    }
    yield { text: wellFormed(text.slice(start, end)), endsInsideWord };
    start = end;
  }
}

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/** The last boundary between two graphemes that is at most the longest segment behind `start`. */
function graphemeBoundary(text: string, start: number): number {
  const limit = start + LONGEST_SEGMENT;
  const boundary = graphemes
    .segment(text.slice(start, limit + 1))
    .containing(LONGEST_SEGMENT)?.index;
  if (boundary) return start + boundary;
  // One grapheme fills the segment (thousands of combining marks): just keep code points whole.
  return text.codePointAt(limit - 1)! > 0xffff ? limit - 1 : limit;
}

/**
 * Lone surrogates have no UTF-8, and the writer inside sentencepiece-js would pair one with the
 * character behind it and lose that.
 */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}
