/**
 * The command line: what goes to which stream, with which exit code, for every command; and as a program.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { InputStream, OutputStream } from '../lib/cli/output.js';
import { run } from '../lib/cli/run.js';
import { embeddedModel } from '../lib/bundled-models.js';
import { MaskPredict } from '../lib/text/mask-predict.js';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const notBuilt = existsSync(program) ? false : 'dist/cli/main.js is not built';
const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  }
).version;

/** Runs a command; `input` is what the standard input has. */
async function call(
  given: string[],
  input: string | Buffer | InputStream = '',
  signal: AbortSignal = new AbortController().signal,
) {
  const stdout = new Collected();
  const stderr = new Collected();
  const stdin = input instanceof Readable ? input : Readable.from([Buffer.from(input)]);
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

const ok = (stdout: string) => ({ code: 0, stdout, stderr: '' });
const asked = (number: number) => `Write the number ${number} in English words.`;

t.test('generate answers the text of its arguments', async (t) => {
  t.same(await call(['generate', asked(21)]), ok('twenty-one\n'));
  t.same(await call(['generate', ...asked(21).split(' ')]), ok('twenty-one\n'), 'words are joined');
  t.same(await call(['generate', '--iterations', '1', '--', asked(3)]), ok('three\n'));
  t.same(await call(['generate', '--candidates=3', '--threads=1', asked(3)]), ok('three\n'));
  t.same(await call(['generate', '  ']), ok('\n'), 'nothing is answered by nothing');
});

t.test('generate passes its options on', async (t) => {
  const model = await MaskPredict.load();
  t.teardown(() => model.close());
  const { text } = await model.generate('mask', { length: 5, sampling: { seed: 7n } });
  const drawn = ['generate', '--length', '5', '--seed', '7'];
  t.same(await call([...drawn, 'mask']), ok(`${text}\n`));
  t.same(await call([...drawn, '--seed=-1', 'mask']).then(({ code }) => code), 0);

  const scored = ['generate', '--json', '--candidates', '4', '--length-weight', '0', 'mask'];
  const length = { candidates: 4, weight: 0 };
  const { text: surest, candidates } = await model.generate('mask', { length });
  t.match(JSON.parse((await call(scored)).stdout), { text: surest, candidates });
  t.equal(candidates?.length, 4);

  const special = await model.generate('<mask> 3', { parseSpecial: true });
  const { stdout } = await call(['generate', '--json', '--parse-special', '<mask> 3']);
  t.equal(JSON.parse(stdout).score, special.score);
  t.not((await model.generate('<mask> 3')).score, special.score, 'and that makes a difference');
});

t.test('generate --json says everything', async (t) => {
  const { stdout, ...rest } = await call(['generate', '--json', '--iterations=4', asked(3)]);
  t.same(rest, { code: 0, stderr: '' });
  t.equal(stdout.indexOf('\n'), stdout.length - 1, 'one line');
  const answer = JSON.parse(stdout);
  const names = 'text score length tokens tokenScores iterations truncated timings'.split(' ');
  t.same(Object.keys(answer), names);
  t.match(answer, { text: 'three', length: 1, iterations: 1, truncated: false, timings: {} });
  t.equal(answer.tokens.length, 1);
  t.equal(answer.tokenScores[0], answer.score);
});

t.test('generate answers line n with line n', async (t) => {
  const numbers = Array.from({ length: 40 }, (_, index) => 7 * index);
  const model = await MaskPredict.load();
  t.teardown(() => model.close());
  const expected = (await model.generate(numbers.map(asked))).map(({ text }) => text);
  const { stdout } = await call(['generate'], numbers.map(asked).join('\n'));
  t.same(stdout.split('\n'), [...expected, '']);

  const gaps = `\n${asked(1)}\r\n \n\n${asked(2)}\n`;
  t.same(await call(['generate'], gaps), ok('\none\n\n\ntwo\n'));
  t.same(await call(['generate'], ''), ok(''));
  const { stdout: json } = await call(['generate', '--json'], `\n${asked(2)}`);
  const answers = json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(answers, [{ text: '', score: null, length: 0, tokens: [] }, { text: 'two' }]);
});

t.test('generate answers a line before the next one comes', async (t) => {
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const { signal } = new AbortController();
  const stderr = new Collected();
  const done = run(['generate'], { stdin, stdout, stderr, environment: {}, signal });
  stdin.write(`${asked(4)}\n`);
  t.equal(String((await once(stdout, 'data'))[0]), 'four\n');
  stdin.end(`${asked(5)}\n`);
  t.equal(String((await once(stdout, 'data'))[0]), 'five\n');
  t.equal(await done, 0);
});

t.test('a text that is too long is cut with a message, or refused by its line', async (t) => {
  const long = `${asked(6)} ${'and '.repeat(300)}`;
  const lines = `${asked(6)}\n${long}\n${asked(8)}\n`;
  const cut = await call(['generate'], lines);
  t.match(cut, { code: 0, stdout: /^six\n.*\neight\n$/, stderr: /line 2 is too long/ });
  t.match(await call(['generate', long]), { code: 0, stderr: /the text is too long/ });
  const refused = await call(['generate', '--no-truncate'], lines);
  t.match(refused, { code: 1, stdout: 'six\n' });
  t.match(refused.stderr, /^mask-predict: line 2: .*\(ERR_INVALID_ARGUMENT\)\n$/);
});

t.test('lines that need too much memory together are answered all the same', async (t) => {
  const lines = Array.from({ length: 16 }, (_, index) => `${asked(index)} ${'and '.repeat(40)}`);
  const given = ['generate', '--length', '4'];
  const { stdout: expected } = await call(given, lines.join('\n'));
  t.equal(expected.split('\n').length, 17);
  t.same(await call([...given, '--memory-limit', '3MiB'], lines.join('\n')), ok(expected));
  const { code, stderr } = await call([...given, '--memory-limit', '2MiB'], lines.join('\n'));
  t.equal(code, 1, 'not even one fits');
  t.match(stderr, /^mask-predict: line 1: .*\(ERR_OUT_OF_MEMORY\)\n$/);
});

t.test('generate --watch shows the passes', async (t) => {
  const question = 'Translate the following text from French to German: six mille soixante';
  const { code, stdout } = await call(['generate', '--watch', '--iterations=4', question]);
  t.equal(code, 0);
  t.match(stdout, '  1/4   96%  ‹sechstausend›sechz‹ig›\n');
  t.match(stdout, '  3/4   96%  sechstausendsechzig\n    =        sechstausendsechzig\n');
  t.match(stdout, /3 tokens, as predicted; 3 of 4 passes; tokenize .* ms, encode .* ms, decode/);
  t.notMatch(stdout, '\x1b', 'no colours where there is no terminal');
  const lines = await call(['generate', '--watch', '--length=2'], `\n${asked(1)}\n`);
  t.match(lines.stdout, /\n\n2:\n 1\/10 .*\n[^]*2 tokens, as given/);
});

t.test('quantize', async (t) => {
  const out = join(t.testdir({}), 'int8');
  const done = await call(['quantize', '--threads=1', embeddedModel, out]);
  t.match(done, { code: 0, stdout: /int8: \d\.\d MiB of int8 weights\n$/, stderr: '' });
  t.same(await call(['generate', '--model', out, asked(21)]), ok('twenty-one\n'));
  t.match((await call(['info', '--json', '--model', out])).stdout, /"precision":"int8"/);
  t.match(await call(['quantize', embeddedModel, out]), { code: 1, stderr: /not empty/ });
  t.match(await call(['quantize', '--overwrite', embeddedModel, out]), { code: 0 });
  t.match(await call(['generate', '--model', out, '--precision=bf16', 'x']), {
    code: 1,
    stderr: /saved as int8.*\(ERR_INVALID_ARGUMENT\)\n$/,
  });
  for (const given of [[], [embeddedModel], [embeddedModel, out, out]])
    t.match(await call(['quantize', ...given]), {
      code: 2,
      stderr: /takes a model and the directory/,
    });
  const stopped = await call(['quantize', embeddedModel, `${out}2`], '', AbortSignal.abort());
  t.match(stopped, { code: 130, stdout: '' });
});

t.test('trim', async (t) => {
  const directory = t.testdir({ 'texts.txt': `${asked(21)}\ntwenty-one\n` });
  const texts = `--texts=${join(directory, 'texts.txt')}`;
  const out = join(directory, 'small');
  const done = await call(['trim', texts, '--keep=1', embeddedModel, out]);
  t.match(done, {
    code: 0,
    stdout: /small: \d\d of 400 pieces, 1\.\d instead of 1\.9 MiB\n$/,
    stderr: '',
  });
  t.same(await call(['generate', '--model', out, asked(21)]), ok('twenty-one\n'));
  t.match(await call(['trim', texts, embeddedModel, out]), { code: 1, stderr: /not empty/ });
  const both = ['--languages=de,en', texts, '--overwrite', embeddedModel, out];
  t.match(await call(['trim', ...both]), { code: 0, stdout: /\d{3} of 400 pieces/ });
  t.same(await call(['generate', '--model', out, asked(21)]), ok('twenty-one\n'));
  const wrong: [string[], RegExp][] = [
    [[texts, embeddedModel], /takes a model and the directory/],
    [[texts, embeddedModel, out, out], /takes a model and the directory/],
    [[embeddedModel, `${out}2`], /--languages, --texts or both/],
    [[texts, '--keep=2', embeddedModel, `${out}2`], /--keep takes a number from 0 to 1, not '2'/],
  ];
  for (const [given, message] of wrong) {
    t.match(await call(['trim', ...given]), { code: 2, stderr: message });
  }
  t.match(await call(['trim', '--languages=de,?', embeddedModel, `${out}2`]), {
    code: 1,
    stderr: /languages: "\?" is not the tag/,
  });
  const stopped = await call(['trim', texts, embeddedModel, `${out}2`], '', AbortSignal.abort());
  t.match(stopped, { code: 130, stdout: '' });
  t.notOk(existsSync(`${out}2`));
});

t.test('choose, length and info', async (t) => {
  const labels = ['two', 'three', 'four'];
  t.same(await call(['choose', asked(3), ...labels]), ok('three\n'));
  const choice = JSON.parse((await call(['choose', '--json', asked(3), ...labels])).stdout);
  t.match(choice, { label: 'three', index: 1 });
  t.equal(choice.logProbs.length, 3);

  t.match((await call(['length', '--count', '2', asked(3)])).stdout, /^1\t\d+\.\d\d%\n\d+\t.*%\n$/);
  const lengths = JSON.parse((await call(['length', '--json', asked(3)])).stdout);
  t.match(lengths, [{ length: 1, logProb: Number }]);

  const table = await call(['info', '--threads=1']);
  t.match(table, { code: 0, stderr: '', stdout: /parameters +886,930\n[^]*1 threads/ });
  const details = JSON.parse((await call(['info', '--json', '--precision=fp32'])).stdout);
  t.match(details, { model: embeddedModel, config: { layers: 4 }, device: 'cpu' });
  t.equal(details.devices, undefined);
  const several = await call(['info', '--json', '--devices=cpu', '--threads=1']);
  t.match(JSON.parse(several.stdout), { device: 'cpu', threads: 1 });
  const system = `${process.platform}-${process.arch}`;
  t.match(table.stdout, `platform        ${system}, Node.js ${process.version}\n`);
  t.match(table.stdout, /addon +\S+\.node\n/);
  t.match(details, { platform: system, node: process.version, addon: /\.node$/ });
  t.ok(details.instructionSets.includes('portable'));
});

t.test('help and version', async (t) => {
  const help = await call(['--help']);
  t.match(help, { code: 0, stderr: '', stdout: /^Usage: mask-predict COMMAND/ });
  t.same(await call(['help']), help);
  for (const command of [
    'generate',
    'choose',
    'length',
    'fill',
    'embed',
    'classify',
    'info',
    'serve',
    'train',
    'trim',
    'eval',
    'ask',
    'tokens',
    'average',
  ]) {
    t.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
    const { code, stdout } = await call([command, '--help']);
    t.equal(code, 0);
    t.match(stdout, new RegExp(`^Usage: mask-predict ${command} .*[^]*\nExamples:\n`));
    t.ok(
      stdout.split('\n').every((line) => line.length <= 88),
      'lines fit a terminal',
    );
    t.equal((await call(['help', command])).stdout, stdout);
  }
  t.same(await call(['--version']), ok(`${version}\n`));
});

t.test('wrong usage exits with 2 and points to the help', async (t) => {
  const wrong: [string[], RegExp][] = [
    [[], /a command is missing/],
    [
      ['frobnicate'],
      /no command 'frobnicate'.*generate, choose, ask, .*train, average, tokens, eval/,
    ],
    [['--frobnicate'], /no option '--frobnicate'/],
    [['help', 'toString'], /no command 'toString'/],
    [['generate', '--frobnicate', 'a'], /--frobnicate/],
    [['generate', '--model'], /--model/],
    [['generate', '--iterations', '0', 'a'], /--iterations takes a whole number from 1/],
    [['generate', '--iterations', '1e2', 'a'], /not '1e2'/],
    [['generate', '--length', 'five', 'a'], /--length/],
    [['generate', '--candidates', '2', '--length', '5', 'a'], /--length and --candidates exclude/],
    [['generate', '--watch', '--candidates', '2', 'a'], /--candidates and --watch exclude/],
    [['generate', '--length-weight', '1', 'a'], /--length-weight chooses among --candidates/],
    [
      ['generate', '--candidates', '2', '--length-weight=-1', 'a'],
      /--length-weight takes a number/,
    ],
    [
      ['generate', '--candidates', '2', '--length-weight', 'much', 'a'],
      /takes a number from 0 .*not 'much'/,
    ],
    [['generate', '--json', '--watch', 'a'], /--json and --watch exclude/],
    [['generate', '--seed', '0x1', 'a'], /--seed takes a whole number, not '0x1'/],
    [
      ['generate', '--device', 'gpu', 'a'],
      /--device takes auto, cpu, cuda, cuda:N or cuda:UUID, not 'gpu'/,
    ],
    [
      ['generate', '--device=cpu', '--devices=cuda:0,cuda:1', 'a'],
      /--device and --devices exclude each other/,
    ],
    [
      ['serve', '--devices', 'cuda:0,'],
      /--devices takes GPUs such as cuda:0,cuda:1, not 'cuda:0,'/,
    ],
    [['info', '--devices', 'cuda:0,auto'], /--devices takes GPUs .*, not 'cuda:0,auto'/],
    [['generate', '--precision', 'fp4', 'a'], /--precision takes auto, fp32/],
    [['generate', '--threads', '257', 'a'], /--threads/],
    [['generate', '--memory-limit', '4 apples', 'a'], /--memory-limit takes bytes such as 4GiB/],
    [['choose', 'a', 'b'], /two labels/],
    [['length'], /takes a text/],
    [['info', 'a'], /takes no text/],
  ];
  for (const [given, message] of wrong) {
    const { code, stdout, stderr } = await call(given);
    t.same({ code, stdout }, { code: 2, stdout: '' }, given.join(' '));
    t.match(stderr, message);
    t.match(stderr, /^mask-predict: .*\nTry 'mask-predict ([a-z]+ )?--help'\.\n$/);
  }
});

t.test('failures exit with 1 and a code', async (t) => {
  const directory = t.testdir();
  copyFileSync(
    join(embeddedModel, 'sentencepiece.bpe.model'),
    join(directory, 'sentencepiece.bpe.model'),
  );
  writeFileSync(join(directory, 'config.json'), '{}');
  const failing: [string[], RegExp][] = [
    [['generate', '--model', directory, 'a'], /config\.json.*\(ERR_MODEL_FORMAT\)/],
    [['info', '--model', join(directory, 'none')], /none.*\(ERR_MODEL_FORMAT\)/],
    [['generate', '--device', 'cuda:99', 'a'], /\(ERR_DEVICE\)/],
    [['generate', '--devices', 'cpu,cpu', 'a'], /are 'cpu': name each device once \(ERR_INVALID/],
    [['generate', '--memory-limit', '1k', 'a'], /\(ERR_OUT_OF_MEMORY\)/],
    [['generate', '--length', '1000', 'a'], /\(ERR_INVALID_ARGUMENT\)/],
    [
      ['choose', asked(3), 'three', 'twenty-one'],
      /same number of tokens.*\(ERR_INVALID_ARGUMENT\)/,
    ],
  ];
  for (const [given, message] of failing) {
    const { code, stdout, stderr } = await call(given);
    t.same({ code, stdout }, { code: 1, stdout: '' }, given.join(' '));
    t.match(stderr, message);
    t.match(stderr, /^mask-predict: .*\n$/);
  }
  const failed = new Readable({
    read() {
      this.destroy(Object.assign(new Error('the disk is gone'), { code: 'EIO' }));
    },
  });
  const { code, stderr } = await call(['generate'], failed);
  t.same({ code, stderr }, { code: 1, stderr: 'mask-predict: the disk is gone (EIO)\n' });
});

t.test('a reader that has gone ends the command quietly', async (t) => {
  for (const given of [['generate'], ['generate', '--watch']]) {
    const stdout: OutputStream = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      },
    });
    const stderr = new Collected();
    const stdin = Readable.from([Buffer.from(`${asked(1)}\n`), Buffer.from(`${asked(2)}\n`)]);
    const { signal } = new AbortController();
    t.equal(await run(given, { stdin, stdout, stderr, environment: {}, signal }), 0);
    t.equal(stderr.text, '');
  }
});

t.test('the signal stops a command', async (t) => {
  const work = ['generate', '--iterations', '100000', '--length', '100', 'a'];
  const during = [work, ['generate', '--watch', ...work.slice(1)], ['generate']];
  for (const given of during) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    const { code, stderr } = await call(given, new PassThrough(), controller.signal);
    t.same({ code, stderr }, { code: 130, stderr: '' }, given.join(' '));
  }
  const { code } = await call(['info'], '', AbortSignal.abort());
  t.equal(code, 130, 'also before it loads the model');
});

t.test('the program', { skip: notBuilt }, async (t) => {
  const environment = { MASK_PREDICT_DEVICE: 'cpu', ...process.env };
  const start = (given: string[]) =>
    spawn(process.execPath, [program, ...given], { env: environment });

  const answered = start(['generate']);
  answered.stdin.end(`${asked(9)}\n`);
  t.equal(await readAll(answered.stdout), 'nine\n');

  const interrupted = start(['generate']);
  const exit = once(interrupted, 'exit');
  interrupted.stdin.write(`${asked(9)}\n`);
  await once(interrupted.stdout, 'data');
  interrupted.kill('SIGINT');
  t.same(await exit, [130, null], 'stops while it waits for a line');

  const left = start(['generate']);
  const gone = once(left, 'exit');
  left.stdin.on('error', () => {});
  left.stdin.write(`${asked(9)}\n`);
  await once(left.stdout, 'data');
  left.stdout.destroy();
  left.stdin.end(`${asked(9)}\n`.repeat(20));
  t.equal(await readAll(left.stderr), '');
  t.same(await gone, [0, null], 'ends when nobody reads');
});

t.test('an input that is no text is an error, not an answer', { skip: notBuilt }, async (t) => {
  const failed = async (stdin: number | Buffer, given: string[] = []) => {
    const child = spawn(process.execPath, [program, 'generate', ...given], {
      env: { MASK_PREDICT_DEVICE: 'cpu', ...process.env },
      stdio: [typeof stdin === 'number' ? stdin : 'pipe', 'pipe', 'pipe'],
    });
    child.stdin?.on('error', () => {}).end(stdin);
    const [stdout, stderr, [code]] = await Promise.all([
      readAll(child.stdout!),
      readAll(child.stderr!),
      once(child, 'exit') as Promise<[number | null]>,
    ]);
    return { code, stdout, stderr };
  };
  const directory = openSync(t.testdir({}), 'r');
  t.teardown(() => closeSync(directory));
  t.match(await failed(directory), {
    code: 1,
    stdout: '',
    stderr: /standard input is a directory.*\(EISDIR\)/,
  });
  t.same(await failed(directory, [asked(3)]), ok('three\n'), 'nobody reads it there');
  const powershell = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(asked(3), 'utf16le')]);
  t.match(await failed(powershell), { code: 1, stdout: '', stderr: /line 1 .*UTF-16.*UTF-8/ });
  const latin1 = Buffer.from(
    `${asked(3)}\nWrite this German number in digits: f\xfcnf\n`,
    'latin1',
  );
  t.match(await failed(latin1), { code: 1, stdout: 'three\n', stderr: /line 2 is not UTF-8/ });
});
