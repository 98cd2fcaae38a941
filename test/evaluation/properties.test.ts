/** Properties that hold for any texts, lone surrogates and empty strings among them. */
import fc from 'fast-check';
import t from 'tap';
import { bleu, chrf, distinct, rouge } from '../../lib/evaluation/index.js';

const word = fc.constantFrom('the', 'cat', 'sat', 'on', 'mat', 'Ünï', '日', '😀', '3.5', '.', 'A,');
const sentence = fc.array(word, { maxLength: 8 }).map((words) => words.join(' '));
/** Any code units at all, so also halves of surrogate pairs. */
const codeUnits = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 12 })
  .map((units) => String.fromCharCode(...units));
const surrogates = fc
  .array(fc.constantFrom('\ud83d', '\ude00', ' ', 'a', '\u3000'), { maxLength: 8 })
  .map((parts) => parts.join(''));
const text = fc.oneof(sentence, codeUnits, surrogates);

/** Hypotheses and one to three reference sets for them; all sets but the first may lack a text. */
const corpus = fc.integer({ min: 1, max: 4 }).chain((length) => {
  const texts = (one: fc.Arbitrary<string | null>) =>
    fc.array(one, { minLength: length, maxLength: length });
  return fc.record({
    hypotheses: texts(text) as fc.Arbitrary<string[]>,
    first: texts(text),
    others: fc.array(texts(fc.option(text)), { maxLength: 2 }),
  });
});

const tokenizers = ['13a', 'intl', 'char', 'none'] as const;

function holds<T>(arbitrary: fc.Arbitrary<T>, predicate: (value: T) => boolean | void): void {
  fc.assert(fc.property(arbitrary, predicate), { numRuns: 300 });
}

t.test('every score is in its range', async () => {
  holds(corpus, ({ hypotheses, first, others }) => {
    const references = [first, ...others];
    const within = (value: number, most: number) => value >= 0 && value <= most;
    return (
      tokenizers.every((tokenize) => {
        const result = bleu(hypotheses, references, { tokenize });
        return within(result.score, 100) && result.precisions.every((one) => within(one, 100));
      }) &&
      [0, 2].every((wordOrder) => within(chrf(hypotheses, references, { wordOrder }).score, 100)) &&
      [false, true].every((stemmer) => {
        const { rouge1, rouge2, rougeL } = rouge(hypotheses, references, { stemmer });
        return [rouge1, rouge2, rougeL].every(({ fmeasure }) => within(fmeasure, 1));
      }) &&
      within(distinct(hypotheses, 2).score, 1)
    );
  });
});

t.test('a text that equals its reference has the highest score', async (t) => {
  let scored = 0;
  holds(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
    for (const tokenize of tokenizers) {
      const { score, hypothesisLength } = bleu(texts, [texts], { tokenize, effectiveOrder: true });
      if (score !== (hypothesisLength > 0 ? 100 : 0)) return false;
      scored += Math.sign(score);
    }
    const visible = bleu(texts, [texts], { tokenize: 'char' }).hypothesisLength > 0;
    if (chrf(texts, [texts]).score !== (visible ? 100 : 0)) return false;
    return rouge(texts, [texts], { stemmer: true }).sentences.every(
      ({ rouge1, rougeL }) => rouge1.fmeasure === rougeL.fmeasure && rouge1.fmeasure % 1 === 0,
    );
  });
  t.ok(scored > 300, 'most have tokens');
});

t.test('BLEU without effective order: 100 if any sentence has four tokens', async () => {
  holds(fc.array(sentence, { minLength: 1, maxLength: 4 }), (texts) => {
    const { score } = bleu(texts, [texts], { tokenize: 'none' });
    const long = texts.some((one) => one.split(' ').length >= 4);
    return score === (long ? 100 : 0);
  });
});

t.test('the order of references does not matter', async () => {
  holds(corpus, ({ hypotheses, first, others }) => {
    const [forth, back] = [
      [first, ...others],
      [...others.toReversed(), first],
    ];
    const same = (measure: (references: (string | null)[][]) => unknown) =>
      JSON.stringify(measure(forth)) === JSON.stringify(measure(back));
    const f = (references: (string | null)[][]) =>
      rouge(hypotheses, references).sentences.map(({ rouge1, rouge2, rougeL }) =>
        [rouge1, rouge2, rougeL].map(({ fmeasure }) => fmeasure),
      );
    return (
      tokenizers.every((tokenize) => same((sets) => bleu(hypotheses, sets, { tokenize }))) &&
      same(f) &&
      // Compare one sentence at a time: if two references have the same F, sacreBLEU sums the counts of the first.
      hypotheses.every((hypothesis, i) =>
        same((sets) =>
          chrf(
            [hypothesis],
            sets.map((set) => [set[i]!]),
          ),
        ),
      )
    );
  });
});

t.test('the order of sentences does not matter', async () => {
  holds(corpus, ({ hypotheses, first, others }) => {
    const references = [first, ...others];
    const reversed = references.map((set) => set.toReversed());
    const same = (one: { score: number }, other: { score: number }) => one.score === other.score;
    return (
      same(bleu(hypotheses, references), bleu(hypotheses.toReversed(), reversed)) &&
      same(chrf(hypotheses, references), chrf(hypotheses.toReversed(), reversed))
    );
  });
});

t.test('another reference never takes a right n-gram away', async () => {
  holds(corpus, ({ hypotheses, first, others }) => {
    const one = bleu(hypotheses, [first], { smooth: 'none' }).precisions;
    const more = bleu(hypotheses, [first, ...others], { smooth: 'none' }).precisions;
    const f = rouge(hypotheses, [first]).rougeL.fmeasure;
    return (
      one.every((precision, n) => more[n]! >= precision) &&
      rouge(hypotheses, [first, ...others]).rougeL.fmeasure >= f
    );
  });
});

t.test('empty texts', async (t) => {
  for (const references of [[['']], [['the cat']], [[' \u0085\u001c']]]) {
    t.equal(bleu([''], references).score, 0);
    t.equal(bleu([''], references, { effectiveOrder: true, smooth: 'add-k' }).score, 0);
    t.equal(chrf([''], references, { wordOrder: 2 }).score, 0);
    t.same(rouge([''], references).rougeL, { precision: 0, recall: 0, fmeasure: 0 });
  }
  t.equal(bleu(['the cat'], [['']]).score, 0);
  t.same(bleu([''], [['the cat']]).brevityPenalty, 0);
});

t.test('halves of a surrogate pair are characters of their own', async (t) => {
  // White space between them is left out, which does not make them one character.
  t.equal(chrf(['\ud83d \ude00'], [['\ud83d\ude00']], { order: 1 }).score, 0);
  t.equal(chrf(['\ud83d\ude00'], [['\ud83d\ude00']]).score, 100);
  t.equal(bleu(['\ud83d \ude00'], [['\ud83d\ude00']], { tokenize: 'char', order: 1 }).score, 0);
  t.equal(chrf(['\ud83d'], [['\ud83d\ude00']]).score, 0);
});
