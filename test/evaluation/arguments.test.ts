/** Wrong arguments: an error that names the argument. */
import t, { type Test } from 'tap';
import { MaskPredictError } from '../../lib/errors.js';
import {
  accuracy,
  bleu,
  bleuStatistics,
  bootstrap,
  chrf,
  chrfStatistics,
  distinct,
  rouge,
} from '../../lib/evaluation/index.js';

/** Callable with anything. */
type Loose = (...values: unknown[]) => unknown;

function refused(t: Test, call: Loose, values: unknown[], message: RegExp): void {
  try {
    call(...values);
    t.fail(`accepted, not ${message}`);
  } catch (error) {
    t.ok(error instanceof MaskPredictError, `${message}`);
    t.match(error, { code: 'ERR_INVALID_ARGUMENT', message });
  }
}

t.test('hypotheses and references', async (t) => {
  const cases: [unknown[], RegExp][] = [
    [[], /^hypotheses must be an array of texts, not undefined/],
    [['x', [['x']]], /^hypotheses must be an array of texts, not "x"/],
    [[[], [[]]], /^hypotheses must hold at least one text/],
    [[['x', null], [['x', 'x']]], /^hypotheses\[1\] must be a string, not null/],
    [[new Array(1), [['x']]], /^hypotheses\[0\] must be a string, not undefined/],
    [[['x']], /^references must be an array of reference sets, not undefined/],
    [[['x'], []], /^references must hold at least one reference set/],
    [[['x'], ['x']], /^references\[0\] must be a reference set.*pass \[references\]/],
    [[['x'], [['x'], 7]], /^references\[1\] must be an array of texts, not 7/],
    [
      [
        ['x', 'y'],
        [['x', 'y'], ['x']],
      ],
      /^references\[1\] must hold .* the 2 hypotheses, not 1/,
    ],
    [[['x'], [[undefined]]], /^references\[0\]\[0\] must be a string or null, not undefined/],
    [
      [
        ['x', 'y'],
        [
          ['x', null],
          ['x', null],
        ],
      ],
      /^references\[…\]\[1\] is null in every set/,
    ],
    [[['x'], [['x']], { sharpness: 1 }], /has no option 'sharpness'/],
    [[['x'], [['x']], null], /^the options of .* must be an object/],
  ];
  for (const measure of [bleu, bleuStatistics, chrf, chrfStatistics, rouge] as Loose[]) {
    for (const [values, message] of cases) refused(t, measure, values, message);
  }
});

t.test('options', async (t) => {
  const cases: [Loose, object, RegExp][] = [
    [
      bleu as Loose,
      { tokenize: 'zh' },
      /^tokenize must be one of '13a', 'intl', 'char', 'none', not "zh"/,
    ],
    [bleu as Loose, { tokenize: 'toString' }, /^tokenize must be one of/],
    [bleu as Loose, { smooth: 1 }, /^smooth must be one of/],
    [bleu as Loose, { smoothValue: 1 }, /^smoothValue is for smooth 'floor' and 'add-k'/],
    [bleu as Loose, { smooth: 'floor', smoothValue: -1 }, /^smoothValue must be a number from 0/],
    [bleu as Loose, { smooth: 'add-k', smoothValue: Number.NaN }, /^smoothValue must be a number/],
    [bleu as Loose, { lowercase: 1 }, /^lowercase must be true or false/],
    [bleu as Loose, { effectiveOrder: 'yes' }, /^effectiveOrder must be true or false/],
    [bleu as Loose, { order: 0 }, /^order must be an integer from 1 to 16/],
    [chrf as Loose, { order: 2.5 }, /^order must be an integer from 1 to 16/],
    [chrf as Loose, { wordOrder: -1 }, /^wordOrder must be an integer from 0 to 16/],
    [chrf as Loose, { beta: 0 }, /^beta must be a number from 0\.001 to 1000/],
    [chrf as Loose, { whitespace: null }, /^whitespace must be true or false/],
    [rouge as Loose, { stemmer: 'porter' }, /^stemmer must be true or false/],
  ];
  for (const [measure, options, message] of cases) {
    refused(t, measure, [['x'], [['x']], options], message);
  }
});

t.test('the other measures', async (t) => {
  const cases: [Loose, unknown[], RegExp][] = [
    [distinct as Loose, ['x', 1], /^texts must be an array of texts, not "x"/],
    [distinct as Loose, [['x', 1], 1], /^texts\[1\] must be a string, not 1/],
    [distinct as Loose, [['x']], /^n must be an integer from 1 to 16, not undefined/],
    [distinct as Loose, [['x'], '2'], /^n must be an integer from 1 to 16, not "2"/],
    [distinct as Loose, [['x'], 1, { divideBy: 'texts' }], /^divideBy must be one of/],
    [accuracy as Loose, ['x', ['x']], /^answers must be an array/],
    [accuracy as Loose, [['x'], 'x'], /^labels must be an array/],
    [accuracy as Loose, [[], []], /^answers must hold at least one/],
    [
      accuracy as Loose,
      [['x', 'y'], ['x']],
      /^labels must hold one for each of the 2 answers, not 1/,
    ],
    [
      accuracy as Loose,
      [['x'], [Number.NaN]],
      /^labels\[0\] must be a string or a number, not NaN/,
    ],
    [accuracy as Loose, [['x'], ['x'], { normalize: 0 }], /^normalize must be true or false/],
    [bootstrap as Loose, [], /^systems must be an array/],
    [bootstrap as Loose, [[]], /^systems must be an array with the scores of at least one system/],
    [bootstrap as Loose, [[0.5, 1]], /^systems\[0\] must be an array of numbers or what/],
    [bootstrap as Loose, [[[]]], /^systems\[0\] must have at least one sentence/],
    [bootstrap as Loose, [[[1], [Infinity]]], /^systems\[1\]\[0\] must be a finite number/],
    [bootstrap as Loose, [[[1, 1], [1]]], /^systems\[1\] has 1 sentences and systems\[0\] 2/],
    [bootstrap as Loose, [[[1]], { samples: 0 }], /^samples must be an integer from 1/],
    [bootstrap as Loose, [[[1]], { seed: 1.5 }], /^seed must be an integer/],
    [bootstrap as Loose, [[[1]], { confidence: 95 }], /^confidence must be a number from 0 to 1/],
    [bootstrap as Loose, [[[1]], { sample: 5 }], /has no option 'sample'/],
  ];
  for (const [call, values, message] of cases) refused(t, call, values, message);
});
