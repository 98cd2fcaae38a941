/**
 * Two servers behind nginx, with the configuration of docs/serving.md: readiness, servers restarted under load, one
 * that is full, and server-sent events. Skipped where there is no nginx (Debian: nginx-light), but not in CI.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import './built-package.js';

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const missing = spawnSync('nginx', ['-v']).error && 'there is no nginx here (Debian: nginx-light)';
if (missing && process.env['CI']) throw new Error(missing);

/** Starts a server at a port, or at any; resolves when it listens. */
async function serve(t: Test, port = 0, ...options: string[]) {
  const { NODE_OPTIONS: _, ...environment } = process.env;
  const given = ['--port', String(port), '--threads', '1', '--allow-host', 'models', ...options];
  const child = spawn(process.execPath, [program, 'serve', ...given], {
    env: { ...environment, MASK_PREDICT_DEVICE: 'cpu' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const url = /http:\S+/.exec(line.toString())![0];
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  };
  return { url, port: Number(new URL(url).port), stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** nginx in the foreground, with the documented block and these ports; its address once it answers. */
async function nginx(t: Test, servers: readonly number[]): Promise<string> {
  const page = readFileSync(new URL('../docs/serving.md', import.meta.url), 'utf8');
  const [, documented] = /```nginx\n([^]*?)```/.exec(page)!;
  const port = await freePort();
  const block = documented!
    .replace('127.0.0.1:8081', `127.0.0.1:${servers[0]}`)
    .replace('127.0.0.1:8082', `127.0.0.1:${servers[1]}`)
    .replace('listen 8080', `listen 127.0.0.1:${port}`);
  const directory = t.testdir({});
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off;
    worker_processes 1;
    pid ${directory}/pid;
    error_log stderr crit;
    events {}
    http {
      access_log off;
      ${paths.map((path) => `${path}_temp_path ${directory}/${path};`).join('\n')}
      ${block}
    }`;
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, configuration);
  const child = spawn('nginx', ['-p', directory, '-e', 'stderr', '-c', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = readAll(child.stderr);
  const ended = once(child, 'exit').then(async () => {
    throw new Error(`nginx ended: ${await said}`);
  });
  ended.catch(() => {});
  t.teardown(async () => {
    child.kill('SIGTERM'); // the master, which ends its worker
    await ended.catch(() => {});
  });
  const url = `http://127.0.0.1:${port}`;
  const answers = async () => {
    while (!(await fetch(`${url}/v2`).catch(() => undefined))) await wait(20);
  };
  await Promise.race([answers(), ended]);
  return url;
}

const post = (url: string, body: unknown, signal?: AbortSignal) =>
  fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });

/** The sum of a metric's samples whose line matches. */
async function figure(url: string, line: RegExp): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n');
  return lines
    .filter((text) => line.test(text))
    .reduce((sum, text) => sum + Number(text.split(' ').at(-1)), 0);
}

const answered = /^mask_predict_http_requests_total\{route="\/generate",method="POST",status="200"/;
const working = /^mask_predict_http_requests_running /;

t.test('two servers behind nginx', { skip: missing ?? false, timeout: 220_000 }, async (t) => {
  // Servers that a part of the test starts stay for the next one.
  const whole = t;
  const servers = [
    await serve(t, 0, '--max-iterations', '100000'),
    await serve(t, 0, '--max-iterations', '100000'),
  ];
  const url = await nginx(
    t,
    servers.map(({ port }) => port),
  );
  const each = (line: RegExp) => Promise.all(servers.map((server) => figure(server.url, line)));

  await t.test('readiness', async (t) => {
    t.match(await (await fetch(`${url}/v2/health/ready`)).json(), { ready: true });
    t.equal((await fetch(`${url}/v2/models/numbers/ready`)).status, 200);
    t.equal((await fetch(url)).status, 200, 'the page too');
  });

  await t.test('32 callers, and each server restarted: not one request fails', async (t) => {
    const words = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
    const failures: unknown[] = [];
    let count = 0;
    let over = false;
    const caller = async (number: number) => {
      for (let call = number; !over; call++) {
        const word = words[call % words.length]!;
        const prompt = `Write the number ${call % words.length} in English words.`;
        try {
          const response = await post(url, { prompt });
          const { text } = (await response.json()) as { text?: string };
          if (response.status !== 200 || text !== word)
            failures.push([response.status, text, word]);
          count++;
        } catch (error) {
          failures.push(error);
        }
      }
    };
    const callers = Array.from({ length: 32 }, (_, number) => caller(number));
    const more = async (some: number) => {
      const enough = count + some;
      while (count < enough) await wait(5);
    };
    await more(100);
    t.ok(
      (await each(answered)).every((some) => some > 0),
      'both have work',
    );
    for (const [place, server] of servers.entries()) {
      t.equal(await server.stop(), 0, 'it ends by itself');
      await more(50);
      servers[place] = await serve(whole, server.port, '--max-iterations', '100000');
      await more(100);
      t.ok((await figure(server.url, answered)) > 0, 'it is used again');
    }
    over = true;
    await Promise.all(callers);
    t.same(failures, [], `${count} requests`);
  });

  await t.test(
    'events come as they are made, and a reader that leaves ends the work',
    async (t) => {
      const controller = new AbortController();
      const endless = { prompt: 'x', length: 120, iterations: 100_000, stream: true };
      const response = await post(url, endless, controller.signal);
      t.match(response.headers.get('content-type'), 'text/event-stream');
      const reader = response.body!.getReader();
      const { value } = await reader.read();
      t.match(Buffer.from(value!).toString(), /^event: iteration\n/);
      t.equal(
        (await each(working)).reduce((a, b) => a + b),
        1,
        'while the work goes on',
      );
      controller.abort();
      await reader.read().catch(() => {});
      while ((await each(working)).some((some) => some > 0)) await wait(10);
      t.pass('and then it ends');
    },
  );

  await t.test('a server that is full hands requests on', async (t) => {
    const [first] = servers;
    await first!.stop();
    servers[0] = await serve(whole, first!.port, '--max-iterations=100000', '--max-queue=1');
    const controller = new AbortController();
    const long = { prompt: Array(64).fill('x'), length: 126, iterations: 100_000 };
    // Sent past nginx: one that fills the passes, and one that waits.
    const busy = [1, 2].map(() => post(first!.url, long, controller.signal).catch(() => {}));
    while ((await figure(first!.url, /^mask_predict_calls_waiting/)) < 1) await wait(10);
    const responses = await Promise.all(
      Array.from({ length: 32 }, () => post(url, { prompt: 'a', iterations: 2 })),
    );
    t.same([...new Set(responses.map(({ status }) => status))], [200]);
    const turnedAway = /^mask_predict_calls_total\{.*outcome="overloaded"/;
    t.ok((await figure(first!.url, turnedAway)) > 0, 'it did say 429');
    controller.abort();
    await Promise.all(busy);
  });
});
