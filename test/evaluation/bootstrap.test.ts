/** The bootstrap: the same seed, the same test sets; and on each of them what the measure itself says. */
import t from 'tap';
import {
  accuracy,
  bleu,
  bleuStatistics,
  bootstrap,
  chrf,
  chrfStatistics,
  rouge,
} from '../../lib/evaluation/index.js';
import { resamples } from '../../lib/evaluation/resamples.js';

const references = [
  ['the cat sat on the mat', 'a dog barked at the tree', 'it is raining cats and dogs', 'I agree'],
  ['a cat sat on a mat', 'the dog barked at a tree', null, 'I do agree'],
];
const one = ['the cat sat on a mat', 'a dog barked at trees', 'it is raining cats', 'I agree'];
const two = ['a cat is on the mat', 'the dog barks', 'it rains cats and dogs now', 'I do agree'];

t.test('a drawn test set has the score that its sentences have', async (t) => {
  const samples = 40;
  for (const [measure, statistics] of [
    [bleu, bleuStatistics],
    [chrf, chrfStatistics],
  ] as const) {
    const [first, second] = bootstrap(
      [one, two].map((hypotheses) => statistics(hypotheses, references)),
      { samples, seed: 9, confidence: 0.9 },
    );
    const drawn = [...resamples(4, samples, 9n)].length;
    t.equal(drawn, samples);
    const scores: [number, number][] = [];
    for (const sentences of resamples(4, samples, 9n)) {
      const pick = <T>(from: readonly T[]) => Array.from(sentences, (i) => from[i]!);
      const sets = references.map(pick);
      scores.push([measure(pick(one), sets).score, measure(pick(two), sets).score]);
    }
    const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const sorted = (values: number[]) => values.sort((a, b) => a - b);
    const differences = scores.map(([a, b]) => b - a);
    const sizes = differences.map(Math.abs);
    const whole = measure(two, references).score - measure(one, references).score;
    const chance = sizes.filter((size) => size - mean(sizes) > Math.abs(whole)).length;
    const close = (value: number, expected: number, name: string) =>
      t.ok(Math.abs(value - expected) < 1e-9, `${name}: ${value}, not ${expected}`);
    close(first!.score, measure(one, references).score, 'score');
    close(second!.mean, mean(scores.map(([, b]) => b)), 'mean');
    // 0.9 of 40 leaves 2 at either end.
    close(first!.interval.low, sorted(scores.map(([a]) => a))[2]!, 'low');
    close(first!.interval.high, sorted(scores.map(([a]) => a))[37]!, 'high');
    close(second!.difference!.score, whole, 'difference');
    close(second!.difference!.interval.low, sorted(differences)[2]!, 'low of the difference');
    close(second!.difference!.pValue, (chance + 1) / 41, 'p');
  }
});

t.test(
  'rouge_score (google-research 0c1bbe5, scoring_test): percentiles of three scores',
  async (t) => {
    const [precision] = bootstrap([[1, 0, 1]], { confidence: 0.9 });
    t.same(precision!.interval, { low: 1 / 3, high: 1 });
    const recall = bootstrap([[1 / 3, 0, 1]], { confidence: 0.9 })[0]!;
    t.ok(Math.abs(recall.interval.low - 1 / 9) < 1e-8);
    t.ok(Math.abs(recall.interval.high - 7 / 9) < 1e-8);
    const f = bootstrap([[1 / 2, 0, 1]], { confidence: 0.9 })[0]!;
    t.ok(Math.abs(f.interval.low - 1 / 6) < 1e-8);
    t.ok(Math.abs(f.interval.high - 5 / 6) < 1e-8);
    for (const { score, interval } of bootstrap([[1, 0, 1]], { confidence: 0 })) {
      t.ok(Math.abs(score - 2 / 3) < 1e-8);
      t.same(interval, { low: 2 / 3, high: 2 / 3 });
    }
  },
);

t.test('seeds', async (t) => {
  const systems = [one, two].map((hypotheses) => bleuStatistics(hypotheses, references));
  t.same(bootstrap(systems, { seed: 5 }), bootstrap(systems, { seed: 5n }));
  t.same(bootstrap(systems), bootstrap(systems, { seed: 0 }));
  t.not(bootstrap(systems, { seed: 5 })[0]!.mean, bootstrap(systems, { seed: 6 })[0]!.mean);
  const alone = bootstrap([systems[1]!], { seed: 5 })[0]!;
  const beside = bootstrap(systems, { seed: 5 })[1]!;
  t.same(
    [alone.mean, alone.interval],
    [beside.mean, beside.interval],
    'the same test sets for all',
  );
});

t.test('each sentence is drawn about as often', async (t) => {
  const drawn = new Float64Array(7);
  for (const sentences of resamples(7, 10_000, 3n)) for (const i of sentences) drawn[i]!++;
  // Binomial: 70 000 draws of probability 1/7, standard deviation √(70 000 · 6/49) = 93; five of them.
  for (const count of drawn) t.ok(Math.abs(count - 10_000) < 465, `${count}`);
});

t.test('scores of sentences', async (t) => {
  const { sentences } = rouge(one, references);
  const f = sentences.map(({ rougeL }) => rougeL.fmeasure);
  const right = accuracy(one, ['the cat sat on a mat', '', '', 'I agree.']);
  const [first, second] = bootstrap([Float64Array.from(f), right.sentences], { samples: 100 });
  t.ok(Math.abs(first!.score - rouge(one, references).rougeL.fmeasure) < 1e-12);
  t.equal(second!.score, right.score);
  const same = bootstrap([f, f])[1]!.difference!;
  t.same(
    same,
    { score: 0, interval: { low: 0, high: 0 }, pValue: 1 / 1001 },
    'as sacrebleu has it',
  );
});
