/** The commands with a model of the hub, and what they show on a terminal; and `MaskPredict.load`. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { transferLine } from '../../lib/cli/fetch-model.js';
import { run } from '../../lib/cli/run.js';
import { MaskPredict } from '../../lib/text/mask-predict.js';
import { answered, generate, numbersOnHub, repository, slowly } from './numbers-on-hub.js';

/** A hub whose address is in the environment of this process. */
async function scene(t: Test) {
  const { environment, ...rest } = await numbersOnHub(t);
  Object.assign(process.env, environment);
  t.teardown(() => Object.keys(environment).forEach((name) => delete process.env[name]));
  return rest;
}

/** Runs a command; with a terminal of 100 columns where `columns` is given. */
function start(given: string[], columns?: number, signal = new AbortController().signal) {
  const texts = { stdout: '', stderr: '' };
  const into = (name: keyof typeof texts) =>
    new Writable({
      write: (chunk: Buffer, _, done) => {
        texts[name] += chunk.toString();
        done();
      },
    });
  const stderr = Object.assign(into('stderr'), columns && { isTTY: true, columns });
  const surroundings = {
    stdin: new PassThrough(),
    stdout: into('stdout'),
    stderr,
    environment: {},
    signal,
  };
  const ended = run(given, surroundings).then((code) => ({ code, ...texts }));
  return { ended, texts };
}

const call = (...given: string[]) => start(given).ended;
const question = generate.at(-1)!;

t.test('a name of the hub, then from the cache', async (t) => {
  const { hub, cache } = await scene(t);
  t.same(await call(...generate), answered);
  t.same(readdirSync(join(cache, 'models--mask-predict--numbers', 'snapshots')).length, 1);
  await hub.stop();
  t.same(await call(...generate, '--offline'), answered);
  t.match(await call(...generate), {
    code: 0,
    stdout: 'twenty-one\n',
    stderr: /^mask-predict: .*ECONNREFUSED.*the cached commit \w{40} of main is taken\n$/,
  });
});

t.test('fill with nothing cached, then without the hub', async (t) => {
  const { hub, cache } = await scene(t);
  const fill = ['fill', '--model', repository, 'Paris is the <mask> of France.'];
  t.notOk(existsSync(cache));
  const filled = await call(...fill);
  t.match(filled, { code: 0, stdout: /^(1\t.*% *\t.*of France\.\n){5}$/, stderr: '' });
  t.ok(hub.asked.length > 0);
  await hub.stop();
  t.same(await call(...fill, '--offline'), filled);
});

t.test('every command takes it', async (t) => {
  const { cache, home } = await scene(t);
  const model = ['--model', repository];
  const choose = await call('choose', ...model, question, 'two', 'six');
  t.match(choose, { code: 0, stdout: /^(two|six)\n$/, stderr: '' });
  const offline = [...model, '--offline', '--revision', 'main', '--cache', cache];
  t.match(await call('length', ...offline, question), { code: 0, stdout: /^\d+\t/, stderr: '' });
  t.match(await call('info', ...offline), {
    code: 0,
    stdout: new RegExp(`^model +${repository}\n`),
  });
  const out = join(home, 'int8');
  const quantized = await call('quantize', repository, out, '--offline');
  t.match(quantized, { code: 0, stdout: /int8 weights/, stderr: '' });
  t.same(await call('generate', '--model', out, question), answered);
  const small = join(home, 'small');
  const trimmed = await call('trim', '--languages=fr', repository, small, '--offline');
  t.match(trimmed, { code: 0, stdout: /of 400 pieces/, stderr: '' });
  t.same(await call('generate', '--model', small, question), answered);
  const controller = new AbortController();
  const serve = ['serve', repository, '--offline', '--port', '0'];
  const serving = start(serve, undefined, controller.signal);
  while (serving.texts.stdout === '') await wait(20);
  t.match(serving.texts.stdout, /^numbers at http/);
  controller.abort();
  t.match(await serving.ended, { code: 0 });
});

t.test('what goes wrong', async (t) => {
  const { cache } = await scene(t);
  const model = ['--model', repository];
  const failing: [string[], RegExp][] = [
    [
      ['--model', 'mask-predict/none'],
      /there is no directory mask-predict\/none; and as a model of http.*\(ERR_HUB_ACCESS\)/,
    ],
    [[...model, '--revision', 'v2'], /no revision "v2".*\(ERR_HUB_NOT_FOUND\)/],
    [
      [...model, '--offline', '--cache', `${cache}-2`],
      /there is no directory mask-predict\/numbers; and as .*nothing of.*\(ERR_HUB_UNREACHABLE\)/,
    ],
    [['--model', './none'], /there is no model directory \.\/none \(ERR_MODEL_FORMAT\)/],
    [['--revision', 'v2'], /revision is for models of the hub.*\(ERR_INVALID_ARGUMENT\)/],
  ];
  for (const [given, message] of failing) {
    const { code, stdout, stderr } = await call('generate', ...given, 'x');
    t.same({ code, stdout }, { code: 1, stdout: '' });
    t.match(stderr, message);
    t.match(stderr, /^mask-predict: [^\n]*\n$/);
  }
});

t.test('a terminal sees a bar and the rate; the signal stops the transfer', async (t) => {
  const { hub } = await scene(t);
  hub.faults.push(slowly(60, 40_000));
  const controller = new AbortController();
  const stopped = start(generate, 100, controller.signal);
  while (!/MiB\/s/.test(stopped.texts.stderr)) await wait(20);
  controller.abort();
  t.match(await stopped.ended, { code: 130 });

  const shown = await start(generate, 100).ended;
  t.match(shown, { code: 0, stdout: answered.stdout });
  const lines = shown.stderr.split('\r\x1b[K');
  const bar = /^model\.safetensors \[#+ *\] +\d+% of 1\.\d MiB, \d+\.\d MiB\/s, 0:\d\d left$/;
  t.ok(
    lines.some((line) => bar.test(line)),
    shown.stderr,
  );
  t.ok(shown.stderr.endsWith('\r\x1b[K'), 'and nothing stays');
});

t.test('a bar for every width', async (t) => {
  const transfer = { file: 'model.safetensors', bytes: 2 ** 20, total: 2 ** 22, rate: 2 ** 20 / 4 };
  t.equal(
    transferLine(transfer, 100),
    `model.safetensors [${'#'.repeat(8)}${' '.repeat(22)}]  25% of 4.0 MiB, 0.3 MiB/s, 0:12 left`,
  );
  t.equal(transferLine(transfer, 60), ' 25% of 4.0 MiB, 0.3 MiB/s, 0:12 left');
  t.match(transferLine({ ...transfer, rate: 100 }, 100), /, 8:44:18 left$/);
  t.equal(transferLine({ ...transfer, rate: 0 }, 20), ' 25% of 4.0 MiB, 0.');
  for (let width = 1; width < 120; ++width) t.ok(transferLine(transfer, width).length < width);
});

t.test('MaskPredict.load, whose progress is first that of the transfer', async (t) => {
  const { hub, cache } = await scene(t);
  const phases: string[] = [];
  const options = { cache, token: 'hf_option', device: 'cpu' as const };
  const model = await MaskPredict.load(repository, {
    ...options,
    onProgress: (fraction, transfer) => {
      t.ok(fraction >= 0 && fraction <= 1);
      const phase = transfer ? 'transfer' : 'load';
      if (phases.at(-1) !== phase) phases.push(phase);
    },
  });
  t.same(phases, ['transfer', 'load']);
  t.equal((await model.generate(question)).text, 'twenty-one');
  await model.close();
  t.same([...new Set(hub.asked.map(({ authorization }) => authorization))].sort(), [
    'Bearer hf_option',
    undefined,
  ]);
  await hub.stop();
  const again = await MaskPredict.load(repository, { ...options, offline: true });
  await again.close();
  await t.rejects(
    MaskPredict.load(repository, { ...options, cache: `${cache}-2`, offline: true }),
    {
      code: 'ERR_HUB_UNREACHABLE',
    },
  );
  await t.rejects(MaskPredict.load(repository, { revison: 'main' } as never), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /no option 'revison'; it has .*revision, cache, token, offline/,
  });
});
