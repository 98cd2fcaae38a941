/** The commands `fill`, `embed` and `classify`: what they print for a text and for lines, and what they refuse. */
import { PassThrough, Readable, Writable } from 'node:stream';
import t from 'tap';
import { run } from '../lib/cli/run.js';
import { MaskPredict } from '../lib/text/mask-predict.js';
import { classifyingModel } from './classifying-model.js';

async function call(given: string[], input = '') {
  const [stdout, stderr] = [new Collected(), new Collected()];
  const stdin = input === '' ? new PassThrough().end() : Readable.from([Buffer.from(input)]);
  const { signal } = new AbortController();
  const code = await run(given, { stdin, stdout, stderr, environment: {}, signal });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

const model = await MaskPredict.load();
t.teardown(() => model.close());
const text = 'Write the number 42 in <mask> words.';
const ok = (stdout: string) => ({ code: 0, stdout, stderr: '' });
const percent = (probability: number) => `${(100 * probability).toFixed(2)}%`;

t.test('fill', async (t) => {
  const [candidates] = await model.fillMask(text);
  const lines = candidates!.map((one) => `1\t${percent(Math.exp(one.logProb))}\t${one.text}\n`);
  t.same(await call(['fill', text]), ok(lines.join('')));
  t.same(await call(['fill', '--count', '2', ...text.split(' ')]), ok(lines.slice(0, 2).join('')));
  const json = await call(['fill', '--json', '--count=2'], `${text}\n<mask> 3\n`);
  const expected = await model.fillMask([text, '<mask> 3'], { count: 2 });
  t.same(json, ok(expected.map((one) => `${JSON.stringify(one)}\n`).join('')));

  const labels = ['German', 'French'];
  const best = await model.fillMask(text, { labels });
  const given = ['fill', '--label', 'German', '--label', 'French'];
  const shown = best.map(({ label, probability }) => `${percent(probability)}\t${label}\n`);
  t.same(await call([...given, text]), ok(shown.join('')));
  t.same(await call([...given, '--json', text]), ok(`${JSON.stringify(best)}\n`));

  const wrong = await call(['fill', '--count=1'], `${text}\nno mask\n${text}\n`);
  t.match(wrong, { code: 1, stdout: lines[0], stderr: /line 2: the text has no <mask> to fill/ });
  t.match(await call(['fill', '--count', '2', '--label', 'a', text]), {
    code: 2,
    stderr: /--count and --label exclude/,
  });
  t.match(await call(['fill', '--count', '0', text]), { code: 2, stderr: /--count/ });
});

t.test('embed', async (t) => {
  const line = (vector: Float32Array) => `${JSON.stringify([...vector])}\n`;
  t.same(await call(['embed', 'a', 'b']), ok(line(await model.embed('a b'))));
  const vectors = await model.embed(['a', '', 'c'], { pooling: 'first', normalize: true });
  const given = ['embed', '--pooling', 'first', '--normalize'];
  t.same(await call(given, 'a\n\nc\n'), ok(vectors.map(line).join('')));
  t.same(await call(['embed', '--no-normalize', 'a']), ok(line(await model.embed('a'))));
  t.match(await call(['embed', '--pooling', 'max', 'a']), { code: 2, stderr: /mean or first/ });
  t.match(await call(['embed', '--normalize', '--no-normalize', 'a']), { code: 2 });
});

t.test('classify', async (t) => {
  const path = t.testdir(classifyingModel(['yes', 'no', 'maybe']));
  await using classifier = await MaskPredict.load(path);
  const render = ({ label, index, scores }: { label: string; index: number; scores: number[] }) =>
    `${label}\t${scores[index]!.toFixed(4)}\n`;
  const given = ['classify', '--model', path];
  t.same(await call([...given, 'a', 'b']), ok(render(await classifier.classify('a b'))));
  const pair = { text: 'a', pair: 'b c' };
  t.same(await call([...given, '--pair', 'b c', 'a']), ok(render(await classifier.classify(pair))));
  const both = await classifier.classify(['x', pair]);
  t.same(await call(given, 'x\na\tb c\n'), ok(both.map(render).join('')));
  t.same(await call([...given, '--json'], 'x\n'), ok(`${JSON.stringify(both[0])}\n`));
  t.match(await call([...given, '--pair', 'b']), { code: 2, stderr: /--pair takes a text/ });
  t.match(await call(['classify', 'a']), { code: 1, stderr: /no sequence classifier/ });
  t.match(await call(['generate', '--model', path, 'a']), {
    code: 1,
    stderr: /needs a language-model head/,
  });
  const { stdout } = await call(['info', '--model', path]);
  t.match(stdout, /can +embed, classify \(3 classes\)/);
  t.match((await call(['info'])).stdout, /can +embed, generate, choose, score, fill masks\n/);
});
