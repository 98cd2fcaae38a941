// npm run bench -- metrics [--sentences 2000] [--rounds 5]
//
// The time that the measures of mask-predict/evaluation take: sentences of 5 to 30 seeded words as hypotheses, each
// with two references that differ from it in some of them. Prints the first call, which compiles, and the median of the
// others.
import { parseArgs } from 'node:util';
import {
  bleu,
  bleuStatistics,
  bootstrap,
  chrf,
  distinct,
  rouge,
} from '../dist/evaluation/index.js';
import { spread } from './machine.mjs';

const { values: options } = parseArgs({
  options: {
    sentences: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '5' },
  },
});
const count = Number(options.sentences);
const rounds = Number(options.rounds);

/** A linear congruential generator, 0 … 1: good enough to choose words. */
let state = 1;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

/** A word of 2 to 9 letters; low ranks are drawn more often, as in text. */
const words = Array.from({ length: 8000 }, () => {
  const letters = Array.from({ length: 2 + Math.floor(random() * 8) }, () =>
    'etaoinshrdlucmfwypvbgk'.charAt(Math.floor(random() ** 2 * 22)),
  );
  return letters.join('');
});
const word = () => words[Math.floor(random() ** 3 * words.length)];

const texts = Array.from({ length: count }, () =>
  Array.from({ length: 5 + Math.floor(random() * 26) }, word),
);
const changed = (text) => text.map((one) => (random() < 0.3 ? word() : one));
const written = (text) => `${text.join(' ')}.`;
const hypotheses = texts.map(written);
const references = [0, 1].map(() => texts.map((text) => written(changed(text))));

const measures = {
  bleu: () => bleu(hypotheses, references),
  chrf: () => chrf(hypotheses, references),
  'chrf++': () => chrf(hypotheses, references, { wordOrder: 2 }),
  rouge: () => rouge(hypotheses, references),
  'rouge, stems': () => rouge(hypotheses, references, { stemmer: true }),
  'distinct-2': () => distinct(hypotheses, 2),
  'bootstrap of two, 1000 samples': () =>
    bootstrap([
      bleuStatistics(hypotheses, references),
      bleuStatistics(references[0], [hypotheses]),
    ]),
};
console.log(`${count} sentences, two references, ${rounds} rounds\n`);
for (const [name, measure] of Object.entries(measures)) {
  const times = Array.from({ length: rounds + 1 }, () => {
    const begun = performance.now();
    measure();
    return performance.now() - begun;
  });
  const [first, ...others] = times;
  console.log(
    `${name.padEnd(32)} first ${first.toFixed(0).padStart(5)} ms   then ${spread(others).median.toFixed(0).padStart(5)} ms`,
  );
}
