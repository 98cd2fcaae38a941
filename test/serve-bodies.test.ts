/** Bodies of requests to `mask-predict serve`: read as what they are, or refused; never read as something else. */
import { connect } from 'node:net';
import { text as readAll } from 'node:stream/consumers';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import t from 'tap';
import { serving } from './serving.js';

const { url, log, close } = await serving({ body: 10_000 });
t.teardown(close);

/** A number whose German name has bytes above 127 in UTF-8, and is another text in another encoding. */
const german = 'Write this German number in digits: f\u00fcnf';
const question = { prompt: german, iterations: 2 };

/** Without a type of its own, unlike a string. */
async function send(body: Buffer, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: new Uint8Array(body),
  });
  const answer = (await response.json()) as { text?: string; error?: string; code?: string };
  return { status: response.status, headers: response.headers, body: answer };
}

const json = Buffer.from(JSON.stringify(question));
const right = { status: 200, body: { text: '5' } };

t.test('UTF-8, said or not', async (t) => {
  for (const type of [
    'application/json',
    'application/json;charset=utf-8',
    'Application/JSON; Charset="UTF-8"',
    'application/json; charset=utf8',
    'application/json; charset=us-ascii',
    'application/octet-stream',
  ]) {
    t.match(await send(json, { 'content-type': type }), right, type);
  }
  const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), json]);
  t.match(await send(marked), right, 'with a byte order mark');
  const escaped = Buffer.from(JSON.stringify(question).replace('\u00fc', '\\u00fc'));
  t.match(await send(escaped), right, 'in escapes');
});

t.test('what is not UTF-8 is no text', async (t) => {
  const text = JSON.stringify(question);
  const notUtf8 = { status: 400, body: { code: 'ERR_INVALID_JSON', error: /not in UTF-8/ } };
  const utf16 = Buffer.from(text, 'utf16le');
  for (const [what, bytes] of [
    ['ISO 8859-1', Buffer.from(text, 'latin1')],
    ['a marked UTF-16', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ['half of a pair', Buffer.from(text.replace('\u00fc', 'X')).fill(0xed, 20, 21)],
    ['an overlong form', Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from([0xc0, 0xaf])])],
  ] as const) {
    t.match(await send(bytes), notUtf8, what);
  }
  t.match(await send(utf16), { status: 400, body: { code: 'ERR_INVALID_JSON' } });
  const half = Buffer.from('{"prompt": "\\ud83d a"}');
  t.match(await send(half), { status: 400, body: { error: /half of a UTF-16 surrogate pair/ } });
});

t.test('another charset is refused, whatever the bytes are', async (t) => {
  for (const charset of ['iso-8859-1', 'windows-1252', 'utf-16', 'utf-7', '"latin1"']) {
    t.match(
      await send(json, { 'content-type': `application/json; charset=${charset}` }),
      { status: 415, body: { code: 'ERR_CONTENT_TYPE', error: /must be in UTF-8, not in '/ } },
      charset,
    );
  }
});

t.test('compressed bodies', async (t) => {
  for (const [coding, bytes] of [
    ['gzip', gzipSync(json)],
    ['x-gzip', gzipSync(json)],
    ['GZIP', gzipSync(json)],
    ['deflate', deflateSync(json)],
    ['br', brotliCompressSync(json)],
    ['identity', json],
  ] as const) {
    t.match(await send(bytes, { 'content-encoding': coding }), right, coding);
  }
});

t.test('a bomb is too large, by what is in it', async (t) => {
  const bomb = Buffer.from(`${' '.repeat(9_900)}{"prompt": "${' '.repeat(100)}"}`);
  for (const [coding, compress] of [
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const) {
    const bytes = compress(bomb);
    t.ok(bytes.length < 200);
    t.match(
      await send(bytes, { 'content-encoding': coding }),
      { status: 413, body: { code: 'ERR_LIMIT', error: /10000 bytes at most/ } },
      coding,
    );
  }
});

t.test('other codings, and what is not what it says', async (t) => {
  for (const coding of ['zstd', 'compress', 'gzip, gzip', 'constructor', 'nonsense']) {
    const answer = await send(gzipSync(json), { 'content-encoding': coding });
    t.match(
      answer,
      {
        status: 415,
        body: { code: 'ERR_CONTENT_ENCODING', error: `'${coding}'; this server reads` },
      },
      coding,
    );
    t.equal(answer.headers.get('accept-encoding'), 'gzip, deflate, br');
  }
  const damaged = { status: 400, body: { code: 'ERR_CONTENT_ENCODING', error: /is not valid / } };
  for (const [coding, bytes] of [
    ['gzip', json],
    ['gzip', gzipSync(json).subarray(0, -9)],
    ['deflate', gzipSync(json)],
    ['br', json],
  ] as const) {
    t.match(await send(bytes, { 'content-encoding': coding }), damaged, coding);
  }
});

t.test('whoever sends far too much is heard to the end, and has the answer', async (t) => {
  const { hostname, port } = new URL(url);
  const large = Buffer.alloc(2 ** 20, ' ');
  for (const length of ['content-length: 16777216', 'transfer-encoding: chunked']) {
    const socket = connect(Number(port), hostname);
    const answers = readAll(socket);
    const failures: unknown[] = [];
    socket.on('error', (error) => failures.push(error));
    const write = (bytes: string | Buffer) =>
      new Promise<unknown>((resolve) => socket.write(bytes, resolve));
    const chunked = length.endsWith('chunked');
    await write(`POST /generate HTTP/1.1\r\nhost: localhost\r\n${length}\r\n\r\n`);
    for (let sent = 0; sent < 16; sent++) {
      if (chunked) await write(`${large.length.toString(16)}\r\n`);
      await write(large);
      if (chunked) await write('\r\n');
    }
    if (chunked) await write('0\r\n\r\n');
    // The connection is as good as before.
    await write('GET /v2 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    const text = await answers;
    t.same(failures, []);
    t.match(text, /^HTTP\/1.1 413 [^]*"code":"ERR_LIMIT"}HTTP\/1.1 200 OK/, length);
  }
});

t.test('nothing of all this was a failure of the server', (t) => {
  t.same(log, []);
  t.end();
});
