/** The demo, and how passes are shown. */
import { Writable } from 'node:stream';
import t from 'tap';
import { bundledModels } from '../lib/bundled-models.js';
import { acts, demo, instructionsFor } from '../lib/cli/demo.js';
import type { RefinementStep } from '../lib/text/mask-predict.js';
import { legend, renderStep, wantsColours } from '../lib/text/refinement-view.js';

/** Runs the demo with these variables, and returns what it wrote. */
async function shown(environment: NodeJS.ProcessEnv): Promise<string> {
  let text = '';
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  await demo(stdout, environment);
  return text;
}

t.test('the demo answers every instruction and says how to go on', async (t) => {
  const text = await shown({});
  for (const { options, instructions } of acts.flatMap(({ parts }) => parts)) {
    const first = `1/${options.iterations}`.padStart(5);
    for (const instruction of instructions) t.match(text, `\n  ${instruction}\n${first} `);
  }
  const answers = [...text.matchAll(/^    = {8}(.*)$/gm)].map(([, answer]) => answer);
  t.same(answers, [
    'Yes',
    '3992',
    'two thousand one hundred and eighty-four',
    'fünftausendzwölf',
    'sechstausendsechzig',
    'dreitausendsechsundsiebzig',
    'cinq mille six cent quatre-vingt-douze',
    'one thousand eight hundred and forty-four',
    'Habt ihr keine Angst?',
    'Weißt du, wo Tom auf uns wartet?',
    'Sie ist nicht so groß wie er.',
  ]);
  t.match(text, /npx mask-predict --help\n$/);
  t.notMatch(text, '\x1b');
});

t.test('the page of a model of the package has its instructions', (t) => {
  t.match(
    instructionsFor('translate')[0],
    /^Translate the following text from English to German: /,
  );
  t.same(instructionsFor(bundledModels.translate), instructionsFor('translate'));
  t.ok(instructionsFor('numbers').includes('Is the number 5692 even? Yes or no?'));
  for (const name of ['./elsewhere', 'owner/name']) t.same(instructionsFor(name), []);
  t.end();
});

t.test('with colours, the demo has the same words', async (t) => {
  const text = await shown({ FORCE_COLOR: '1' });
  t.match(text, '\x1b[38;5;34m');
  const words = text.replace(/\x1b\[[\d;]*m/g, '');
  t.match(words, '\n    =        sechstausendsechzig\n');
});

t.test('colours where they are wanted', async (t) => {
  const terminal = { isTTY: true };
  t.equal(wantsColours(terminal, {}), true);
  t.equal(wantsColours({}, {}), false);
  t.equal(wantsColours(terminal, { TERM: 'dumb' }), false);
  t.equal(wantsColours(terminal, { NO_COLOR: '1' }), false);
  t.equal(wantsColours(terminal, { NO_COLOR: '' }), true);
  t.equal(wantsColours({}, { FORCE_COLOR: '1', NO_COLOR: '1' }), true);
  t.equal(wantsColours({}, { FORCE_COLOR: '' }), true);
  t.equal(wantsColours(terminal, { FORCE_COLOR: '0' }), false);
});

t.test('a pass is one line', async (t) => {
  const token = (piece: string, probability: number, masked = false) => ({
    piece,
    id: 5,
    score: Math.log(probability),
    masked,
  });
  const step: RefinementStep = {
    iteration: 2,
    text: '',
    tokens: [
      token('▁a', 0.9),
      token('▁b', 0.1, true),
      token('▁', 0.7, true),
      token('c\x1b\n', 0.5),
    ],
  };
  t.equal(
    renderStep(step, { colours: false, iterations: 10 }),
    ' 2/10   10%  a ‹b›‹▁›c\ufffd\ufffd\n',
  );
  t.equal(
    renderStep(step, { colours: true, iterations: 10 }),
    ' 2/10   10%  \x1b[38;5;34ma\x1b[39m \x1b[7m\x1b[38;5;160mb\x1b[39m\x1b[27m' +
      '\x1b[7m\x1b[38;5;106m▁\x1b[39m\x1b[27m\x1b[38;5;178mc\ufffd\ufffd\x1b[39m\n',
  );
  t.match(legend(false), '‹like this›');
  t.match(legend(true), '\x1b[7m like this ');
});
