/** Server-sent events of `POST /generate`: what refine() yields, slow readers, and clients that go away. */
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import type { Generation, RefinementStep } from '../lib/text/mask-predict.js';
import { sendEvents } from '../lib/serve/event-stream.js';
import { serving } from './serving.js';

const { model, url, log, close } = await serving({ iterations: 100_000 });
t.teardown(close);

const prompt = 'Translate the following text from French to German: six mille soixante';

const post = (body: unknown, more: RequestInit = {}) =>
  fetch(`${url}/generate`, {
    method: 'POST',
    body: JSON.stringify(body),
    ...more,
    headers: { 'content-type': 'application/json', ...more.headers },
  });

/** The events of a stream, by the letter of its format. */
function parse(text: string) {
  const blocks = text.split('\n\n');
  t.equal(blocks.pop(), '', 'the last event ends too');
  return blocks.map((block) => {
    const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
    return { event, data: JSON.parse(data!) as unknown };
  });
}

async function refined(options: object) {
  const steps: RefinementStep[] = [];
  const refinement = model.refine(prompt, options);
  for (;;) {
    const { value, done } = await refinement.next();
    if (done) return { steps, generation: value };
    steps.push(value);
  }
}

function lasting({ timings: _, ...rest }: Generation) {
  return { ...rest, tokens: [...rest.tokens], tokenScores: [...rest.tokenScores] };
}

/** A figure of GET /metrics. */
async function figure(name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((line) => line.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.split(' ').at(-1));
}

/** Resolves once no request is worked on any more. */
async function idle(): Promise<void> {
  while ((await figure('mask_predict_http_requests_running')) > 0) await wait(5);
}

t.test('an event after every pass, then the answer: what refine() gives', async (t) => {
  for (const options of [
    { iterations: 4 },
    { iterations: 6, sampling: { seed: 1 } },
    { length: 5, iterations: 3 },
  ]) {
    const response = await post({ prompt, ...options, stream: true });
    t.equal(response.status, 200);
    t.match(response.headers.get('content-type'), 'text/event-stream');
    t.equal(response.headers.get('cache-control'), 'no-store, no-transform');
    t.equal(response.headers.get('x-accel-buffering'), 'no');
    const events = parse(await response.text());
    const { steps, generation } = await refined(options);
    t.same(
      events.map(({ event }) => event),
      [...steps.map(() => 'iteration'), 'done'],
    );
    t.same(
      events.slice(0, -1).map(({ data }) => data),
      steps,
    );
    t.same(lasting(events.at(-1)!.data as Generation), lasting(generation));
  }
});

t.test('asked for by the header Accept, or not', async (t) => {
  const accept = { headers: { accept: 'text/html, Text/Event-Stream;q=0.9' } };
  const streamed = await post({ prompt, iterations: 2 }, accept);
  t.match(streamed.headers.get('content-type'), 'text/event-stream');
  await streamed.text();
  const refused = await post({ prompt, iterations: 2, stream: false }, accept);
  t.match(refused.headers.get('content-type'), 'application/json');
  await refused.text();
});

t.test('what is wrong has its status, not a stream', async (t) => {
  for (const [body, message] of [
    [{ prompt, length: 5000 }, /length must be an integer from 1 to 126/],
    [{ prompt, length: { candidates: 2 } }, /length must be a number or "predict"/],
    [{ prompt: [prompt] }, /a stream follows one text/],
  ] as const) {
    const response = await post({ ...body, stream: true });
    t.equal(response.status, 400);
    t.match(await response.json(), { code: 'ERR_INVALID_ARGUMENT', error: message });
  }
});

/** Much more work than a test would wait for. */
const endless = { prompt, length: 126, iterations: 100_000 };

t.test('a client that goes away stops its request', async (t) => {
  const before = await figure(gone);
  const many = { ...endless, prompt: Array(64).fill(prompt) };
  for (const body of [many, { ...endless, stream: true }]) {
    const controller = new AbortController();
    const answer = post(body, { signal: controller.signal }).then((response) => response.text());
    while ((await figure('mask_predict_http_requests_running')) === 0) await wait(5);
    controller.abort();
    await t.rejects(answer, { name: 'AbortError' });
    await idle();
  }
  t.equal(await figure(gone), before + 2, 'counted as such');
  t.equal((await post({ prompt, iterations: 1 })).status, 200);
});

const gone = 'mask_predict_http_requests_total{route="/generate",method="POST",status="499"}';

t.test('a client that does not read holds up itself alone', async (t) => {
  const request = httpRequest(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  request.end(JSON.stringify({ ...endless, stream: true }));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.pause();
  for (let count = 0; count < 20; count++) {
    t.equal((await post({ prompt, iterations: 2 })).status, 200);
    await wait(10);
  }
  t.equal(await figure('mask_predict_http_requests_running'), 1);
  response.destroy();
  await idle();
  t.pass('and its work ends with it');
});

t.test('no event is made before the last one has left', async (t) => {
  const data = 'x'.repeat(10_000);
  let made = 0;
  let ended = false;
  async function* events() {
    try {
      for (;;) {
        made++;
        yield { event: 'iteration', data };
        await wait(0);
      }
    } finally {
      ended = true;
    }
  }
  const failures: unknown[] = [];
  const server = createServer((_request, response) => {
    const controller = new AbortController();
    response.once('close', () => controller.abort(new Error('closed')));
    sendEvents(response, events(), controller.signal, 300).catch((error) => failures.push(error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());

  const request = httpRequest({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  request.end();
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  response.pause();
  let last = -1;
  while (made !== last) {
    last = made;
    await wait(150);
  }
  // The operating system's socket buffers are the only ones: a few megabytes.
  t.ok(made * data.length < 64 * 2 ** 20, `${made} events of 10 kB were made`);
  while (!ended) await wait(10);
  t.match(failures, [{ cause: { message: 'closed' } }], 'a reader that takes nothing is dropped');
});

t.test('nothing of all this was a failure of the server', (t) => {
  t.same(log, []);
  t.end();
});
