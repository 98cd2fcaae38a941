/**
 * What iterations, length candidates and stopping rules buy: `node tools/translation/curve.mjs TEST.jsonl OUT
 * [--model translate] [--limit 1000] [--threads 2]`.
 *
 * TEST.jsonl has `{ source, references }`. Each setting translates its first `limit` sentences, 128 in a call, for BLEU
 * and chrF2 with all references; then all settings in turn the first 100 of them, one call after the other, for the
 * milliseconds that a caller waits. Writes OUT.md, a table, and OUT.svg, BLEU against those milliseconds.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine, spread } from '../../bench/machine.mjs';
import { bleu, chrf } from '../../dist/evaluation/index.js';
import { MaskPredict } from '../../dist/index.js';
import { lineChart } from '../../dist/line-chart.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'translate' },
    limit: { type: 'string', default: '1000' },
    threads: { type: 'string', default: '2' },
  },
});
const [file, out] = positionals;
if (out === undefined) {
  console.error('usage: node tools/translation/curve.mjs TEST.jsonl OUT [options]');
  process.exit(2);
}
const threads = Number(values.threads);
const pairs = readFileSync(file, 'utf8')
  .trim()
  .split('\n')
  .slice(0, Number(values.limit))
  .map((line) => JSON.parse(line));
const prompts = pairs.map(
  ({ source }) => `Translate the following text from English to German: ${source}`,
);
const most = Math.max(...pairs.map(({ references }) => references.length));
const references = Array.from({ length: most }, (_, k) =>
  pairs.map(({ references }) => references[k] ?? null),
);

const ten = { iterations: 10 };
const groups = [
  {
    name: 'the predicted length',
    settings: [1, 2, 3, 4, 6, 8, 10, 15, 20].map((T) => [`T = ${T}`, { iterations: T }]),
  },
  ...[3, 5].map((candidates) => ({
    name: `the best of ${candidates} lengths`,
    settings: [1, 4, 10].map((T) => [
      `T = ${T}, ${candidates} candidates`,
      { iterations: T, length: { candidates } },
    ]),
  })),
  {
    name: 'rules that end early, T = 10',
    apart: true,
    settings: [
      ['T = 10, stop: unchanged', { ...ten, stop: 'unchanged' }],
      ['T = 10, stop: confidence 0.5', { ...ten, stop: { confidence: 0.5 } }],
      ['T = 10, stop: confidence 0.9', { ...ten, stop: { confidence: 0.9 } }],
      ['T = 10, remask below 0.5', { ...ten, remask: { below: 0.5 } }],
      ['T = 10, remask below 0.9', { ...ten, remask: { below: 0.9 } }],
    ],
  },
];

const model = await MaskPredict.load(values.model, { device: 'cpu', threads });
await model.generate(prompts.slice(0, 128), ten);
const machine = describeMachine(threads).text;
const rows = groups.flatMap(({ name, settings }) =>
  settings.map(([label, options]) => ({ group: name, label, options, times: [] })),
);
for (const row of rows) {
  const answers = [];
  for (let at = 0; at < prompts.length; at += 128)
    answers.push(...(await model.generate(prompts.slice(at, at + 128), row.options)));
  const texts = answers.map(({ text }) => text);
  row.bleu = bleu(texts, references).score;
  row.chrf = chrf(texts, references).score;
  row.passes = answers.reduce((sum, { iterations }) => sum + iterations, 0) / answers.length;
  console.log(`${row.label}: BLEU ${row.bleu.toFixed(2)}, chrF2 ${row.chrf.toFixed(2)}`);
}
// The settings take turns, so that other work on the machine meets all of them.
console.log('milliseconds');
for (const prompt of prompts.slice(0, 100))
  for (const { options, times } of rows)
    times.push((await model.generate(prompt, options)).timings.total);
for (const row of rows) row.ms = spread(row.times).median;
await model.close();

const table = rows.map(
  ({ label, bleu, chrf, passes, ms }) =>
    `| ${label} | ${bleu.toFixed(2)} | ${chrf.toFixed(2)} | ${passes.toFixed(2)} | ${ms.toFixed(1)} |`,
);
writeFileSync(
  `${out}.md`,
  [
    machine,
    `${values.model}, ${pairs.length} sentences, ${threads} threads`,
    '',
    '| setting | BLEU | chrF2 | passes | ms |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...table,
    '',
  ].join('\n'),
);
writeFileSync(
  `${out}.svg`,
  lineChart({
    title: 'BLEU against the milliseconds that a caller waits',
    subtitle: `English to German, ${pairs.length} sentences; T from left to right`,
    x: { label: 'milliseconds, one sentence at a time', scale: 'log2' },
    y: { label: 'BLEU' },
    lines: groups.map(({ name, apart }) => ({
      name,
      joined: !apart,
      points: rows.filter(({ group }) => group === name).map(({ ms, bleu }) => [ms, bleu]),
    })),
  }),
);
