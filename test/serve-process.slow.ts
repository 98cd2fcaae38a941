/** `mask-predict serve` as a program: its options, and how it ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { run } from '../lib/cli/run.js';
import './built-package.js';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

/** Starts the program; it is killed if it has not ended after a minute. */
function start(t: Test, ...options: string[]) {
  return startWith(t, [], options);
}

function startWith(t: Test, nodeOptions: string[], options: string[]) {
  const { NODE_OPTIONS: _, ...environment } = process.env;
  const child = spawn(process.execPath, [...nodeOptions, program, 'serve', ...options], {
    env: { ...environment, MASK_PREDICT_DEVICE: 'cpu' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const stderr = readAll(child.stderr);
  const ended = once(child, 'exit').then(async ([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
    stderr: await stderr,
  }));
  return { child, ended };
}

/** Starts it on a free port and returns its address once it listens. */
async function listening(t: Test, ...options: string[]) {
  const { child, ended } = start(t, '--port', '0', '--threads', '1', ...options);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [, name, url] = /^(\S+) at (http:\S+)\n$/.exec(line.toString())!;
  return { child, ended, name: name!, url: url! };
}

const post = (url: string, body: unknown) =>
  fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** A second of work or so. */
const long = { prompt: Array(8).fill('x'), length: 120, iterations: 20 };

async function working(url: string): Promise<void> {
  const running = /^mask_predict_http_requests_running 1$/m;
  while (!running.test(await (await fetch(`${url}/metrics`)).text())) await wait(2);
}

/** GET over a connection that is kept open. */
function get(agent: Agent, url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { agent }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode!));
    })
      .once('error', reject)
      .end();
  });
}

t.test('a signal lets running requests finish, then the program ends with 0', async (t) => {
  const ends = async (signal: 'SIGTERM' | 'SIGINT') => {
    const { child, ended, name, url } = await listening(t);
    t.equal(name, 'numbers');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.equal(await get(agent, `${url}/v2/health/ready`), 200);
    const answer = post(url, long);
    const stream = post(url, { prompt: 'x', length: 120, iterations: 50, stream: true });
    await working(url).catch(() => {});
    await stream;
    child.kill(signal);
    t.equal((await answer).status, 200, signal);
    t.equal(((await (await answer).json()) as unknown[]).length, 8);
    t.match(await (await stream).text(), /\nevent: done\n/);
    t.same(await ended, { code: 0, signal: null, stderr: '' });
    agent.destroy();
  };
  await Promise.all([ends('SIGTERM'), ends('SIGINT')]);
});

t.test('while it ends, nothing more is taken', async (t) => {
  const { child, ended, url } = await listening(t);
  const answer = post(url, long);
  await working(url);
  // A connection in the midst of a request when the signal comes, so that it is not closed as idle.
  const open = request(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': 14 },
  });
  open.write('{"prompt":');
  await wait(100);
  child.kill('SIGTERM');
  await wait(100);
  open.end('"a"}');
  const [response] = (await once(open, 'response')) as [import('node:http').IncomingMessage];
  t.equal(response.statusCode, 503);
  t.match(response.headers, { 'retry-after': '1', connection: 'close' });
  t.match(JSON.parse(await readAll(response)), { code: 'ERR_SHUTTING_DOWN' });
  await t.rejects(fetch(`${url}/v2/health/live`), 'no new connections');
  t.equal((await answer).status, 200);
  t.match(await ended, { code: 0, stderr: '' });
});

t.test('work that does not end in time is stopped', async (t) => {
  const { child, ended, url } = await listening(t, '--drain', '0', '--max-iterations', '100000');
  const endless = { length: 120, iterations: 100_000 };
  const stream = await post(url, { prompt: 'x', ...endless, stream: true });
  const answer = post(url, { prompt: 'x', ...endless });
  await wait(100);
  child.kill('SIGTERM');
  t.equal((await answer).status, 503);
  t.match(await stream.text(), /\nevent: error\ndata: \{"error":"the server is shutting down/);
  t.match(await ended, { code: 0, stderr: '' });
});

t.test('a second signal ends it at once', async (t) => {
  const { child, ended, url } = await listening(t, '--max-iterations', '100000');
  const answer = post(url, { prompt: 'x', length: 120, iterations: 100_000 });
  answer.catch(() => {});
  await working(url);
  child.kill('SIGINT');
  await wait(100);
  child.kill('SIGINT');
  t.match(await ended, { code: null, signal: 'SIGINT' });
  await t.rejects(answer);
});

t.test('options', async (t) => {
  const { child, ended, name, url } = await listening(
    t,
    '--name=org/assistant',
    '--host=localhost',
    '--host=::1',
    '--allow-host=Models.example',
    '--cors=https://a.example',
    '--cors=https://b.example:8443',
    '--max-queue=1',
    '--max-texts=1',
    '--max-characters=20',
    '--max-body=1KiB',
    '--max-iterations=3',
    fileURLToPath(new URL('../models/numbers', import.meta.url)),
  );
  t.equal(name, 'org/assistant');
  t.equal((await fetch(`${url}/v2/models/org/assistant`)).status, 200);
  for (const origin of ['https://a.example', 'https://b.example:8443']) {
    const { headers } = await fetch(url, { headers: { origin } });
    t.equal(headers.get('access-control-allow-origin'), origin);
  }
  const { port } = new URL(url);
  for (const [address, host, status] of [
    [url, 'models.example', 200],
    [url, 'other.example', 403],
    [`http://[::1]:${port}`, undefined, 200],
  ] as const) {
    const asked = request(`${address}/v2`, host === undefined ? {} : { headers: { host } }).end();
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    t.equal(response.resume().statusCode, status, `${address} as ${host}`);
  }
  // One is worked on at least, and one may wait.
  const many = Array.from({ length: 40 }, () => post(url, { prompt: 'a', length: 100 }));
  const statuses = new Set((await Promise.all(many)).map(({ status }) => status));
  t.same([...statuses].sort(), [200, 429], 'the others are turned away at once');
  t.match(await (await post(url, { prompt: ['a', 'b'] })).json(), { error: /1 entries at most/ });
  t.match(await (await post(url, { prompt: 'a'.repeat(21) })).json(), { error: /20 characters/ });
  t.match(await (await post(url, { prompt: 'a'.repeat(1024) })).json(), { error: /1024 bytes/ });
  t.match(await (await post(url, { prompt: 'a', iterations: 4 })).json(), { error: /3 at most/ });
  const { examples } = (await (await fetch(`${url}/page/model.json`)).json()) as {
    examples: string[];
  };
  t.ok(examples.length >= 5, 'the page has examples for the model of the package');
  child.kill('SIGTERM');
  t.match(await ended, { code: 0 });
});

t.test('what cannot be is said, with an exit code', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const port = String((taken.address() as AddressInfo).port);
  const wrong: [string[], number, RegExp][] = [
    [['--port', port], 1, /already in use.*\(EADDRINUSE\)/],
    [['--host', '203.0.113.1', '--port', '0'], 1, /\(EADDRNOTAVAIL\)/],
    [['/nowhere'], 1, /no model directory \/nowhere \(ERR_MODEL_FORMAT\)/],
    [['--port', '65536'], 2, /--port takes a whole number from 0 to 65535, not '65536'/],
    [['--drain', 'soon'], 2, /--drain takes a whole number/],
    [['--max-body', '1GiB'], 2, /--max-body is 256MiB at most/],
    [['--max-texts', '0'], 2, /--max-texts takes a whole number from 1/],
    [['one', 'two'], 2, /serve takes one model, not also 'two'/],
    [['--model', 'one', 'two'], 2, /--model and 'two' exclude each other/],
    [['--tls'], 2, /--tls/],
    [['--name', ''], 2, /the name '' is empty: give the model one with --name/],
    [['--name', 'a/../b'], 2, /the name 'a\/..\/b' has an empty part/],
    [['/'], 2, /the name '', which is the name of its directory, is empty: .* --name/],
    [['--host', ''], 2, /--host takes a name or an address/],
    [['--host', '127.0.0.1', '--host', 'nowhere.invalid'], 1, /nowhere\.invalid/],
    [['--allow-host', 'a:80'], 2, /--allow-host takes a host name without a port, not 'a:80'/],
    [['--allow-host', ''], 2, /--allow-host takes a host name/],
    [['--cors', 'app.example'], 2, /--cors takes an origin such as .*, not 'app.example'/],
    [['--cors', 'https://app.example/'], 2, /--cors takes an origin/],
    [['--max-queue', '0'], 2, /--max-queue takes a whole number from 1/],
  ];
  // The program ends with the code that run() gives, so the others are tried in this process, which is sooner done.
  const first = await start(t, '--port', port).ended;
  t.match(first, { code: 1, signal: null, stderr: wrong[0]![2] });
  for (const [options, code, message] of wrong) {
    const given = await refused(options);
    t.equal(given.code, code, options.join(' '));
    t.match(given.stderr, message);
  }
});

/** Wrong usage is refused in this process too, which is faster to test. */
async function refused(options: string[]) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const { signal } = new AbortController();
  const list = ['serve', '--device', 'cpu', ...options];
  const code = await run(list, { stdin, stdout, stderr, environment: {}, signal });
  return { code, stderr: String(stderr.read()) };
}

/** Options of Node.js with which `import 'fastify'` is what a resolver's hook makes of it. */
function withFastify(resolved: string): string[] {
  const hook = `export async function resolve(name, context, next) {
    if (name !== 'fastify') return next(name, context);
    ${resolved}
  }`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(script(hook))})`;
  return ['--import', script(register)];
}

t.test('without fastify it says how to get it', async (t) => {
  const missing = "throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });";
  const { ended } = startWith(t, withFastify(missing), []);
  t.match(await ended, { code: 1, stderr: /needs fastify, .*: npm install fastify@5\n/ });
});

t.test('another fastify, there for another package, is refused before it listens', async (t) => {
  const module = "export const fastify = () => ({ version: '4.29.1' })";
  const found = `return { url: ${JSON.stringify(script(module))}, shortCircuit: true };`;
  const { child, ended } = startWith(t, withFastify(found), ['--port', '0']);
  const stdout = readAll(child.stdout);
  t.match(await ended, { code: 1, stderr: /needs fastify 5.5 or a later 5, but found 4.29.1: / });
  t.equal(await stdout, '', 'it never said that it listens');

  const tooOld = /found one too old to tell its version: npm install fastify@5/;
  for (const [fastify, message] of [
    [() => ({ version: '3.29.5' }), /needs fastify 5.5 or a later 5, but found 3.29.5: /],
    [() => ({ version: '5.4.0' }), /but found 5.4.0: npm install fastify@5/],
    [() => ({ version: '50.0.0' }), /but found 50.0.0: /],
    [() => ({}), tooOld],
    [undefined, tooOld],
  ] as const) {
    const module = { default: 1, ...(fastify && { fastify }) };
    const { loadFastify } = await t.mockImport<typeof import('../lib/serve/fastify.js')>(
      '../lib/serve/fastify.js',
      { fastify: module },
    );
    await t.rejects(loadFastify(), { message });
  }
});

function script(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}
