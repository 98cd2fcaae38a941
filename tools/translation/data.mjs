/**
 * Writes what the translation model is made from: `node tools/translation/data.mjs TATOEBA DIRECTORY`.
 *
 * TATOEBA holds `en-de.train.tsv.gz` and `en-de.valid.tsv.gz` (an English and a German sentence in a line, split by a tab)
 * and `en-de.test.jsonl` (`{ source, references }`), from sentence pairs of tatoeba.org (CC BY 2.0 FR).
 *
 * - `train.jsonl`, `valid.jsonl`: instructions and outputs, in the order of the files.
 * - `test.jsonl`: instructions and all references of each.
 * - `corpus.txt`: the texts that the SentencePiece model is made from.
 */
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Prompt ② of the paper's Table 7. */
const instruction = (text) => `Translate the following text from English to German: ${text}`;

const [tatoeba, directory] = process.argv.slice(2);
if (tatoeba === undefined || directory === undefined) {
  console.error('usage: node tools/translation/data.mjs TATOEBA DIRECTORY');
  process.exit(2);
}
mkdirSync(directory, { recursive: true });

const train = pairs('en-de.train.tsv.gz');
writeExamples('train.jsonl', train);
writeExamples('valid.jsonl', pairs('en-de.valid.tsv.gz'));
writeTest();
await writeCorpus();

function pairs(name) {
  const lines = gunzipSync(readFileSync(join(tatoeba, name)))
    .toString()
    .trim()
    .split('\n');
  return lines.map((line) => line.split('\t'));
}

function writeExamples(name, list) {
  const lines = list.map(([source, output]) =>
    JSON.stringify({ instruction: instruction(source), output }),
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
