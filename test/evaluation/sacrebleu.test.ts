/**
 * Every option of BLEU and chrF on random texts full of corner cases, beside what sacrebleu 2.6.0 answers; and the stems
 * that NLTK 3.10.3 gives. `fixtures/evaluation/make.py` makes both.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  bleu,
  chrf,
  rouge,
  type BleuOptions,
  type BleuScore,
  type ChrfOptions,
  type ChrfScore,
} from '../../lib/evaluation/index.js';
import { porterStem } from '../../lib/evaluation/porter-stemmer.js';

interface Case {
  hypotheses: string[];
  references: (string | null)[][];
  bleu: BleuScore & { options: BleuOptions };
  chrf: ChrfScore & { options: ChrfOptions };
}

function read(name: string): string {
  return readFileSync(new URL(`../fixtures/evaluation/${name}`, import.meta.url), 'utf8');
}

/** The largest difference between numbers of the same name. */
function distance(one: object, other: object, names: readonly string[]): number {
  const values = (result: object) =>
    names.flatMap((name) => (result as Record<string, number | number[]>)[name]!);
  const expected = values(other);
  return Math.max(...values(one).map((value, i) => Math.abs(value - expected[i]!)));
}

/** A signature without the version, and without what sacrebleu does not put into its own. */
function comparable(signature: string): string {
  return signature.replace(/\|version:.*$/, '').replace(/\|(order|beta):\d+/, '');
}

t.test('BLEU and chrF', async (t) => {
  const cases = JSON.parse(read('sacrebleu-2.6.0.json')) as Case[];
  t.equal(cases.length, 240);
  const numbers = ['score', 'precisions', 'brevityPenalty', 'hypothesisLength', 'referenceLength'];
  cases.forEach(({ hypotheses, references, ...expected }, i) => {
    const one = bleu(hypotheses, references, expected.bleu.options);
    const two = chrf(hypotheses, references, expected.chrf.options);
    t.ok(distance(one, expected.bleu, numbers) < 1e-9, `BLEU of case ${i}`);
    t.ok(distance(two, expected.chrf, ['score']) < 1e-9, `chrF of case ${i}`);
    t.equal(comparable(one.signature), comparable(expected.bleu.signature));
    t.equal(comparable(two.signature), comparable(expected.chrf.signature));
  });
  const scores = cases.map((each) => each.bleu.score);
  t.ok(scores.filter((score) => score > 0).length > 100, 'not all of them score 0');
});

t.test('stems', async (t) => {
  const words = read('nltk-3.10.3-stems.tsv').trim().split('\n');
  t.ok(words.length > 600);
  for (const line of words) {
    const [word, stem] = line.split('\t') as [string, string];
    t.equal(porterStem(word), stem, word);
  }
});

t.test('ROUGE stems words of more than three letters only', async (t) => {
  const f = (stemmer: boolean, hypothesis: string, reference: string) =>
    rouge([hypothesis], [[reference]], { stemmer }).rouge1.fmeasure;
  t.equal(f(false, 'The agreed ADOPTIONS', 'the agreeing adoption'), 1 / 3);
  t.equal(f(true, 'The agreed ADOPTIONS', 'the agreeing adoption'), 1);
  t.equal(f(true, 'was', 'wa'), 0);
  t.equal(f(true, 'cats', 'cat'), 1);
});
