/**
 * The program with a model of the hub: with nothing cached, then without a network; killed in the middle; twice at the
 * same time; and what it shows on a terminal.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import '../built-package.js';
import { transferLine } from '../../lib/cli/fetch-model.js';
import { run } from '../../lib/cli/run.js';
import { embeddedModel } from '../../lib/text/loading.js';
import { MaskPredict } from '../../lib/text/mask-predict.js';
import { sha256, TestHub, type Asked } from './test-hub.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const repository = 'mask-predict/numbers';
const files = Object.fromEntries(
  ['README.md', 'config.json', 'model.safetensors', 'sentencepiece.bpe.model'].map((name) => [
    name,
    readFileSync(join(embeddedModel, name)),
  ]),
);
const weights = files['model.safetensors']!;
const question = 'Write the number 21 in English words.';

/** A hub with the embedded model, and an empty cache. */
async function scene(t: Test) {
  const hub = await TestHub.start(t);
  hub.commit(repository, files, ['model.safetensors', 'sentencepiece.bpe.model']);
  const home = t.testdir({});
  const environment: Record<string, string> = { HF_ENDPOINT: hub.url, HF_HOME: home };
  return { hub, environment, cache: join(home, 'hub') };
}

/** Runs the program; the working directory has no folders that a name could mean. */
function start(t: Test, environment: Record<string, string>, ...given: string[]) {
  const { NODE_OPTIONS: _, HF_TOKEN: __, ...inherited } = process.env;
  const child = spawn(process.execPath, [program, ...given], {
    env: { ...inherited, MASK_PREDICT_DEVICE: 'cpu', ...environment },
    cwd: environment['HF_HOME'],
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const outputs = Promise.all([readAll(child.stdout), readAll(child.stderr)]);
  const ended = once(child, 'exit').then(async ([code]) => {
    const [stdout, stderr] = await outputs;
    return { code: code as number | null, stdout, stderr };
  });
  return { child, ended };
}

const generate = ['generate', '--model', repository, question];
const answered = { code: 0, stdout: 'twenty-one\n', stderr: '' };

/** Sends the weights slowly: a piece every so many milliseconds. */
function slowly(milliseconds: number, bytes: number) {
  return async ({ url, range }: Asked, response: import('node:http').ServerResponse) => {
    if (!url.startsWith(`/blob/${sha256(weights)}`)) return false;
    const first = Number(/\d+/.exec(range ?? '')?.[0] ?? 0);
    response.writeHead(range ? 206 : 200, {
      'content-length': weights.length - first,
      ...(range && { 'content-range': `bytes ${first}-${weights.length - 1}/${weights.length}` }),
    });
    for (let at = first; at < weights.length && !response.destroyed; at += bytes) {
      response.write(weights.subarray(at, at + bytes));
      await wait(milliseconds);
    }
    response.end();
    return true;
  };
}

t.test('with nothing cached, then without a network', async (t) => {
  const { hub, environment, cache } = await scene(t);
  t.same(await start(t, environment, ...generate).ended, answered);
  t.same(readdirSync(join(cache, 'models--mask-predict--numbers', 'snapshots')).length, 1);
  t.ok(hub.asked.length > 3);
  await hub.stop();
  const offline = { ...environment, HF_HUB_OFFLINE: '1' };
  t.same(await start(t, offline, ...generate).ended, answered);
  t.same(await start(t, environment, ...generate, '--offline').ended, answered);
  t.match(await start(t, environment, ...generate).ended, {
    code: 0,
    stdout: 'twenty-one\n',
    stderr: /^mask-predict: .*ECONNREFUSED.*the cached commit \w{40} of main is taken\n$/,
  });
});

t.test('every command takes a name of the hub', async (t) => {
  const { environment, cache } = await scene(t);
  const model = ['--model', repository];
  const choose = await start(t, environment, 'choose', ...model, question, 'two', 'six').ended;
  t.match(choose, { code: 0, stdout: /^(two|six)\n$/, stderr: '' });
  const offline = [...model, '--offline', '--revision', 'main', '--cache', cache];
  const length = await start(t, environment, 'length', ...offline, question).ended;
  t.match(length, { code: 0, stdout: /^\d+\t/, stderr: '' });
  t.match(await start(t, environment, 'info', ...offline).ended, {
    code: 0,
    stdout: new RegExp(`^model +${repository}\n`),
  });
  const out = join(cache, 'int8');
  const quantized = await start(t, environment, 'quantize', repository, out, '--offline').ended;
  t.match(quantized, { code: 0, stdout: /int8 weights/, stderr: '' });
  t.same(await start(t, environment, 'generate', '--model', out, question).ended, answered);

  const { child } = start(t, environment, 'serve', repository, '--offline', '--port', '0');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  t.match(line.toString(), /^numbers at http/);
  child.kill('SIGTERM');
});

t.test('killed in the middle, it goes on where it was', async (t) => {
  const { hub, environment, cache } = await scene(t);
  hub.faults.push(slowly(20, 50_000));
  const blobs = join(cache, 'models--mask-predict--numbers', 'blobs');
  const part = join(blobs, `${sha256(weights)}.incomplete`);
  const { child, ended } = start(t, environment, ...generate);
  while (!existsSync(part) || statSync(part).size < 500_000) await wait(10);
  child.kill('SIGKILL');
  t.match(await ended, { code: null });
  const { size } = statSync(part);
  t.ok(size < weights.length);
  t.match(await start(t, environment, ...generate, '--offline').ended, {
    code: 1,
    stdout: '',
    stderr:
      /there is no directory mask-predict\/numbers; and as .*nothing of.*\(ERR_HUB_UNREACHABLE\)\n$/,
  });
  hub.asked.length = 0;
  t.same(await start(t, environment, ...generate).ended, answered);
  const ranges = hub.asked.filter(({ server }) => server === 'cdn').map(({ range }) => range);
  t.same(ranges, [`bytes=${size}-`]);
  t.same(
    readdirSync(blobs).filter((name) => !/^[0-9a-f]+$/.test(name)),
    [],
  );
});

t.test('two processes at once, one of which is killed', async (t) => {
  const { hub, environment } = await scene(t);
  hub.faults.push(slowly(40, 100_000));
  const large = () => hub.asked.filter(({ url }) => url.startsWith(`/blob/${sha256(weights)}`));
  const one = start(t, environment, ...generate);
  const two = start(t, environment, ...generate);
  t.same(await Promise.all([one.ended, two.ended]), [answered, answered]);
  t.equal(large().length, 1, 'one of them transfers');

  const next = await scene(t);
  next.hub.faults.push(slowly(40, 100_000));
  const killed = start(t, next.environment, ...generate);
  while (!next.hub.asked.some(({ url }) => url.startsWith(`/blob/${sha256(weights)}`)))
    await wait(10);
  const other = start(t, next.environment, ...generate);
  await wait(300);
  killed.child.kill('SIGKILL');
  t.same(await other.ended, answered, 'the other one takes over');
});

t.test('what goes wrong', async (t) => {
  const { environment } = await scene(t);
  const failing: [string[], RegExp][] = [
    [
      ['--model', 'mask-predict/none'],
      /there is no directory mask-predict\/none; and as a model of http.*\(ERR_HUB_ACCESS\)/,
    ],
    [['--model', repository, '--revision', 'v2'], /no revision "v2".*\(ERR_HUB_NOT_FOUND\)/],
    [['--model', './none'], /there is no model directory \.\/none \(ERR_MODEL_FORMAT\)/],
    [['--revision', 'v2'], /revision is for models of the hub.*\(ERR_INVALID_ARGUMENT\)/],
  ];
  for (const [given, message] of failing) {
    const { code, stdout, stderr } = await start(t, environment, 'generate', ...given, 'x').ended;
    t.same({ code, stdout }, { code: 1, stdout: '' });
    t.match(stderr, message);
    t.match(stderr, /^mask-predict: [^\n]*\n$/);
  }
});

t.test('a terminal sees a bar and the rate; the signal stops the transfer', async (t) => {
  const { hub, environment } = await scene(t);
  hub.faults.push(slowly(60, 40_000));
  Object.assign(process.env, environment);
  t.teardown(() => Object.keys(environment).forEach((name) => delete process.env[name]));
  const terminal = (controller = new AbortController()) => {
    let text = '';
    const stderr = new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString();
        done();
      },
    });
    const stdout = new PassThrough();
    const surroundings = {
      stdin: new PassThrough(),
      stdout,
      stderr: Object.assign(stderr, { isTTY: true, columns: 100 }),
      environment: {},
      signal: controller.signal,
    };
    return { code: run(generate, surroundings), stdout, text: () => text };
  };
  const controller = new AbortController();
  const stopped = terminal(controller);
  while (!/MiB\/s/.test(stopped.text())) await wait(20);
  controller.abort();
  t.equal(await stopped.code, 130);

  const shown = terminal();
  t.equal(await shown.code, 0);
  const lines = shown.text().split('\r\x1b[K');
  const bar = /^model\.safetensors \[#+ *\] +\d+% of 1\.[79] MiB, \d+\.\d MiB\/s, 0:\d\d left$/;
  t.ok(
    lines.some((line) => bar.test(line)),
    shown.text(),
  );
  t.ok(shown.text().endsWith('\r\x1b[K'), 'and nothing stays');
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
  const { hub, environment, cache } = await scene(t);
  const { HF_ENDPOINT } = environment;
  process.env['HF_ENDPOINT'] = HF_ENDPOINT;
  t.teardown(() => delete process.env['HF_ENDPOINT']);
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
