/** `mask-predict serve` over HTTP: questions, answers, limits and what is refused. */
import t, { type Test } from 'tap';
import { serving } from './serving.js';

const { model, url, log, close } = await serving({ characters: 2000, iterations: 20, texts: 8 });
t.teardown(close);

const asked = (number: number) => `Write the number ${number} in English words.`;

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as never };
}

/** The part of an answer that does not depend on the time. */
function lasting<Answer extends { timings: unknown }>({ timings: _, ...rest }: Answer) {
  return JSON.parse(
    JSON.stringify(rest, (_key, value: unknown) =>
      ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value,
    ),
  ) as unknown;
}

t.test('generate answers one prompt by an object and several by an array', async (t) => {
  const one = await post('/generate', { prompt: asked(21) });
  t.equal(one.status, 200);
  t.same(lasting(one.body), lasting(await model.generate(asked(21))));
  t.match(one.body, { timings: { total: Number } });

  const prompts = [asked(3), asked(4000), asked(5)];
  const several = await post('/generate', { prompt: prompts });
  t.same((several.body as never[]).map(lasting), (await model.generate(prompts)).map(lasting));
  const [only] = (await post('/generate', { prompt: [asked(3)] })).body as never[];
  t.same(lasting(only!), lasting(await model.generate(asked(3))), 'an array of one too');
});

t.test('generate passes its options on', async (t) => {
  const options = [
    { iterations: 2, length: 5 },
    { length: 'predict' as const, overflow: 'error' as const },
    { length: { candidates: 3 } },
    { length: { candidates: 3, weight: 0 } },
    { sampling: { seed: -7 }, length: 6 },
    { parseSpecial: true },
    { stop: 'unchanged' as const, length: 9 },
    { stop: { confidence: 0.3 }, length: 9 },
    { priority: 3, deadline: 60_000 },
  ];
  for (const option of options) {
    const { status, body } = await post('/generate', { prompt: '<mask> 3', ...option });
    t.equal(status, 200, JSON.stringify(option));
    t.same(lasting(body), lasting(await model.generate('<mask> 3', option)));
  }
});

t.test('null is absent', async (t) => {
  const absent = { length: null, sampling: null, stop: null, stream: null, iterations: null };
  const { status, body } = await post('/generate', { prompt: asked(3), ...absent });
  t.equal(status, 200);
  t.same(lasting(body), lasting(await model.generate(asked(3))));
});

t.test('priority and deadline say who waits, and how long', async (t) => {
  const small = await serving({ iterations: 100_000 }, [], { scheduling: { rowBudget: 8 } });
  t.teardown(small.close);
  const ask = (path: string, body: object) =>
    fetch(`${small.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const stop = new AbortController();
  const long = small.model.generate('x', { length: 126, iterations: 100_000, signal: stop.signal });
  long.catch(() => {});
  for (const [path, body] of [
    ['/generate', { prompt: 'a' }],
    ['/choose', { prompt: 'a', labels: ['two', 'three'] }],
    ['/score', { prompt: 'a', text: 'two' }],
  ] as const) {
    // Nothing fits beside the long text, so none of them begins in time.
    const response = await ask(path, { ...body, deadline: 1, priority: -100 });
    t.equal(response.status, 429, path);
    t.equal(response.headers.get('retry-after'), '1');
    t.match(await response.json(), { code: 'ERR_OVERLOADED', error: /deadline of 1 ms/ });
  }
  stop.abort();
});

t.test('choose and score', async (t) => {
  const labels = ['two', 'three', 'four'];
  const choice = await post('/choose', { prompt: asked(3), labels });
  t.same(choice, { status: 200, body: await model.choose(asked(3), labels) });
  const score = await post('/score', { prompt: asked(21), text: 'twenty-one' });
  const { tokenScores, ...sums } = await model.score(asked(21), 'twenty-one');
  t.same(score, { status: 200, body: { ...sums, tokenScores: [...tokenScores] } });
  t.match(await post('/choose', { prompt: asked(3), labels: ['three', 'twenty-one'] }), {
    status: 400,
    body: { code: 'ERR_INVALID_ARGUMENT', error: /same number of tokens/ },
  });
});

/** Sends what is wrong and compares status, code and message; the answer is always `{ error, code }`. */
async function refuses(t: Test, path: string, list: [unknown, number, string, RegExp][]) {
  for (const [body, status, code, message] of list) {
    const answer = await post(path, body);
    t.equal(answer.status, status, JSON.stringify(body).slice(0, 80));
    t.same(Object.keys(answer.body), ['error', 'code']);
    t.match(answer.body, { error: message, code });
  }
}

t.test('what is wrong is refused by name', async (t) => {
  const invalid = 'ERR_INVALID_ARGUMENT';
  await refuses(t, '/generate', [
    [{}, 400, invalid, /the body needs 'prompt'/],
    [[], 400, invalid, /the body must be a JSON object/],
    [{ prompt: 3 }, 400, invalid, /prompt must be of type string or array/],
    [{ prompt: ['a', 3] }, 400, invalid, /prompt.1 must be of type string/],
    [{ prompt: [] }, 400, invalid, /prompt must have 1 or more entries/],
    [{ prompt: 'a', seed: 1 }, 400, invalid, /has no 'seed'; it takes prompt, stream, .*sampling/],
    [{ prompt: 'a', iterations: 0 }, 400, invalid, /iterations must be 1 or more/],
    [{ prompt: 'a', iterations: '4' }, 400, invalid, /iterations must be of type integer/],
    [{ prompt: 'a', iterations: 1.5 }, 400, invalid, /iterations must be of type integer/],
    [{ prompt: 'a', length: 'long' }, 400, invalid, /length must be 'predict', .* not "long"/],
    [{ prompt: 'a', length: 5000 }, 400, invalid, /length must be an integer from 1 to 126/],
    [{ prompt: 'a', length: {} }, 400, invalid, /length needs 'candidates'/],
    [{ prompt: 'a', length: { candidates: 2, weight: -1 } }, 400, invalid, /weight must be 0 or/],
    [{ prompt: ' ' }, 400, invalid, /has no tokens/],
    [{ prompt: ['a', ''] }, 400, invalid, /prompt 1 has no tokens/],
    [{ prompt: 'a', sampling: { seed: 0.5 } }, 400, invalid, /sampling.seed must be of type/],
    [{ prompt: 'a', overflow: 'cut' }, 400, invalid, /overflow must be one of truncate, error/],
    [{ prompt: ['a'], stream: true }, 400, invalid, /a stream follows one text/],
    ['{"prompt": "a"', 400, 'ERR_INVALID_JSON', /not valid JSON/],
    ['', 400, 'ERR_INVALID_JSON', /not valid JSON/],
    ['{"prompt": "a", "__proto__": {}}', 400, invalid, /has no '__proto__'; it takes prompt/],
    ['{"prompt": "a", "constructor": {"prototype": {}}}', 400, invalid, /has no 'constructor'/],
    ['{"prompt": "a", "length": {"__proto__": 1}}', 400, invalid, /length needs 'candidates'/],
    ['{"prompt": "a", "length": {"candidates": 1, "b": 2}}', 400, invalid, /length has no/],
    [{ prompt: 'a', stop: 'soon' }, 400, invalid, /stop must be 'unchanged' or/],
    [{ prompt: 'a', stop: { confidence: 2 } }, 400, invalid, /stop.confidence must be a prob/],
    [{ prompt: 'a', priority: 101 }, 400, invalid, /priority must be an integer from -100 to 100/],
    [{ prompt: 'a', deadline: 0 }, 400, invalid, /deadline must be an integer from 1 to/],
    [{ prompt: 'a', deadline: '9' }, 400, invalid, /deadline must be of type integer/],
    [{ prompt: null }, 400, invalid, /the body needs 'prompt'/],
    [{ prompt: [null] }, 400, invalid, /prompt.0 must be of type string/],
  ]);
  await refuses(t, '/choose', [
    [{ prompt: 'a' }, 400, invalid, /needs 'labels'/],
    [{ prompt: 'a', labels: [] }, 400, invalid, /labels must have 1 or more/],
  ]);
  await refuses(t, '/score', [[{ prompt: 'a' }, 400, invalid, /needs 'text'/]]);
});

t.test('limits are said with what to do', async (t) => {
  const limit = 'ERR_LIMIT';
  const words = 'and '.repeat(501);
  await refuses(t, '/generate', [
    [{ prompt: words }, 400, limit, /prompt may have 2000 characters at most/],
    [{ prompt: ['a', words] }, 400, limit, /prompt.1 may have 2000 characters at most/],
    [{ prompt: Array(9).fill('a') }, 400, limit, /prompt may have 8 entries.*several requests/],
    [{ prompt: ['a', 'b', 'c'], length: { candidates: 3 } }, 400, limit, /more than the 8 texts/],
    [{ prompt: 'a', length: { candidates: 9 } }, 400, limit, /candidates may be 8 at most/],
    [{ prompt: 'a', iterations: 21 }, 400, limit, /iterations may be 20 at most/],
    [' '.repeat(2 ** 20 + 1), 413, limit, /1048576 bytes at most; send fewer prompts/],
  ]);
  await refuses(t, '/choose', [
    [{ prompt: 'a', labels: Array(9).fill('b') }, 400, limit, /labels may have 8 entries/],
    [{ prompt: 'a', labels: [words] }, 400, limit, /labels.0 may have 2000 characters/],
  ]);
  await refuses(t, '/score', [[{ prompt: 'a', text: words }, 400, limit, /text may have 2000/]]);
});

t.test('a default of the API above a limit is that limit', async (t) => {
  const small = await serving({ iterations: 2 });
  t.teardown(small.close);
  const prompt = 'Translate the following text from French to German: six mille soixante';
  const response = await fetch(`${small.url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt }),
  });
  t.match(await response.json(), { iterations: 2 });
});

t.test('no memory is 503, and a later request may find some', async (t) => {
  const small = await serving({}, [], { memoryLimit: 2 * 2 ** 20 });
  t.teardown(small.close);
  for (const prompt of ['and '.repeat(100), ['and '.repeat(100), 'a']]) {
    const response = await fetch(`${small.url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt }),
    });
    t.equal(response.status, 503);
    t.equal(response.headers.get('retry-after'), '1');
    t.match(await response.json(), { code: 'ERR_OUT_OF_MEMORY', error: /memoryLimit/ });
  }
  t.same(small.log, [], 'no failure of the server');
});

t.test('what is not JSON and where nothing is', async (t) => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense']) {
    t.match(
      await post('/generate', '{"prompt":"a"}', { 'content-type': type }),
      { status: 415, body: { code: 'ERR_CONTENT_TYPE', error: /application\/json/ } },
      type,
    );
  }
  const utf8 = await post(
    '/generate',
    { prompt: asked(3) },
    {
      'content-type': 'application/json; charset=utf-8',
    },
  );
  t.match(utf8, { status: 200, body: { text: 'three' } });
  for (const [method, path] of [
    ['GET', '/generate'],
    ['DELETE', '/v2'],
    ['GET', '/page/../package.json'],
    ['GET', '/page/none.js'],
  ]) {
    const response = await fetch(`${url}${path}`, { method: method! });
    t.equal(response.status, 404, `${method} ${path}`);
    t.match(await response.json(), { code: 'ERR_NOT_FOUND', error: `there is no ${method} ` });
  }
});

t.test('a hundred requests at once, over and over on the same connections', async (t) => {
  const numbers = Array.from({ length: 100 }, (_, index) => 37 * index);
  const expected = await model.generate(numbers.map(asked));
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(
      numbers.map((number) => post('/generate', { prompt: asked(number) })),
    );
    t.same(
      answers.map(({ body }) => lasting(body)),
      expected.map(lasting),
    );
  }
});

t.test('the page is served with nothing let in from elsewhere', async (t) => {
  const page = await fetch(url);
  t.match(page.headers.get('content-type'), 'text/html');
  t.match(page.headers.get('content-security-policy'), "default-src 'none'");
  const html = await page.text();
  t.notMatch(html, /https?:/);
  const files = [...html.matchAll(/(?:href|src)="(\/[^"]*)"/g)].map(([, path]) => path!);
  t.same(files.sort(), ['/page/script.js', '/page/style.css']);
  for (const [path, type] of [
    ['/page/script.js', 'text/javascript'],
    ['/page/event-stream.js', 'text/javascript'],
    ['/page/style.css', 'text/css'],
  ]) {
    const response = await fetch(`${url}${path}`);
    t.equal(response.status, 200);
    t.match(response.headers.get('content-type'), type);
  }
  const description = await (await fetch(`${url}/page/model.json`)).json();
  t.same(description, { name: 'numbers', examples: [], iterations: 20, characters: 2000 });
});

t.test('nothing of all this was a failure of the server', (t) => {
  t.same(log, []);
  t.end();
});
