/**
 * Every file of examples/ is run as its head comment says, and its output has the right answers: those of the embedded
 * model, which are certain, or those of a reference in double precision for examples of stock models.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { MaskPredict } from '../lib/index.js';
import './built-package.js';
import { classifyingModel } from './classifying-model.js';
import { ModernBertReference } from './reference/modern-bert.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const stock = join(root, 'test/fixtures/tiny-modernbert');
const directory = join(root, 'examples');

/** Runs a program with a directory for what it caches, for three minutes at most; gives its lines. */
async function linesOf(t: Test, program: string, ...args: string[]): Promise<string[]> {
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [program, ...args], {
    env: { MASK_PREDICT_DEVICE: 'cpu', ...inherited, XDG_CACHE_HOME: t.testdirName },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 180_000,
    killSignal: 'SIGKILL',
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  t.match({ code, stderr }, { code: 0, stderr: '' }, `${program} ${args.join(' ')}`);
  return stdout.trimEnd().split('\n');
}

/** The tests, each named like its file. */
const tests: Record<string, (t: Test, example: string) => Promise<void>> = {
  'generate.mjs': async (t, example) => {
    const output = (await linesOf(t, example)).join('\n');
    t.match(output, /4217 in German words\.\n +viertausendzweihundertsiebzehn +\(\d+ tokens/);
    t.match(output, /dix-neuf\n +19 /);
    t.match(output, /veintiuno\n +twenty-one /);
    t.match(output, /4217 even.*\n +No /);
    t.match(output, /five lengths +viertausendzweihundertsiebzehn, of 5(, \d+){4} tokens/);
    t.match(output, /chosen +No +\(Yes 0\.0\d+, No 0\.9\d+\)/);
    const model = join(root, 'models/numbers');
    const own = await linesOf(t, example, model, 'Write the number 7 in German words.');
    t.match(own[1], /^ +sieben /, 'a directory and an instruction of one’s own');
  },

  'refine.mjs': async (t, example) => {
    const lines = await linesOf(t, example);
    t.match(lines[0], /5692 in French/);
    const passes = lines.filter((line) => line.startsWith('pass'));
    t.ok(passes.length > 4, `${passes.length} passes`);
    t.match(passes[0], /‹/, 'tokens are masked again after the first pass');
    t.match(passes.at(-1), /= {2}cinq mille six cent quatre-vingt-douze$/);
    t.notMatch(passes.at(-1), /‹/, 'and none after the last one');
  },

  'infilling.mjs': async (t, example) => {
    const output = (await linesOf(t, example)).join('\n');
    t.match(output, /filled +four thousand two hundred and seventeen +\(2 tokens in \d passes\)/);
    t.match(output, /position 3: ▁two 9\d\.\d%\n +position 4: ▁hundred 9\d\.\d%$/);
  },

  'many-callers.mjs': async (t, example) => {
    const output = (await linesOf(t, example, '24')).join('\n');
    t.match(output, /English words\. +four thousand two hundred and seventeen\n/);
    t.match(output, /the same bits +24 of 24$/);
    const [, most] = /up to (\d+) answers in a pass/.exec(output) ?? [];
    t.ok(Number(most) > 1 && Number(most) <= 24, `calls share passes: up to ${most} answers`);
  },

  'fine-tuning.mjs': async (t, example) => {
    const output = (await linesOf(t, example, join(t.testdir({}), 'tuned'))).join('\n');
    const [before, after] = [...output.matchAll(/(\d+)% right/g)].map(([, share]) => Number(share));
    t.ok(before! < 60, `${before}% before`);
    t.ok(after! >= 80, `${after}% after`);
    t.match(output, /Is the number \d*[13579] odd\? Yes or no\? {2}Yes\n/);
    t.match(
      output,
      /Is the number 4217 even\? Yes or no\? {2}No\n/,
      'and it has forgotten nothing',
    );
  },

  'server-with-opentelemetry.mjs': async (t, example) => {
    const output = (await linesOf(t, example)).join('\n');
    t.match(output, /^200 viertausendzweihundertsiebzehn$/m);
    t.match(output, /^200 Yes$/m);
    t.match(output, /^400 prompt has no tokens/m);
    const spans = output.match(/^span mask-predict generate .*$/gm) ?? [];
    t.equal(spans.length, 3);
    t.match(spans[0], /"mask_predict.prompts":1,"mask_predict.tokens":5,"mask_predict.passes":\d/);
    t.match(spans[2], /ERR_INVALID_ARGUMENT status 2$/);
    t.match(output, /^rows \d+$/m);

    // Where the package is installed it is told instead. This one stands for it.
    const installed = `
      const span = (name) => ({
        setAttribute: (key) => console.log('set', name, key), recordException() {}, setStatus() {},
        end: () => console.log('end', name),
      });
      export const trace = { getTracer: (by) => ({ startSpan: (name) => span(by + ': ' + name) }) };
      export const metrics = {
        getMeter: () => ({ createHistogram: (name) => ({ record: () => console.log(name) }) }),
      };`;
    const api = {
      'package.json': '{ "type": "module", "main": "index.js" }',
      'index.js': installed,
    };
    const project = t.testdir({
      'server.mjs': readFileSync(example),
      node_modules: { '@opentelemetry': { api } },
    });
    const told = (await linesOf(t, join(project, 'server.mjs'))).join('\n');
    t.match(told, /^set mask-predict: mask-predict generate mask_predict\.tokens$/m);
    t.equal(told.match(/^end mask-predict: mask-predict generate$/gm)?.length, 3);
    t.match(told, /^mask_predict\.batch\.rows$/m);
    t.notMatch(told, /^span /m);
  },

  'fill-mask.mjs': async (t, example) => {
    const lines = await linesOf(t, example, stock, 'The answer [MASK] is [MASK].');
    t.equal(lines[0], 'The answer [MASK] is [MASK].');
    const { rows, tokenizer } = await stockLogProbs(lines[0]!);
    t.equal(rows.length, 2);
    rows.forEach((logProbs, mask) => {
      // Special tokens are never the answer.
      const allowed = [...logProbs.keys()].filter(
        (id) => !['[CLS]', '[SEP]', '[PAD]', '[MASK]'].includes(tokenizer.piece(id)),
      );
      const best = allowed.sort((a, b) => logProbs[b]! - logProbs[a]!).slice(0, 3);
      const shown = best.map((id) => `${tokenizer.piece(id)} ${percent(logProbs[id]!)}`);
      t.equal(lines[mask + 1], `  mask ${mask + 1}: ${shown.join(', ')}`);
    });
  },

  'cloze.mjs': async (t, example) => {
    const labels = ['and', 'the'];
    const given = ['Is it so?', 'One more.'];
    const lines = await linesOf(t, example, stock, ...labels, '--', ...given);
    t.equal(lines.length, 2);
    for (const [index, line] of lines.entries()) {
      const { rows, tokenizer } = await stockLogProbs(`${given[index]} It was [MASK].`);
      const weights = labels.map((label) => {
        // In pieces of bytes a label counts with and without the space before it.
        const ids = [` ${label}`, label].map((one) => tokenizer.encode(one).ids.slice(1, -1));
        const single = ids.filter(({ length }) => length === ids[0]!.length);
        return single.reduce((sum, [id]) => sum + Math.exp(rows[0]![id!]!), 0);
      });
      const total = weights[0]! + weights[1]!;
      const ranked = weights[0]! > weights[1]! ? [0, 1] : [1, 0];
      const shown = ranked.map((i) => `${labels[i]} ${percent(Math.log(weights[i]! / total))}`);
      t.equal(line, `${shown.join(', ')}   ${given[index]}`);
    }
  },

  'embeddings.mjs': async (t, example) => {
    const [query, ...texts] = ['Is it so?', 'a', 'It is not so, and never was.', 'Is it?'] as const;
    const lines = await linesOf(t, example, stock, query, ...texts);
    await using model = await MaskPredict.load(stock, { device: 'cpu' });
    const reference = new ModernBertReference(stock);
    const mean = (text: string) => {
      const { ids } = model.tokenizer.encode(text);
      const states = reference.states(ids);
      return Float64Array.from({ length: 128 }, (_, column) =>
        ids.reduce((sum, _, row) => sum + states[row * 128 + column]! / ids.length, 0),
      );
    };
    const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    const asked = mean(query);
    const ranked = texts
      .map((text) => ({ text, vector: mean(text) }))
      .map(({ text, vector }) => {
        const lengths = Math.sqrt(dot(asked, asked) * dot(vector, vector));
        return { text, similarity: dot(asked, vector) / lengths };
      })
      .sort((a, b) => b.similarity - a.similarity);
    t.equal(lines[0], `${query}   (128 dimensions)`);
    t.same(
      lines.slice(1),
      ranked.map(({ text, similarity }) => `  ${similarity.toFixed(4)}  ${text}`),
    );
  },

  'zero-shot.mjs': async (t, example) => {
    const path = t.testdir(classifyingModel(['contradiction', 'neutral', 'Entailment']));
    await using classifier = await MaskPredict.load(path, { device: 'cpu' });
    const labels = ['numbers', 'words', 'nothing'];
    const expected = await Promise.all(
      labels.map(async (label) => {
        const pair = `This example is about ${label}.`;
        const { scores } = await classifier.classify({ text: 'a', pair });
        return { label, probability: scores[2]! / (scores[2]! + scores[0]!) };
      }),
    );
    expected.sort((a, b) => b.probability - a.probability);
    t.same(
      await linesOf(t, example, path, 'a', ...labels),
      expected.map(({ label, probability }) => {
        const shown = `${(100 * probability).toFixed(1)}%  ${label}`;
        return shown.padStart(label.length + 8);
      }),
    );
  },
};

/** The reference's log-probabilities of all ids, for each mask of a text. */
async function stockLogProbs(text: string) {
  await using model = await MaskPredict.load(stock, { device: 'cpu' });
  const { tokenizer } = model;
  const { ids } = tokenizer.encode(text, { parseSpecial: true });
  const reference = new ModernBertReference(stock);
  const logits = reference.logits(reference.states(ids));
  const width = logits.length / ids.length;
  const rows = [...ids.keys()]
    .filter((position) => ids[position] === tokenizer.maskTokenId)
    .map((position) => {
      const row = logits.subarray(position * width, (position + 1) * width);
      const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
      return row.map((x) => x - total);
    });
  return { rows, tokenizer };
}

function percent(logProb: number): string {
  return `${(100 * Math.exp(logProb)).toFixed(1)}%`;
}

for (const [name, test] of Object.entries(tests)) {
  t.test(name, (t) => test(t, join(directory, name)));
}

t.test('every example has a test and a row in the table', async (t) => {
  const files = readdirSync(directory).filter((name) => name !== 'README.md');
  t.same(files.sort(), Object.keys(tests).sort());
  const table = readFileSync(join(directory, 'README.md'), 'utf8');
  for (const name of files) {
    t.ok(table.includes(`[\`${name}\`](${name})`), `${name} is in examples/README.md`);
    const [usage] = readFileSync(join(directory, name), 'utf8').split('\n');
    t.ok(usage!.startsWith(`// node examples/${name}`), `${name} says how it is run`);
  }
});
