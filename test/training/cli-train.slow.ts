/** `mask-predict train` as a program: from nothing to a model that loads, stopped, killed, resumed, and misused. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { run } from '../../lib/cli/run.js';
import { MaskPredict } from '../../lib/index.js';
import { instructions, jsonLines, tokenizerFile } from './imitated-runner.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const notBuilt = existsSync(program) ? false : 'dist/cli/main.js is not built';

const data = instructions(60);

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function call(given: string[]) {
  const [stdout, stderr] = [new Collected(), new Collected()];
  const stdin = new PassThrough();
  const { signal } = new AbortController();
  const code = await run(['train', ...given], { stdin, stdout, stderr, environment: {}, signal });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

function prepare(t: Test) {
  const directory = t.testdir({
    'data.jsonl': jsonLines(data),
    'xp3.jsonl': jsonLines(
      data.map(({ instruction, output }) => ({ inputs: instruction, targets: output })),
    ),
    'valid.jsonl': jsonLines(data.slice(0, 8)),
    'bad.jsonl': `${jsonLines(data.slice(0, 2))}{"instruction":"a","output":""}\n`,
  });
  const path = (name: string) => join(directory, name);
  const small = `--new 1x64 --tokenizer ${tokenizerFile} --max-positions 66 --lengths 32 --rows 256 --warmup 2 --threads 1`;
  const given = [...small.split(' '), '--cache', path('cache')];
  return { path, given };
}

t.test('from nothing to a model that loads', async (t) => {
  const { path, given } = prepare(t);
  const { code, stdout, stderr } = await call([
    ...given,
    ...['--steps', '8', '--valid', path('valid.jsonl'), '--valid-every', '4', '--answers', '4'],
    ...['--best', 'bleu', '--save-precision', 'fp16', '--freeze', 'embeddings', '--seed', '3'],
    ...['--fields', 'inputs,targets', '--out', path('out'), `${path('xp3.jsonl')}=2`],
  ]).then(async (first) => {
    t.equal(first.code, 1, 'the fields are those of the validation data too');
    t.match(first.stderr, /valid\.jsonl:1: the field inputs is missing/);
    return call([
      ...given,
      ...['--steps', '8', '--valid', path('xp3.jsonl'), '--valid-every', '4', '--answers', '4'],
      ...['--best', 'bleu', '--save-precision', 'fp16', '--freeze', 'embeddings', '--seed', '3'],
      ...['--fields', 'inputs,targets', '--out', path('out2'), `${path('xp3.jsonl')}=2`],
    ]);
  });
  t.equal(code, 0, stderr);
  t.equal(stdout, `${path('out2/best')}\n`);
  t.match(stderr, /60 examples; 8 steps\n/);
  t.match(stderr, /validation after step 4: loss .*; T=1 .*; T=4 .*; T=10 .*; the best so far\n/);
  for (const name of ['best', 'last']) {
    const model = await MaskPredict.load(path(`out2/${name}`));
    t.match(model.engine.config, { layers: 1, hidden: 64, heads: 1, lengths: 32 });
    t.equal(typeof (await model.generate('Write')).text, 'string');
    await model.close();
  }
  t.ok(existsSync(path('out2/loss.svg')));
  const log = readFileSync(path('out2/log.jsonl'), 'utf8').trim().split('\n');
  t.equal(log.length, 10);
});

t.test('options do what they say, on the model', async (t) => {
  const { path, given } = prepare(t);
  const weights = async (name: string, ...more: string[]) => {
    const out = path(name);
    const { code, stderr } = await call([
      ...[...given, '--steps', '4', '--warmup', '1', '--out', out, ...more],
      path('data.jsonl'),
    ]);
    t.equal(code, 0, stderr);
    return readFileSync(join(out, 'last', 'model.safetensors'));
  };
  const plain = await weights('plain');
  t.ok((await weights('again')).equals(plain), 'the same command makes the same bits');
  const changes = {
    'learning-rate': '1e-3',
    schedule: 'constant',
    power: '2',
    'weight-decay': '0.5',
    dropout: '0.2',
    'label-smoothing': '0',
    'length-weight': '1',
    'source-mask': '50',
    freeze: 'embeddings',
    seed: '1',
    rows: '128',
    'max-source': '11',
    'max-target': '5',
  };
  for (const [name, value] of Object.entries(changes)) {
    t.notOk((await weights(name, `--${name}`, value)).equals(plain), `--${name} ${value}`);
  }
  for (const [name, value] of Object.entries({ recompute: 'layer', threads: '2' })) {
    t.ok((await weights(name, `--${name}`, value)).equals(plain), `--${name} changes no bit`);
  }
  const frozen = readFileSync(path('freeze/last/model.safetensors'));
  t.equal(frozen.length, plain.length);
});

t.test(
  'a stopped training is whole on disk and goes on with the same bits',
  { skip: notBuilt },
  async (t) => {
    const { path, given } = prepare(t);
    const steps = [
      '--steps',
      '60',
      '--valid',
      path('valid.jsonl'),
      '--answers',
      '0',
      '--valid-every',
      '7',
    ];
    const whole = await call([...given, ...steps, '--out', path('whole'), path('data.jsonl')]);
    t.equal(whole.code, 0, whole.stderr);
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const out = path(signal);
      const first = [
        ...given,
        ...steps,
        '--checkpoint-every',
        '3',
        '--out',
        out,
        path('data.jsonl'),
      ];
      const child = spawn(process.execPath, [program, 'train', ...first], { stdio: 'ignore' });
      await logged(join(out, 'log.jsonl'), 12);
      child.kill(signal);
      const [code] = await once(child, 'exit');
      if (signal === 'SIGINT') {
        t.equal(code, 130);
        for (const name of ['best', 'last'])
          await (await MaskPredict.load(join(out, name))).close();
      }
      const again = await call(['--resume', '--out', out]);
      t.equal(again.code, 0, again.stderr);
      for (const name of ['last', 'best']) {
        const weights = (directory: string) =>
          readFileSync(join(directory, name, 'model.safetensors'));
        t.ok(weights(out).equals(weights(path('whole'))), `${signal}: ${name}`);
      }
      t.same(readdirSync(join(out, 'checkpoints')), ['step-000000060']);
    }
  },
);

/** Waits until a log has so many entries. */
async function logged(file: string, entries: number): Promise<void> {
  for (let waited = 0; waited < 120_000; waited += 5) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if (text.split('\n').length > entries) return;
    await setTimeout(5);
  }
  throw new Error(`${file} does not grow`);
}

t.test('going on has the options it began with', async (t) => {
  const { path, given } = prepare(t);
  const out = ['--out', path('out')];
  t.equal((await call([...given, '--steps', '4', ...out, path('data.jsonl')])).code, 0);
  const other = await call(['--resume', ...out, '--rows', '128']);
  t.equal(other.code, 2);
  t.match(other.stderr, /has --rows 256; leave --rows out/);
  t.match((await call(['--resume', ...out, '--dropout', '0'])).stderr, /has no --dropout; leave/);
  t.match(
    (await call(['--resume', ...out, path('xp3.jsonl')])).stderr,
    /reads .*data\.jsonl; leave/,
  );
  const more = await call(['--resume', ...out, '--steps', '6', '--threads', '2']);
  t.equal(more.code, 0, more.stderr);
  t.equal(readFileSync(path('out/log.jsonl'), 'utf8').trim().split('\n').length, 6);
  const twice = await call([...given, '--steps', '4', ...out, path('data.jsonl')]);
  t.match(twice, { code: 1, stderr: /has a training already .*: --resume goes on with it/ });
  const none = await call(['--resume', '--out', path('none')]);
  t.match(none, { code: 1, stderr: /none has no training to go on from/ });
});

t.test('wrong use is said in words', async (t) => {
  const { path, given } = prepare(t);
  const out = ['--out', path('out'), '--steps', '3'];
  const cases: [string[], number, RegExp][] = [
    [['a.jsonl'], 2, /train needs --out DIR/],
    [[...out], 2, /needs --model DIR, --new LAYERSxHIDDEN or --resume/],
    [[...out, '--model', 'a', '--new', '1x64', 'a'], 2, /--model and --new exclude each other/],
    [[...out, '--new', '1x64', 'a'], 2, /--new needs --tokenizer FILE/],
    [[...out, '--new', '6', '--tokenizer', 'a', 'a'], 2, /--new takes layers and hidden size/],
    [[...out, '--model', 'a', '--heads', '3', 'a'], 2, /--heads is for a new model/],
    [[...given, ...out], 2, /needs a file of examples/],
    [[...given, '--out', 'a', 'b'], 2, /needs an end: --steps, --epochs or --time/],
    [[...given, '--out', 'a', '--time', '90', 'b'], 2, /--time takes a time such as 30s, 90m/],
    [[...given, ...out, '--learning-rate', 'x', 'b'], 2, /--learning-rate takes a number/],
    [[...given, ...out, '--schedule', 'x', 'b'], 2, /--schedule takes polynomial, inverse-sqrt/],
    [[...given, ...out, '--fields', 'a', 'b'], 2, /--fields takes two names/],
    [[...given, ...out, '--best', 'bleu', 'b'], 2, /needs --valid FILE/],
    [
      [...given, ...out, '--best', 'bleu', '--valid', 'a', '--answers', '0', 'b'],
      2,
      /answers must be above 0/,
    ],
    [[...given, ...out, '--freeze', 'head', 'b'], 2, /--freeze takes embeddings/],
    [[...given, ...out, path('none.jsonl')], 1, /none\.jsonl cannot be read/],
    [[...given, ...out, path('bad.jsonl')], 1, /bad\.jsonl:3: the output has no tokens/],
    [[...out, '--model', path('none'), path('data.jsonl')], 1, /none/],
  ];
  for (const [list, code, message] of cases) {
    const result = await call(list);
    t.equal(result.code, code, result.stderr);
    t.match(result.stderr, message);
  }
});
