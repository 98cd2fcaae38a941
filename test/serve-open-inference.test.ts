/**
 * The Open Inference Protocol of `mask-predict serve`: the objects, fields and types of the specification
 * (github.com/kserve/open-inference-protocol, inference_rest.md), checked field by field.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import t from 'tap';
import type { RequestEvent } from '../lib/index.js';
import { serving } from './serving.js';

const { model, server, url, close } = await serving();
t.teardown(close);

async function get(path: string) {
  const response = await fetch(`${url}${path}`);
  t.match(response.headers.get('content-type'), 'application/json');
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

async function infer(body: unknown, name = 'numbers') {
  const response = await fetch(`${url}/v2/models/${name}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as InferenceResponse };
}

interface Tensor {
  name: string;
  datatype: string;
  shape: number[];
  data: unknown[];
}

interface InferenceResponse {
  model_name: string;
  model_version: string;
  id?: string;
  outputs: Tensor[];
}

const prompts = ['Write the number 21 in English words.', 'Is the number 5 even? Yes or no?'];
const input = (data: unknown[] = prompts, shape = [data.length]): Tensor => ({
  name: 'prompt',
  datatype: 'BYTES',
  shape,
  data,
});

t.test('server metadata, health and readiness', async (t) => {
  const { version } = await import('../package.json', { with: { type: 'json' } }).then(
    ({ default: manifest }) => manifest,
  );
  for (const path of ['/v2', '/v2/']) {
    t.same(await get(path), {
      status: 200,
      body: { name: 'mask-predict', version, extensions: [] },
    });
  }
  t.same(await get('/v2/health/live'), { status: 200, body: { live: true } });
  t.same(await get('/v2/health/ready'), { status: 200, body: { live: true, ready: true } });
  t.same(await get('/v2/models/numbers/ready'), {
    status: 200,
    body: { name: 'numbers', ready: true },
  });
});

t.test('model metadata names the tensors that infer takes and gives', async (t) => {
  const { status, body } = await get('/v2/models/numbers');
  t.equal(status, 200);
  t.same(Object.keys(body), ['name', 'versions', 'platform', 'inputs', 'outputs']);
  t.equal(body['name'], 'numbers');
  t.same(body['versions'], ['1']);
  t.same(await get('/v2/models/numbers/versions/1'), { status, body });
  t.equal(body['platform'], 'mask-predict_safetensors');
  t.same(body['inputs'], [{ name: 'prompt', datatype: 'BYTES', shape: [-1] }]);
  const answer = await infer({ inputs: [input()] });
  t.same(
    body['outputs'],
    answer.body.outputs.map(({ name, datatype }) => ({ name, datatype, shape: [-1] })),
  );
});

t.test('infer gives every output with its shape and type', async (t) => {
  const { status, body } = await infer({ id: 'abc', inputs: [input()] });
  t.equal(status, 200);
  t.same(Object.keys(body), ['model_name', 'model_version', 'id', 'outputs']);
  t.equal(body.model_name, 'numbers');
  t.equal(body.model_version, '1');
  t.equal(body.id, 'abc');
  for (const tensor of body.outputs) {
    t.same(Object.keys(tensor), ['name', 'datatype', 'shape', 'data']);
    t.same(tensor.shape, [2]);
    t.equal(tensor.data.length, 2);
  }
  const expected = await model.generate(prompts);
  t.same(body.outputs, [
    { name: 'text', datatype: 'BYTES', shape: [2], data: ['twenty-one', 'No'] },
    {
      name: 'score',
      datatype: 'FP32',
      shape: [2],
      data: expected.map(({ score }) => Math.fround(score)),
    },
    { name: 'length', datatype: 'INT32', shape: [2], data: expected.map(({ length }) => length) },
    {
      name: 'iterations',
      datatype: 'INT32',
      shape: [2],
      data: expected.map(({ iterations }) => iterations),
    },
    { name: 'truncated', datatype: 'BOOL', shape: [2], data: [false, false] },
  ]);
  t.notOk('id' in (await infer({ inputs: [input()] })).body, 'no id where none was given');
});

t.test('outputs that were asked for, in that order', async (t) => {
  const outputs = [{ name: 'length' }, { name: 'text', parameters: { binary_data: false } }];
  const { body } = await infer({ inputs: [input()], outputs });
  t.same(
    body.outputs.map(({ name }) => name),
    ['length', 'text'],
  );
  t.same((await infer({ inputs: [input()], outputs: [] })).body.outputs, []);
});

t.test('nested data, a batch dimension and what clients add', async (t) => {
  const flat = (await infer({ inputs: [input()] })).body.outputs;
  const nested = prompts.map((prompt) => [prompt]);
  for (const tensor of [input(prompts, [2, 1]), input(nested, [2, 1]), input(nested, [2])]) {
    t.same((await infer({ inputs: [tensor] })).body.outputs, flat);
  }
  const { status } = await infer({
    parameters: { binary_data_output: false },
    inputs: [{ ...input(), id: 'first', parameters: { content_type: 'str' } }],
  });
  t.equal(status, 200);
});

t.test('null is absent, wherever it stands', async (t) => {
  const expected = (await infer({ inputs: [input()] })).body;
  const nothing = { ...input(), parameters: null, id: null };
  for (const body of [
    { id: null, parameters: null, outputs: null, inputs: [nothing] },
    { model_name: null, model_version: null, inputs: [nothing] },
    { inputs: [input()], parameters: { iterations: null, priority: null, timeout: null } },
    { inputs: [{ ...input(), parameters: { content_type: null, binary_data_size: null } }] },
  ]) {
    t.same(await infer(body), { status: 200, body: expected }, JSON.stringify(body));
  }
  const outputs = [{ name: 'length', parameters: null }];
  t.match(await infer({ inputs: [input()], outputs }), { status: 200 });
});

t.test('data nested deeper than anything is refused like other data that is wrong', async (t) => {
  const deep = `${'['.repeat(200_000)}"a"${']'.repeat(200_000)}`;
  const tensor = `{"name":"prompt","datatype":"BYTES","shape":[1],"data":${deep}}`;
  const response = await fetch(`${url}/v2/models/numbers/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: `{"inputs":[${tensor}]}`,
  });
  t.equal(response.status, 400);
  t.match(await response.json(), { error: /element 0 .* is no string/ });
});

t.test("Triton's priority and timeout are ours", async (t) => {
  const asked: [object, object][] = [
    [{ priority: 0, timeout: 0 }, {}],
    [{ priority: 1 }, { priority: 100 }],
    [{ priority: 2 }, { priority: 99 }],
    [{ priority: 201 }, { priority: -100 }],
    [{ priority: 2 ** 63 }, { priority: -100 }],
    [{ timeout: 1 }, { deadline: 1 }],
    [{ timeout: 1_500_000 }, { deadline: 1500 }],
    [{ timeout: 2 ** 62 }, { deadline: 86_400_000 }],
  ];
  const events: RequestEvent[] = [];
  const start = (event: unknown) => void events.push(event as RequestEvent);
  subscribe('tracing:mask-predict:request:start', start);
  t.teardown(() => unsubscribe('tracing:mask-predict:request:start', start));
  for (const [parameters, options] of asked) {
    t.equal((await infer({ inputs: [input()], parameters })).status, 200);
    const { priority, deadline } = events.pop()!;
    t.same({ priority, deadline }, { priority: undefined, deadline: undefined, ...options });
  }
});

t.test('parameters are the options of generate', async (t) => {
  const cases = [
    [
      { iterations: 1, length: 4 },
      { iterations: 1, length: 4 },
    ],
    [{ candidates: 3 }, { length: { candidates: 3 } }],
    [{ candidates: 3, lengthWeight: 0 }, { length: { candidates: 3, weight: 0 } }],
    [{ remaskBelow: 0.5 }, { remask: { below: 0.5 } }],
    [{ stop: 'unchanged' }, { stop: 'unchanged' }],
    [
      { confidence: 0.5, iterations: 20 },
      { stop: { confidence: 0.5 }, iterations: 20 },
    ],
    [{ content_type: 'str' }, {}],
    [
      { length: 6, seed: 5 },
      { length: 6, sampling: { seed: 5 } },
    ],
  ] as const;
  for (const [parameters, options] of cases) {
    const { body } = await infer({ parameters, inputs: [input()] });
    const expected = await model.generate(prompts, options);
    t.same(
      body.outputs[0]!.data,
      expected.map(({ text }) => text),
      JSON.stringify(parameters),
    );
  }
});

t.test('errors have the field of the specification', async (t) => {
  const tensor = input();
  const refused: [unknown, RegExp, number?][] = [
    [{}, /needs 'inputs'/],
    [{ inputs: [] }, /one input, 'prompt'/],
    [{ inputs: [tensor, tensor] }, /one input, 'prompt'/],
    [{ inputs: [{ ...tensor, name: 'text' }] }, /one input, 'prompt'/],
    [{ inputs: [{ ...tensor, datatype: 'INT32' }] }, /datatype BYTES, not INT32/],
    [{ inputs: [{ ...tensor, shape: [3] }] }, /shape \[n\] or \[n, 1\].* not \[3\] with 2/],
    [{ inputs: [{ ...tensor, shape: [1, 2] }] }, /not \[1, 2\] with 2 elements/],
    [{ inputs: [{ ...tensor, shape: [] }] }, /inputs.0.shape must have 1 or more/],
    [{ inputs: [{ ...tensor, shape: [0], data: [] }] }, /inputs.0.shape.0 must be 1 or more/],
    [{ inputs: [{ ...tensor, data: ['a', 1] }] }, /element 1 .* is no string/],
    [{ inputs: [{ name: 'prompt', shape: [1], datatype: 'BYTES' }] }, /inputs.0 needs 'data'/],
    [{ inputs: [tensor], outputs: [{ name: 'logits' }] }, /no output 'logits'; the model has text/],
    [{ inputs: [tensor], parameters: { temperature: 1 } }, /parameters has no 'temperature'; it/],
    [{ inputs: [tensor], parameters: { length: 1, candidates: 2 } }, /exclude each other/],
    [{ inputs: [tensor], parameters: { lengthWeight: 1 } }, /candidates, which is not given/],
    [{ inputs: [tensor], parameters: { remaskBelow: 2 } }, /remask\.below/],
    [{ inputs: [tensor], parameters: { candidates: 33 } }, /more than the 64 texts/],
    [{ inputs: [tensor], parameters: { stop: 'unchanged', confidence: 1 } }, /exclude each other/],
    [{ inputs: [tensor], parameters: { stop: 'soon' } }, /stop must be one of unchanged/],
    [{ inputs: [tensor], parameters: { confidence: 2 } }, /confidence must be a probability/],
    [{ inputs: [tensor], parameters: { priority: -1 } }, /priority must be 0 or more/],
    [{ inputs: [tensor], parameters: { timeout: 1.5 } }, /timeout must be of type integer/],
    [{ inputs: [tensor], parameters: { sequence_id: 7 } }, /parameters has no 'sequence_id'/],
    [{ inputs: [tensor], parameters: { content_type: 'np' } }, /content_type must be one of str/],
    [{ inputs: [tensor], parameters: { binary_data_output: true } }, /binary_data=False/],
    [{ inputs: [{ ...tensor, parameters: { binary_data_size: 9 } }] }, /binary_data=False/],
    [
      { inputs: [tensor], outputs: [{ name: 'text', parameters: { binary_data: true } }] },
      /=False/,
    ],
    [{ inputs: [{ ...tensor, parameters: { shared_memory_region: 'a' } }] }, /shared memory/],
    [{ inputs: [{ ...tensor, data: [null, 'a'] }] }, /element 0 .* is no string/],
    [{ inputs: [{ ...tensor, data: null }] }, /inputs.0 needs 'data'/],
    [{ inputs: [tensor], model_version: '2' }, /no version '2'/, 404],
    [{ inputs: [tensor], model_name: 'other' }, /no model 'other'/, 404],
    [{ inputs: [input(['x'.repeat(20001)])] }, /prompt 0 has more than 20000 characters/],
    [{ inputs: [input(Array(65).fill('x'))] }, /inputs.0.data may have 64 entries/],
  ];
  for (const [body, message, status = 400] of refused) {
    const answer = await infer(body);
    t.equal(answer.status, status, String(message));
    t.match(answer.body, { error: message });
  }
  for (const path of ['/v2/models/other', '/v2/models/other/ready']) {
    t.match(await get(path), {
      status: 404,
      body: { error: "there is no model 'other' here; this server has 'numbers'" },
    });
  }
  t.match(await infer({ inputs: [tensor] }, 'other'), { status: 404, body: { error: String } });
  for (const path of ['', '/ready']) {
    t.match(await get(`/v2/models/numbers/versions/2${path}`), {
      status: 404,
      body: { error: "there is no version '2' of the model here; it has one, '1'" },
    });
  }
});

t.test('no longer ready while it shuts down', async (t) => {
  // One long request keeps the server up, and one connection was open before.
  const long = infer({
    inputs: [input(Array(64).fill('x'))],
    parameters: { length: 120, iterations: 100 },
  });
  await fetch(`${url}/v2/health/live`);
  const closed = server.close(0);
  t.match(await long, { status: 503, body: { code: 'ERR_SHUTTING_DOWN' } });
  await closed;
  await t.rejects(fetch(`${url}/v2/health/ready`), 'and nobody listens');
});
