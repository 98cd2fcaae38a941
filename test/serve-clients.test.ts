/**
 * Requests as the clients of the Open Inference Protocol make them, byte for byte where it matters, over bare sockets.
 * From the clients' own sources:
 *
 * - kserve 0.20.0 (python/kserve/kserve/inference_client.py, protocol/infer_type.py), and 0.16.0, which sends no
 *   content-type (httpx with `content`).
 * - tritonclient, state of May 2026 (src/python/library/tritonclient/http: geventhttpclient; http/aio: aiohttp;
 *   src/c++/library/http_client.cc: libcurl).
 */
import { connect } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { serving } from './serving.js';

const { model, url, log, close } = await serving();
t.teardown(close);
const org = await serving({}, [], {}, { name: 'org/numbers v1' });
t.teardown(org.close);

const prompts = ['Write the number 21 in English words.', 'Is the number 5 even? Yes or no?'];
const texts = ['twenty-one', 'No'];

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** The answer to one request with exactly these headers. */
async function send(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string | Buffer = '',
  server = url,
): Promise<Answer> {
  const { hostname, port, host } = new URL(server);
  const socket = connect(Number(port), hostname);
  const bytes = Buffer.from(body as string);
  const length = method === 'GET' ? {} : { 'content-length': String(bytes.length) };
  const lines = Object.entries({ host, ...headers, ...length }).map(([k, v]) => `${k}: ${v}`);
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\nconnection: close\r\n\r\n`);
  socket.write(bytes);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const [head, ...rest] = Buffer.concat(chunks).toString().split('\r\n\r\n');
  const [line, ...given] = head!.split('\r\n');
  return {
    status: Number(line!.split(' ')[1]),
    headers: Object.fromEntries(
      given.map((header) => {
        const [name, value] = header.split(/: (.*)/s);
        return [name!.toLowerCase(), value!];
      }),
    ),
    body: JSON.parse(rest.join('\r\n\r\n')) as Record<string, unknown>,
  };
}

interface Output {
  name: string;
  shape: number[];
  datatype: string;
  data: unknown[];
}

/** Checks that both clients make on an answer. */
function isAnswer(t: Test, { status, body }: Answer, name = 'numbers', outputs = ['text']) {
  t.equal(status, 200, JSON.stringify(body));
  t.equal(body['model_name'], name);
  const given = body['outputs'] as Output[];
  t.same(
    given.slice(0, outputs.length).map(({ name }) => name),
    outputs,
  );
  t.match(given[0], { shape: [2], datatype: 'BYTES', data: texts });
}

t.test('kserve: infer', async (t) => {
  const common = {
    accept: '*/*',
    'accept-encoding': 'gzip, deflate, br, zstd',
    connection: 'keep-alive',
    'user-agent': 'python-httpx/0.28.1',
  };
  // InferRequest.to_rest(): an id always, the name of the model always, outputs and parameters where there are some.
  const request = {
    id: '3b0a0d3e-5f53-4b6c-9b0e-3ad2c8fd8a40',
    model_name: 'numbers',
    inputs: [{ name: 'prompt', shape: [2], datatype: 'BYTES', data: prompts }],
  };
  const path = '/v2/models/numbers/infer';
  for (const headers of [common, { ...common, 'content-type': 'application/json' }]) {
    const answer = await send('POST', path, headers, JSON.stringify(request));
    isAnswer(t, answer);
    t.equal(answer.body['id'], request.id);
  }
  const asked = { ...request, outputs: [{ name: 'text' }], parameters: { iterations: 3 } };
  isAnswer(t, await send('POST', path, common, JSON.stringify(asked)));

  // An array of bytes goes as binary data: the client says so in two places.
  const json = JSON.stringify({
    ...request,
    inputs: [
      { name: 'prompt', shape: [1], datatype: 'BYTES', parameters: { binary_data_size: 5 } },
    ],
  });
  const binary = await send(
    'POST',
    path,
    {
      ...common,
      'inference-header-content-length': String(json.length),
      'content-type': 'application/octet-stream',
    },
    Buffer.concat([Buffer.from(json), Buffer.from([1, 0, 0, 0, 0x61])]),
  );
  t.match(binary, {
    status: 400,
    body: { error: /set_data_from_numpy\(array, binary_data=False\)/ },
  });
});

t.test('kserve: errors are read only if their type is application/json', async (t) => {
  for (const [path, body, status] of [
    ['/v2/models/other/infer', '{"inputs":[]}', 404],
    ['/v2/models/numbers/infer', '{"inputs":[]}', 400],
    ['/v2/models/numbers/infer', '{"inputs":', 400],
    ['/v2/models/numbers/explain', '{}', 404],
    ['/v2/models/%zz/infer', '{}', 400],
  ] as const) {
    const answer = await send('POST', path, {}, body);
    t.equal(answer.status, status);
    t.equal(answer.headers['content-type'], 'application/json', path);
    t.type(answer.body['error'], 'string');
  }
});

t.test('kserve: health', async (t) => {
  t.match(await send('GET', '/v2/health/live', {}), { status: 200, body: { live: true } });
  t.match(await send('GET', '/v2/health/ready', {}), { status: 200, body: { ready: true } });
  t.match(await send('GET', '/v2/models/numbers/ready', {}), { status: 200 });
});

/** InferInput._get_tensor() after set_data_from_numpy(array, binary_data=False). */
const tensor = { name: 'prompt', shape: [2], datatype: 'BYTES', data: prompts };
/** InferRequestedOutput('text', binary_data=False). */
const output = { name: 'text', parameters: { binary_data: false } };

t.test('tritonclient: infer', async (t) => {
  const body = JSON.stringify({ id: 'a', inputs: [tensor], outputs: [output] });
  const python = { 'user-agent': 'python/gevent-http-client-2.3.9' };
  for (const path of ['/v2/models/numbers/infer', '/v2/models/numbers/versions/1/infer']) {
    isAnswer(t, await send('POST', path, python, body));
  }
  const path = '/v2/models/numbers/infer';
  const aio = { 'content-type': 'application/octet-stream', accept: '*/*' };
  isAnswer(t, await send('POST', path, aio, body));
  // The C++ client always says how much of the body is JSON.
  const cpp = {
    'inference-header-content-length': String(body.length),
    'content-type': 'application/json',
    accept: '*/*',
  };
  isAnswer(t, await send('POST', path, cpp, body));
  const query = await send('POST', `${path}?a=b`, python, body);
  isAnswer(t, query);
});

t.test('tritonclient: compressed requests', async (t) => {
  const body = JSON.stringify({ inputs: [tensor], outputs: [output] });
  for (const [coding, bytes] of [
    ['gzip', gzipSync(body)],
    ['deflate', deflateSync(body)],
  ] as const) {
    const headers = { 'Content-Encoding': coding, 'Accept-Encoding': coding };
    const answer = await send('POST', '/v2/models/numbers/infer', headers, bytes);
    isAnswer(t, answer);
    t.equal(answer.headers['content-encoding'], undefined, 'it reads plain answers too');
    const cpp = { ...headers, 'Inference-Header-Content-Length': String(body.length) };
    isAnswer(t, await send('POST', '/v2/models/numbers/infer', cpp, bytes));
  }
});

t.test('tritonclient: priority and timeout', async (t) => {
  const parameters = { priority: 1, timeout: 30_000_000 };
  const body = JSON.stringify({ inputs: [tensor], outputs: [output], parameters });
  isAnswer(t, await send('POST', '/v2/models/numbers/infer', {}, body));

  // Nothing fits beside a long text here, so that whoever is not to wait is turned away.
  const small = await serving({}, [], { scheduling: { rowBudget: 8 } });
  t.teardown(small.close);
  const stop = new AbortController();
  const options = { length: 126, iterations: 100_000, signal: stop.signal };
  small.model.generate('x', options).catch(() => {});
  const hasty = JSON.stringify({ inputs: [tensor], outputs: [output], parameters: { timeout: 1 } });
  const answer = await send('POST', '/v2/models/numbers/infer', {}, hasty, small.url);
  stop.abort();
  t.match(answer, { status: 429, body: { error: /deadline of 1 ms/ } });
});

t.test('tritonclient: as it is by default, with binary data, it says what to set', async (t) => {
  const advice = {
    status: 400,
    body: { error: /InferRequestedOutput\(name, binary_data=False\)/ },
  };
  const path = '/v2/models/numbers/infer';
  const input = { ...tensor, shape: [1], data: undefined, parameters: { binary_data_size: 5 } };
  const json = JSON.stringify({
    inputs: [input],
    outputs: [{ name: 'text', parameters: { binary_data: true } }],
  });
  const data = Buffer.concat([Buffer.from(json), Buffer.from([1, 0, 0, 0, 0x61])]);
  const header = { 'Inference-Header-Content-Length': String(json.length) };
  t.match(await send('POST', path, header, data), advice);
  t.match(
    await send('POST', path, { ...header, 'Content-Encoding': 'gzip' }, gzipSync(data)),
    advice,
  );
  for (const request of [
    { inputs: [tensor], parameters: { binary_data_output: true } }, // no outputs named
    { inputs: [tensor], outputs: [{ name: 'text', parameters: { binary_data: true } }] },
    {
      inputs: [
        {
          ...tensor,
          data: undefined,
          parameters: { shared_memory_region: 'a', shared_memory_byte_size: 8 },
        },
      ],
      outputs: [output],
    },
  ]) {
    t.match(await send('POST', path, {}, JSON.stringify(request)), advice);
  }
});

t.test('tritonclient: server, model and health', async (t) => {
  for (const path of [
    '/v2',
    '/v2/health/live',
    '/v2/health/ready',
    '/v2/models/numbers',
    '/v2/models/numbers/ready',
    '/v2/models/numbers/versions/1',
    '/v2/models/numbers/versions/1/ready',
  ]) {
    t.equal((await send('GET', path, {})).status, 200, path);
  }
  for (const path of ['/v2/models/numbers/config', '/v2/models/numbers/stats']) {
    t.match(await send('GET', path, {}), { status: 404, body: { error: String } }, path);
  }
  t.match(await send('POST', '/v2/repository/index', {}), { status: 404, body: { error: String } });
});

t.test('a name with a slash and a space, as each client sends it', async (t) => {
  // quote() of Python keeps the slash, encodeURIComponent() does not, httpx and fetch() do not touch it.
  const body = JSON.stringify({ inputs: [tensor], outputs: [output] });
  for (const name of ['org/numbers%20v1', 'org%2Fnumbers%20v1', '%6Frg/numbers%20v1']) {
    for (const version of ['', '/versions/1']) {
      const path = `/v2/models/${name}${version}`;
      isAnswer(t, await send('POST', `${path}/infer`, {}, body, org.url), 'org/numbers v1');
      t.equal((await send('GET', `${path}/ready`, {}, '', org.url)).status, 200, path);
      t.match((await send('GET', path, {}, '', org.url)).body, { name: 'org/numbers v1' });
    }
  }
  for (const name of ['org', 'org/numbers', 'numbers%20v1', 'org/numbers%20v1/x', 'org//x']) {
    t.equal((await send('GET', `/v2/models/${name}/ready`, {}, '', org.url)).status, 404, name);
  }
});

t.test('the answers are those of the model', async (t) => {
  t.same(
    (await model.generate(prompts)).map(({ text }) => text),
    texts,
  );
  t.same([...log, ...org.log], []);
});
