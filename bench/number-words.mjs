/**
 * The numbers 0 to 9999 in English, German, French and Spanish words, by the rules of the languages and in
 * the spelling that the model in models/numbers was trained on (Spanish sixteen without its accent).
 */
const english = {
  ones: list(
    'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen ' +
      'seventeen eighteen nineteen',
  ),
  tens: list('- - twenty thirty forty fifty sixty seventy eighty ninety'),
};
const german = {
  ones: list(
    'null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn ' +
      'siebzehn achtzehn neunzehn',
  ),
  tens: list('- - zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig'),
};
const french = {
  ones: list(
    'zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept ' +
      'dix-huit dix-neuf',
  ),
  tens: list('- - vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt'),
};
const spanish = {
  ones: list(
    'cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis ' +
      'diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco ' +
      'veintiséis veintisiete veintiocho veintinueve',
  ),
  tens: list('- - - treinta cuarenta cincuenta sesenta setenta ochenta noventa'),
  hundreds: list(
    '- ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos',
  ),
};

/** Language to a function from a number to its words. */
export const numberWords = {
  English: englishWords,
  German: germanWords,
  French: frenchWords,
  Spanish: spanishWords,
};

function englishWords(number) {
  const [thousands, hundreds, rest] = split(number);
  const words = [];
  if (thousands > 0) words.push(english.ones[thousands], 'thousand');
  if (hundreds > 0) words.push(english.ones[hundreds], 'hundred');
  if (rest > 0 && words.length > 0) words.push('and');
  if (rest > 0 || number === 0) words.push(englishBelowHundred(rest));
  return words.join(' ');
}

function englishBelowHundred(number) {
  if (number < 20) return english.ones[number];
  const [ten, one] = tenAndOne(number);
  return one === 0 ? english.tens[ten] : `${english.tens[ten]}-${english.ones[one]}`;
}

function germanWords(number) {
  const [thousands, hundreds, rest] = split(number);
  let words = '';
  if (thousands > 0) words += `${german.ones[thousands]}tausend`;
  if (hundreds > 0) words += `${german.ones[hundreds]}hundert`;
  if (rest > 0 || number === 0) words += germanBelowHundred(rest);
  return words;
}

function germanBelowHundred(number) {
  if (number === 1) return 'eins';
  if (number < 20) return german.ones[number];
  const [ten, one] = tenAndOne(number);
  return one === 0 ? german.tens[ten] : `${german.ones[one]}und${german.tens[ten]}`;
}

function frenchWords(number) {
  const [thousands, hundreds, rest] = split(number);
  const words = [];
  if (thousands > 1) words.push(french.ones[thousands]);
  if (thousands > 0) words.push('mille');
  if (hundreds > 1) words.push(french.ones[hundreds]);
  if (hundreds > 0) words.push(hundreds > 1 && rest === 0 ? 'cents' : 'cent');
  if (rest > 0 || number === 0) words.push(frenchBelowHundred(rest));
  return words.join(' ');
}

/** Seventy and ninety count on from sixty and eighty: soixante-dix, quatre-vingt-onze. */
function frenchBelowHundred(number) {
  if (number < 20) return french.ones[number];
  if (number === 80) return 'quatre-vingts';
  const ten = Math.floor(number / 10);
  const one = ten === 7 || ten === 9 ? number - 10 * (ten - 1) : number % 10;
  if (one === 0) return french.tens[ten];
  if (ten < 8 && (one === 1 || one === 11)) return `${french.tens[ten]} et ${french.ones[one]}`;
  return `${french.tens[ten]}-${french.ones[one]}`;
}

function spanishWords(number) {
  const [thousands, hundreds, rest] = split(number);
  const words = [];
  if (thousands > 1) words.push(spanish.ones[thousands]);
  if (thousands > 0) words.push('mil');
  if (hundreds > 0) words.push(hundreds === 1 && rest === 0 ? 'cien' : spanish.hundreds[hundreds]);
  if (rest > 0 || number === 0) words.push(spanishBelowHundred(rest));
  return words.join(' ');
}

function spanishBelowHundred(number) {
  if (number < 30) return spanish.ones[number];
  const [ten, one] = tenAndOne(number);
  return one === 0 ? spanish.tens[ten] : `${spanish.tens[ten]} y ${spanish.ones[one]}`;
}

function split(number) {
  return [Math.floor(number / 1000), Math.floor(number / 100) % 10, number % 100];
}

function tenAndOne(number) {
  return [Math.floor(number / 10), number % 10];
}

function list(words) {
  return words.split(' ');
}
