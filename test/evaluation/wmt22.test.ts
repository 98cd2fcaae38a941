/** The published scores of three WMT22 systems, German to English, with each reference and with both. */
import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { bleu, bleuStatistics, bootstrap, chrf } from '../../lib/evaluation/index.js';

const folder = new URL('../../../shared/data/wmt22/', import.meta.url);
const skip = !existsSync(folder) && 'the data is not here';

function texts(name: string): string[] {
  const file = new URL(`generaltest2022.de-en.${name}.en.gz`, folder);
  return gunzipSync(readFileSync(file)).toString().replace(/\n$/, '').split('\n');
}

function referenceSets(name: string): string[][] {
  return (name === 'all' ? ['A', 'B'] : [name]).map((set) => texts(`ref.${set}`));
}

t.test('every row', { skip }, async (t) => {
  const [, ...rows] = readFileSync(new URL('scores.tsv', folder), 'utf8').trim().split('\n');
  t.equal(rows.length, 18);
  for (const row of rows) {
    const [, system, , , metric, printed] = row.split('\t') as string[];
    const [name, sets] = metric!.split('-');
    const measure = name === 'bleu' ? bleu : chrf;
    const { score } = measure(texts(`hyp.${system}`), referenceSets(sets!));
    t.ok(Math.abs(score - Number(printed)) < 1e-9, `${system} ${metric}: ${score}, not ${printed}`);
  }
});

t.test('the bootstrap agrees with that of sacrebleu 2.6.0', { skip }, async (t) => {
  const baseline = texts('hyp.PROMT');
  const better = texts('hyp.Lan-Bridge');
  const mixed = baseline.map((text, i) => (i % 8 > 0 ? text : better[i]!));
  const statistics = [baseline, better, mixed].map((hypotheses) =>
    bleuStatistics(hypotheses, referenceSets('A')),
  );
  const [own, other, alike] = bootstrap(statistics, { samples: 2000, seed: 1 });
  // With 2000 samples: mean 32.51 and half width of the interval 0.918; p 0.0005 and 0.2149. Other draws give others: the
  // standard error of the mean is 0.47 / √2000 = 0.01, of a quantile's ends about 0.03 each, of p √(0.21 · 0.79 / 2000) =
  // 0.009; four of each are allowed.
  const halfWidth = (own!.interval.high - own!.interval.low) / 2;
  t.ok(Math.abs(own!.mean - 32.509) < 0.06, `mean ${own!.mean}`);
  t.ok(Math.abs(halfWidth - 0.918) < 0.12, `half width ${halfWidth}`);
  t.equal(own!.difference, null);
  t.equal(other!.difference!.pValue, 1 / 2001);
  t.ok(other!.difference!.interval.low > 0);
  const { pValue, interval } = alike!.difference!;
  t.ok(Math.abs(pValue - 0.2149) < 0.04, `p ${pValue}`);
  t.ok(interval.low < 0 && interval.high > 0, 'it may be chance');
});
