/**
 * Porter's stemmer (1980) with the changes that NLTK made to it and that its `PorterStemmer` has by default, because
 * rouge_score stems with that one. The stemmers on npm are Porter's own or Snowball's, and differ: 'dying', 'enjoy', 'spied'.
 *
 * A word is taken through eight steps. Each is a list of rules: the first whose suffix the word has decides, and replaces
 * the suffix if what is left of the word satisfies the rule's condition.
 */
type Rule = readonly [suffix: string, replacement: string, holds?: (stem: string) => boolean];

/** The stem of a word of small letters and digits; words of one or two characters are left as they are. */
export function porterStem(word: string): string {
  const irregular = irregularStems.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  return steps.reduce((stem, step) => step(stem), word);
}

const irregularStems = new Map([
  ['skies', 'sky'],
  ['sky', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['news', 'news'],
  ['innings', 'inning'],
  ['inning', 'inning'],
  ['outings', 'outing'],
  ['outing', 'outing'],
  ['cannings', 'canning'],
  ['canning', 'canning'],
  ['howe', 'howe'],
  ['proceed', 'proceed'],
  ['exceed', 'exceed'],
  ['succeed', 'succeed'],
]);

/** Each character as a consonant (c) or a vowel (v); a y is a vowel behind a consonant. */
function shapeOf(word: string): string {
  let shape = '';
  for (const letter of word) {
    const vowel = 'aeiou'.includes(letter) || (letter === 'y' && shape.endsWith('c'));
    shape += vowel ? 'v' : 'c';
  }
  return shape;
}

/** Porter's m: how many times a consonant follows a vowel. */
function measure(stem: string): number {
  return shapeOf(stem).split('vc').length - 1;
}

const hasMeasure = (stem: string): boolean => measure(stem) > 0;
const isLong = (stem: string): boolean => measure(stem) > 1;
const hasVowel = (stem: string): boolean => shapeOf(stem).includes('v');
const endsInConsonant = (stem: string): boolean => shapeOf(stem).endsWith('c');

function endsInDoubleConsonant(word: string): boolean {
  return word.length > 1 && word.at(-1) === word.at(-2) && endsInConsonant(word);
}

/** Porter's *o: such a stem has lost an e ("hop", "fil"). A word of a vowel and a consonant is NLTK's addition. */
function endsShort(word: string): boolean {
  const shape = shapeOf(word);
  return shape === 'vc' || (shape.endsWith('cvc') && !/[wxy]$/.test(word));
}

function apply(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (!rule) return word;
  const [suffix, replacement, holds] = rule;
  const stem = word.slice(0, word.length - suffix.length);
  return !holds || holds(stem) ? stem + replacement : word;
}

const step1a: readonly Rule[] = [
  ['sses', 'ss'],
  ['ies', 'i'],
  ['ss', 'ss'],
  ['s', ''],
];

function pluralRemoved(word: string): string {
  return word.length === 4 && word.endsWith('ies') ? word.slice(0, -1) : apply(word, step1a);
}

const step1bEnds: readonly Rule[] = [
  ['at', 'ate'],
  ['bl', 'ble'],
  ['iz', 'ize'],
];

function pastAndParticipleRemoved(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return apply(word, [['eed', 'ee', hasMeasure]]);
  for (const suffix of ['ed', 'ing']) {
    const stem = word.slice(0, -suffix.length);
    if (word.endsWith(suffix) && hasVowel(stem)) return endRestored(stem);
  }
  return word;
}

/** The stem in front of "ed" or "ing": with the e it lost, or without the consonant it doubled. */
function endRestored(stem: string): string {
  const restored = apply(stem, step1bEnds);
  if (restored !== stem) return restored;
  if (endsInDoubleConsonant(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

const step1c: readonly Rule[] = [['y', 'i', (stem) => stem.length > 1 && endsInConsonant(stem)]];

const step2: readonly Rule[] = [
  ['ational', 'ate', hasMeasure],
  ['tional', 'tion', hasMeasure],
  ['enci', 'ence', hasMeasure],
  ['anci', 'ance', hasMeasure],
  ['izer', 'ize', hasMeasure],
  ['bli', 'ble', hasMeasure],
  ['alli', 'al', hasMeasure],
  ['entli', 'ent', hasMeasure],
  ['eli', 'e', hasMeasure],
  ['ousli', 'ous', hasMeasure],
  ['ization', 'ize', hasMeasure],
  ['ation', 'ate', hasMeasure],
  ['ator', 'ate', hasMeasure],
  ['alism', 'al', hasMeasure],
  ['iveness', 'ive', hasMeasure],
  ['fulness', 'ful', hasMeasure],
  ['ousness', 'ous', hasMeasure],
  ['aliti', 'al', hasMeasure],
  ['iviti', 'ive', hasMeasure],
  ['biliti', 'ble', hasMeasure],
  ['fulli', 'ful', hasMeasure],
  ['logi', 'log', (stem) => hasMeasure(`${stem}l`)],
];

/** NLTK takes a word in -alli through the step once more without the -li. */
function doubleSuffixShortened(word: string): string {
  const shorter = word.endsWith('alli') ? apply(word, step2) : word;
  return apply(shorter, step2);
}

const step3: readonly Rule[] = [
  ['icate', 'ic', hasMeasure],
  ['ative', '', hasMeasure],
  ['alize', 'al', hasMeasure],
  ['iciti', 'ic', hasMeasure],
  ['ical', 'ic', hasMeasure],
  ['ful', '', hasMeasure],
  ['ness', '', hasMeasure],
];

const step4: readonly Rule[] = [
  ['al', '', isLong],
  ['ance', '', isLong],
  ['ence', '', isLong],
  ['er', '', isLong],
  ['ic', '', isLong],
  ['able', '', isLong],
  ['ible', '', isLong],
  ['ant', '', isLong],
  ['ement', '', isLong],
  ['ment', '', isLong],
  ['ent', '', isLong],
  ['ion', '', (stem) => isLong(stem) && /[st]$/.test(stem)],
  ['ou', '', isLong],
  ['ism', '', isLong],
  ['ate', '', isLong],
  ['iti', '', isLong],
  ['ous', '', isLong],
  ['ive', '', isLong],
  ['ize', '', isLong],
];

const step5a: readonly Rule[] = [
  ['e', '', (stem) => isLong(stem) || (hasMeasure(stem) && !endsShort(stem))],
];

const step5b: readonly Rule[] = [['ll', 'l', (stem) => isLong(`${stem}l`)]];

const steps: readonly ((word: string) => string)[] = [
  pluralRemoved,
  pastAndParticipleRemoved,
  (word) => apply(word, step1c),
  doubleSuffixShortened,
  (word) => apply(word, step3),
  (word) => apply(word, step4),
  (word) => apply(word, step5a),
  (word) => apply(word, step5b),
];
