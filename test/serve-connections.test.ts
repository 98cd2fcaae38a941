/**
 * Connections to `mask-predict serve`: errors where there is no request yet, Host and Origin, several addresses. Over
 * bare sockets, because a client of HTTP would not send what is wrong.
 */
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { answerConnectionErrors } from '../lib/serve/connection-errors.js';
import { serving } from './serving.js';

const { url, log, close } = await serving({ iterations: 100_000 });
t.teardown(close);

function open(address: string): Socket {
  const { hostname, port } = new URL(address);
  return connect(Number(port), hostname);
}

interface Answer {
  status: number;
  headers: string;
  body: unknown;
}

/** The only answer to what is sent over a connection of its own. */
async function answer(sent: string, address = url): Promise<Answer> {
  const socket = open(address);
  socket.write(sent);
  const [head, body, ...more] = (await readAll(socket)).split('\r\n\r\n');
  const [line, ...headers] = head!.split('\r\n');
  return {
    status: Number(line!.split(' ')[1]),
    headers: headers.join('\n').toLowerCase(),
    body: more.length > 0 ? more : JSON.parse(body!),
  };
}

const host = `host: ${new URL(url).host}`;
const post = (headers: string[], body: string) =>
  ['POST /generate HTTP/1.1', host, 'connection: close', ...headers, '', body].join('\r\n');

t.test('every error has its shape', async (t) => {
  const get = (target: string, ...headers: string[]) =>
    [`GET ${target} HTTP/1.1`, host, 'connection: close', ...headers, '', ''].join('\r\n');
  const request = 'ERR_INVALID_REQUEST';
  const wrong: [string, string, number, string, RegExp][] = [
    ['an address', get('/v2/models/%zz'), 400, request, /address has a %/],
    ['half of a character', get('/v2/models/%ff/ready'), 400, request, /address has a %/],
    ['a long name', get(`/v2/models/${'x'.repeat(9000)}`), 404, 'ERR_NOT_FOUND', /no model 'xxx/],
    ['long headers', get('/v2', `a: ${'x'.repeat(20_000)}`), 431, 'ERR_LIMIT', /16384 bytes/],
    ['a long address', get(`/${'x'.repeat(20_000)}`), 431, 'ERR_LIMIT', /16384 bytes/],
    ['no method', 'nonsense\r\n\r\n', 400, request, /not a valid HTTP\/1.1 request/],
    ['no address', 'GET\r\n\r\n', 400, request, /not a valid HTTP\/1.1 request/],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, request, /not a valid HTTP/],
    ['a header', 'GET / HTTP/1.1\r\nno header\r\n\r\n', 400, request, /not a valid HTTP/],
    ['a length', post(['content-length: two'], '{}'), 400, request, /content-length/i],
    [
      'two lengths',
      post(['content-length: 2', 'content-length: 3'], '{}'),
      400,
      request,
      /length/i,
    ],
    ['a chunk', post(['transfer-encoding: chunked'], 'x\r\n'), 400, request, /chunk/i],
    ['no host', 'GET /v2 HTTP/1.1\r\nconnection: close\r\n\r\n', 400, request, /no header Host/],
    ['an expectation', get('/v2', 'expect: tea'), 417, request, /does not do 'expect: tea'/],
    ['a tunnel', `CONNECT a:1 HTTP/1.1\r\n${host}\r\n\r\n`, 405, request, /does not do CONNECT/],
    ['a method', `BREW / HTTP/1.1\r\n${host}\r\n\r\n`, 400, request, /not a valid HTTP/],
    [
      'a type',
      post(['content-type: ;', 'content-length: 2'], '{}'),
      415,
      'ERR_CONTENT_TYPE',
      /JSON/,
    ],
  ];
  for (const [what, sent, status, code, message] of wrong) {
    const { headers, ...rest } = await answer(sent);
    t.match(rest, { status, body: { error: message, code } }, what);
    t.same(Object.keys(rest.body as object), ['error', 'code']);
    t.match(headers, /^content-type: application\/json$/m, `${what}: its type, and nothing else`);
    t.match(headers, /^content-length: \d+$/m);
  }
  t.equal((await answer('GET /v2 HTTP/1.0\r\n\r\n')).status, 200, 'HTTP/1.0 has no Host');
});

t.test('a length that is not that of the body', async (t) => {
  const short = open(url);
  short.end(post(['content-type: application/json', 'content-length: 30'], '{"prompt":"a"}'));
  t.match(await readAll(short), /^HTTP\/1.1 400 .*"code":"ERR_INVALID_REQUEST"}$/s);
  // Bytes beyond the length are another request, and that one is invalid.
  const { status, body } = await answer(
    post(['content-type: application/json', 'content-length: 14'], '{"prompt":"a"}}').replace(
      'connection: close\r\n',
      '',
    ),
  );
  t.equal(status, 400);
  t.match(body, { code: 'ERR_INVALID_REQUEST' });
});

t.test('an error in the midst of an answer does not become part of it', async (t) => {
  const socket = open(url);
  const body = JSON.stringify({ prompt: 'x', length: 120, iterations: 100_000, stream: true });
  socket.write(post([`content-length: ${body.length}`], body));
  await once(socket, 'data');
  socket.write('nonsense\r\n\r\n');
  t.notMatch(await readAll(socket), /ERR_INVALID_REQUEST/);
});

t.test('a request that does not arrive', async (t) => {
  const server = createServer(
    { requestTimeout: 100, connectionsCheckingInterval: 20 },
    (request, response) => request.resume().on('end', () => response.end()),
  );
  answerConnectionErrors(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  for (const sent of ['GET / HTTP/1.1\r\nhost: a\r\n', 'GET ']) {
    t.match(await answer(sent, `http://127.0.0.1:${port}`), {
      status: 408,
      body: { code: 'ERR_TIMEOUT', error: /did not arrive within 0.1 s/ },
    });
  }
});

/** GET with a Host of one's own, which fetch() would not send. */
async function asked(address: string, host: string): Promise<number> {
  const request = httpRequest(`${address}/v2/health/live`, { headers: { host } }).end();
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  response.resume();
  return response.statusCode!;
}

t.test('a foreign Host is refused where only this machine comes', async (t) => {
  const port = new URL(url).port;
  for (const name of [
    `127.0.0.1:${port}`,
    '127.0.0.1',
    '127.1.2.3',
    `localhost:${port}`,
    'LOCALHOST',
    'localhost.',
    'app.localhost',
    `[::1]:${port}`,
    '[::1]',
  ]) {
    t.equal(await asked(url, name), 200, name);
  }
  for (const name of [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evil-localhost',
    '203.0.113.1',
    '[2001:db8::1]',
    '::1:80:80',
  ]) {
    t.equal(await asked(url, name), 403, name);
  }
  t.equal((await answer('GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n')).status, 403);
  const { body } = await answer('GET / HTTP/1.1\r\nhost: A.example\r\nconnection: close\r\n\r\n');
  t.match(body, { code: 'ERR_FORBIDDEN', error: /--allow-host a.example/ });
});

t.test('further hosts, and servers that others reach', async (t) => {
  const behind = await serving({}, [], {}, { allowedHosts: ['models.example'] });
  t.teardown(behind.close);
  t.equal(await asked(behind.url, 'Models.example:443'), 200);
  t.equal(await asked(behind.url, 'localhost'), 200);
  t.equal(await asked(behind.url, 'evil.example'), 403);

  const everywhere = await serving({}, [], {}, { hosts: ['0.0.0.0'] });
  t.teardown(everywhere.close);
  const local = everywhere.url.replace('0.0.0.0', '127.0.0.1');
  t.equal(await asked(local, 'anything.example'), 200, 'others know it by names of their own');

  const both = await serving({}, [], {}, { hosts: ['0.0.0.0'], allowedHosts: ['a.example'] });
  t.teardown(both.close);
  const here = both.url.replace('0.0.0.0', '127.0.0.1');
  t.equal(await asked(here, 'a.example'), 200);
  t.equal(await asked(here, 'b.example'), 403, 'unless names are given');
});

t.test('pages of other origins', async (t) => {
  const origin = 'https://app.example';
  const ask = (address: string, headers: Record<string, string>, method = 'POST') =>
    fetch(`${address}/generate`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(method === 'POST' && { body: '{"prompt":"a","iterations":2}' }),
    });
  const foreign = { origin, 'sec-fetch-site': 'cross-site' };
  const preflight = {
    ...foreign,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type',
  };
  const refused = await ask(url, foreign);
  t.equal(refused.status, 403, 'by default none may start work');
  t.match(await refused.json(), { code: 'ERR_FORBIDDEN', error: /--cors https:\/\/app.example/ });
  t.equal((await ask(url, preflight, 'OPTIONS')).status, 403);
  for (const site of ['same-origin', 'same-site', 'none']) {
    const own = await ask(url, { origin, 'sec-fetch-site': site });
    t.equal(own.status, 200, site);
    t.equal(own.headers.get('access-control-allow-origin'), null);
  }

  const named = await serving({}, [], {}, { cors: [origin] });
  t.teardown(named.close);
  const answered = await ask(named.url, foreign);
  t.equal(answered.status, 200);
  t.equal(answered.headers.get('access-control-allow-origin'), origin);
  t.equal(answered.headers.get('vary'), 'origin');
  const stream = await ask(named.url, { ...foreign, accept: 'text/event-stream' });
  t.match(stream.headers.get('content-type'), 'text/event-stream');
  t.equal(stream.headers.get('access-control-allow-origin'), origin, 'events too');
  await stream.text();
  const missing = await fetch(`${named.url}/none`, { headers: { origin } });
  t.equal(missing.headers.get('access-control-allow-origin'), origin, 'and errors');
  const allowed = await ask(named.url, preflight, 'OPTIONS');
  t.equal(allowed.status, 204);
  t.equal(allowed.headers.get('access-control-allow-methods'), 'GET, POST');
  t.equal(allowed.headers.get('access-control-allow-headers'), 'content-type');
  const other = { ...preflight, origin: 'https://evil.example' };
  t.equal((await ask(named.url, other, 'OPTIONS')).status, 403);
  const { headers } = await fetch(named.url);
  t.equal(headers.get('vary'), 'origin', 'what has no origin may be kept for nobody else');

  const all = await serving({}, [], {}, { cors: ['*'] });
  t.teardown(all.close);
  t.equal((await ask(all.url, foreign)).headers.get('access-control-allow-origin'), '*');
});

t.test('the end waits for the requests of every address', async (t) => {
  const several = await serving({}, [], {}, { hosts: ['127.0.0.1', '::1', 'localhost'] });
  const { port } = new URL(several.url);
  const addresses = ['127.0.0.1', '[::1]'].map((address) => `http://${address}:${port}`);
  const answers = addresses.map(async (address) => {
    const response = await fetch(`${address}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: Array(4).fill('x'), length: 100, iterations: 10 }),
    });
    return [response.status, ((await response.json()) as unknown[]).length];
  });
  while (several.model.stats().running < addresses.length) await wait(2);
  await several.server.close(60_000);
  await several.model.close();
  t.same(await Promise.all(answers), [
    [200, 4],
    [200, 4],
  ]);
  for (const address of addresses) await t.rejects(fetch(`${address}/v2`));
});

t.test('nothing of all this was a failure of the server', (t) => {
  t.same(log, []);
  t.end();
});
