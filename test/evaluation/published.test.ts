/**
 * The measures beside the cases that their own projects test: sacrebleu 2.6.0 (test_bleu, test_sentence_bleu, test_chrf);
 * rouge_score (google-research 066e6a1, rouge_scorer_test), its cases of several references those of TensorFlow Model
 * Analysis; and the examples of the papers. Bounds are those of the tests they come from, which print as many digits.
 */
import t, { type Test } from 'tap';
import {
  bleu,
  chrf,
  distinct,
  rouge,
  type BleuOptions,
  type ChrfOptions,
  type RougeScore,
} from '../../lib/evaluation/index.js';

function near(t: Test, value: number, expected: number, bound: number, name: string): void {
  t.ok(Math.abs(value - expected) < bound, `${name}: ${value}, not ${expected}`);
}

const dogHypotheses = [
  'The dog bit the man.',
  "It wasn't surprising.",
  'The man had just bitten him.',
];
const dogReferences = [
  ['The dog bit the man.', 'It was not unexpected.', 'The man bit him first.'],
  ['The dog had bit the man.', 'No one was surprised.', 'The man had bitten the dog.'],
];

t.test('sacrebleu: BLEU of a corpus with two reference sets', async (t) => {
  const cases: [BleuOptions, number][] = [
    [{}, 48.530827],
    [{ tokenize: 'none' }, 49.1919566],
    [{ tokenize: '13a' }, 48.530827],
    [{ tokenize: 'intl' }, 43.91623493],
    [{ smooth: 'none' }, 48.530827],
  ];
  for (const [options, expected] of cases) {
    const { score } = bleu(dogHypotheses, dogReferences, options);
    // 48.530827 is printed to six decimals.
    near(t, score, expected, 1e-6, JSON.stringify(options));
  }
  t.equal(bleu(['', '', ''], dogReferences).score, 0, 'empty hypotheses are not left out');
  for (const [i, printed] of ['77.65', '60.50', '53.93', '48.53', '46.14', '43.28'].entries()) {
    const { score } = bleu(dogHypotheses, dogReferences, { order: i + 1 });
    t.equal(score.toFixed(2), printed, `order ${i + 1}`);
  }
});

t.test('sacrebleu: BLEU of one sentence', async (t) => {
  const hypothesis = 'Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;';
  const reference = 'producţia de zahăr brut se exprimă în zahăr alb;';
  const cases: [BleuOptions, number][] = [
    [{}, 8.493],
    [{ smooth: 'none' }, 0],
    [{ smooth: 'floor' }, 4.51688],
    [{ smooth: 'floor', smoothValue: 0.1 }, 4.51688],
    [{ smooth: 'floor', smoothValue: 0.5 }, 10.1],
    [{ smooth: 'add-k' }, 14.882],
    [{ smooth: 'add-k', smoothValue: 1 }, 14.882],
    [{ smooth: 'add-k', smoothValue: 2 }, 21.389],
    [{ tokenize: 'none' }, 7.347],
    [{ tokenize: 'intl' }, 8.493],
    [{ tokenize: 'char' }, 40.8759],
    [{ tokenize: 'char', lowercase: true }, 42.0267],
  ];
  for (const [options, expected] of cases) {
    const { score } = bleu([hypothesis], [[reference]], { ...options, effectiveOrder: true });
    near(t, score, expected, 1e-3, JSON.stringify(options));
  }
  for (const smooth of ['exp', 'none', 'floor', 'add-k'] as const) {
    const { score } = bleu(['this is a cat'], [['okay thanks']], { smooth, effectiveOrder: true });
    t.equal(score, 0, `nothing right, ${smooth}`);
  }
});

t.test('sacrebleu: BLEU of tokens, with a floor', async (t) => {
  const raw = (hypotheses: string[], references: string[][], smoothValue?: number) =>
    bleu(hypotheses, references, {
      tokenize: 'none',
      smooth: 'floor',
      effectiveOrder: true,
      ...(smoothValue !== undefined && { smoothValue }),
    });
  const cases: [string[], string[][], number | undefined, number][] = [
    [['this is a test', 'another test'], [['ref1', 'ref2']], 0.01, 0],
    [['this is a test'], [['this is a test']], 0.01, 1],
    [['this is a fest'], [['this is a test']], 0.01, 0.223606797749979],
    [['test'], [['a test']], 0.01, 0.3678794411714425],
    [['a test'], [['a test']], 0.01, 1],
    [['a little test'], [['a test']], 0.01, 0.03218297948685433],
    [
      ['am I am a character sequence'],
      [['I am a symbol string sequence a a']],
      undefined,
      0.1555722182,
    ],
    [['am I am a character sequence'], [['I am a symbol string sequence a a']], 0, 0],
  ];
  for (const [hypotheses, references, smoothValue, expected] of cases) {
    const { score } = raw(hypotheses, references, smoothValue);
    near(t, score / 100, expected, 1e-8, `${hypotheses.join(' / ')}, ${smoothValue}`);
  }
  const [right, all] = [
    [4, 2, 1],
    [6, 5, 4],
  ] as const;
  const { precisions } = raw([cases[7]![0][0]!], cases[7]![1], 0);
  t.same(precisions, [...right.map((count, n) => (100 * count) / all[n]!), 0], 'its counts');
});

const riskHypothesis =
  'risk assessment must be made of those who are qualified and expertise in the sector - these are the scientists .';
const riskReference =
  'risk assessment has to be undertaken by those who are qualified and expert in that area - that is the scientists .';
const obamaReference =
  'Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich.';

t.test('sacrebleu: chrF', async (t) => {
  const wall = 'Niemand hat die Absicht, eine Mauer zu errichten';
  const smoothed: [string[], string[], number][] = [
    [['abcdefg'], ['hijklmnop'], 0],
    [['a'], ['b'], 0],
    [[''], ['b'], 0],
    [[''], ['ref'], 0],
    [[''], ['reference'], 0],
    [['aa'], ['ab'], 8.3333],
    [['a', 'b'], ['a', 'c'], 8.3333],
    [['a'], ['a'], 16.6667],
    [['a b c'], ['a b c'], 50],
    [['a b c'], ['abc'], 50],
    [[` ${riskHypothesis}`], [riskReference], 63.36173],
    [
      [' Die    Beziehung zwischen  Obama und Netanjahu ist nicht gerade  freundlich. '],
      [obamaReference],
      64.1302698,
    ],
    [[wall], [wall], 100],
  ];
  const effective: [string[], string[], number][] = [
    [['a'], ['a'], 100],
    [[''], ['reference'], 0],
    [['a b c'], ['a b c'], 100],
    [['a b c'], ['abc'], 100],
    [[''], ['c'], 0],
    [['a', 'b'], ['a', 'c'], 50],
    [['aa'], ['ab'], 25],
  ];
  const spaced: [string[], string[], number][] = [
    [
      ['Die Beziehung zwischen Obama und Netanjahu ist nicht gerade freundlich.'],
      [obamaReference],
      67.3481606,
    ],
    [[riskHypothesis], [riskReference], 65.2414427],
  ];
  const sentences: [string[], string[], number][] = [
    [
      ['Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.'],
      ['Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře.'],
      39.14078509,
    ],
    [
      ['Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.'],
      ['A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři.'],
      31.22557079,
    ],
    [
      ['Lapali po dechu, jejich životy skončily dřív, než skutečně začaly.'],
      ['Lapali po dechu a pak jejich život skončil - dřív, než skutečně mohl začít, připomněli.'],
      57.15704367,
    ],
  ];
  const groups: [[string[], string[], number][], ChrfOptions][] = [
    [smoothed, { beta: 3, effectiveOrder: false }],
    [effective, { beta: 3 }],
    [spaced, { beta: 3, whitespace: true }],
    [sentences, { effectiveOrder: false }],
  ];
  for (const [cases, options] of groups) {
    for (const [hypotheses, references, expected] of cases) {
      const { score } = chrf(hypotheses, [references], options);
      near(t, score, expected, 1e-4, `${hypotheses.join(' / ')} ${JSON.stringify(options)}`);
    }
  }
});

t.test('rouge_score: ROUGE', async (t) => {
  const check = (
    name: 'rouge1' | 'rouge2' | 'rougeL',
    prediction: string,
    targets: string[],
    [precision, recall, fmeasure]: [number, number, number],
  ) => {
    const score: RougeScore = rouge(
      [prediction],
      targets.map((target) => [target]),
    )[name];
    near(t, score.precision, precision, 1e-7, `${name} of ${prediction}: precision`);
    near(t, score.recall, recall, 1e-7, `${name} of ${prediction}: recall`);
    near(t, score.fmeasure, fmeasure, 1e-7, `${name} of ${prediction}: F`);
  };
  check('rouge1', 'testing', ['testing one two'], [1, 1 / 3, 1 / 2]);
  for (const name of ['rouge1', 'rouge2', 'rougeL'] as const) {
    check(name, '', ['testing one two'], [0, 0, 0]);
    check(name, '/', ['w1 w2 w3 w4 w5'], [0, 0, 0]);
    check(name, 'w1', [''], [0, 0, 0]);
  }
  check('rouge2', 'testing one', ['testing one two'], [1, 1 / 2, 2 / 3]);
  check('rougeL', 'testing one', ['testing one two'], [1, 2 / 3, 4 / 5]);
  check('rougeL', 'testing two', ['testing one two'], [1, 2 / 3, 4 / 5]);
  check('rouge1', 'testing one', ['testing one two'], [1, 2 / 3, 4 / 5]);
  check('rouge1', 'One\n Two \nthree', ['one Two three'], [1, 1, 1]);
  check('rougeL', '2 5 3 4', ['1 2 3 4 5'], [3 / 4, 3 / 5, 2 / 3]);
  const targets = ['testing one two', 'This is a test'];
  check('rouge1', 'This is not a test', targets, [4 / 5, 1, 8 / 9]);
  check('rouge2', 'This is not a test', targets, [1 / 2, 2 / 3, 4 / 7]);
  check('rougeL', 'This is not a test', targets, [4 / 5, 1, 8 / 9]);
});

t.test('ROUGE of Lin (2004), section 3.1', async (t) => {
  // ROUGE-2 cannot tell the first two apart, ROUGE-L the last two.
  const { sentences } = rouge(
    ['police kill the gunman', 'the gunman kill police', 'the gunman police killed'],
    [Array<string>(3).fill('police killed the gunman')],
  );
  const expected = [
    [1 / 3, 3 / 4],
    [1 / 3, 2 / 4],
    [2 / 3, 2 / 4],
  ] as const;
  sentences.forEach(({ rouge2, rougeL }, i) => {
    near(t, rouge2.fmeasure, expected[i]![0], 1e-12, `ROUGE-2 of sentence ${i}`);
    near(t, rougeL.fmeasure, expected[i]![1], 1e-12, `ROUGE-L of sentence ${i}`);
  });
});

t.test('Distinct-n of texts that can be counted by hand', async (t) => {
  const texts = ['I do not know', 'I do not know .', '', 'know'];
  t.same(distinct(texts, 1), { score: 5 / 10, distinct: 5, total: 10, dividedBy: 'ngrams' });
  t.same(distinct(texts, 2), { score: 4 / 7, distinct: 4, total: 7, dividedBy: 'ngrams' });
  const byWords = distinct(texts, 2, { divideBy: 'words' });
  t.same(byWords, { score: 4 / 10, distinct: 4, total: 10, dividedBy: 'words' });
  t.equal(distinct(texts, 6).score, 0, 'no text is that long');
  t.equal(distinct([], 2).score, 0, 'no text at all');
});
