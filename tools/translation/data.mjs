/**
 * Writes what the translation model is made from: `node tools/translation/data.mjs TATOEBA DIRECTORY`.
 *
 * TATOEBA holds `en-de.train.tsv.gz` and `en-de.valid.tsv.gz` (an English and a German sentence in a line, split by a tab)
 * and `en-de.test.jsonl` (`{ source, references }`), from sentence pairs of tatoeba.org (CC BY 2.0 FR).
 *
 * - `train.jsonl`: instructions and outputs, in the order of the file.
 * - `short.jsonl`: the same with a prompt of two pieces instead of eleven: an epoch of it takes seven tenths of the time.
 * - `valid.jsonl`: the same, shuffled: the file begins with the shortest sentences, and a training answers only its first ones.
 * - `test.jsonl`: instructions and all references of each.
 * - `corpus.txt`: the texts that the SentencePiece model is made from.
 */
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Prompt ② of the paper's Table 7. */
const instruction = (text) => `Translate the following text from English to German: ${text}`;

/** What most steps of the training read in its place. */
const shortInstruction = (text) => `German: ${text}`;

const [tatoeba, directory] = process.argv.slice(2);
if (tatoeba === undefined || directory === undefined) {
  console.error('usage: node tools/translation/data.mjs TATOEBA DIRECTORY');
  process.exit(2);
}
mkdirSync(directory, { recursive: true });

const train = pairs('en-de.train.tsv.gz');
writeExamples('train.jsonl', train, instruction);
writeExamples('short.jsonl', train, shortInstruction);
writeExamples('valid.jsonl', shuffled(pairs('en-de.valid.tsv.gz')), instruction);
writeTest();
await writeCorpus();

function pairs(name) {
  const lines = gunzipSync(readFileSync(join(tatoeba, name)))
    .toString()
    .trim()
    .split('\n');
  return lines.map((line) => line.split('\t'));
}

/** In the order of the digests of the pairs: it looks random and is always the same. */
function shuffled(list) {
  const digest = (pair) => createHash('sha256').update(pair.join('\t')).digest('hex');
  return list
    .map((pair) => [digest(pair), pair])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, pair]) => pair);
}

function writeExamples(name, list, prompt) {
  const lines = list.map(([source, output]) =>
    JSON.stringify({ instruction: prompt(source), output }),
  );
  writeFileSync(join(directory, name), `${lines.join('\n')}\n`);
  console.log(`${name}: ${lines.length} pairs`);
}

function writeTest() {
  const lines = readFileSync(join(tatoeba, 'en-de.test.jsonl'), 'utf8').trim().split('\n');
  const tests = lines.map((line) => {
    const { source, references } = JSON.parse(line);
    return JSON.stringify({ instruction: instruction(source), references });
  });
  writeFileSync(join(directory, 'test.jsonl'), `${tests.join('\n')}\n`);
  console.log(`test.jsonl: ${tests.length} sentences`);
}

/** Every sentence once, and the words of the prompt as often as a frequent word. */
async function writeCorpus() {
  const file = createWriteStream(join(directory, 'corpus.txt'));
  const texts = new Set(train.flat());
  for (const text of texts) file.write(`${text}\n`);
  for (let i = 0; i < 2000; i++) file.write(`${instruction('').trim()}\n`);
  file.end();
  await new Promise((done, failed) => file.on('finish', done).on('error', failed));
}
