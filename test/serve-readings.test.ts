/** `POST /fill-mask`, `/embed` and `/classify`: what they answer is what the model's methods give; and what is refused. */
import t from 'tap';
import { MaskPredict } from '../lib/text/mask-predict.js';
import { classifyingModel } from './classifying-model.js';
import { listening, serving } from './serving.js';

const { model, url, close } = await serving({ characters: 200, texts: 3 });
t.teardown(close);

async function post(at: string, path: string, body: unknown) {
  const response = await fetch(`${at}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as never };
}

const text = 'Write the number 42 in <mask> words.';
const refused = (status: number, code: string, error: RegExp) => ({
  status,
  body: { code, error },
});

t.test('fill-mask', async (t) => {
  const answer = (body: unknown) => ({ status: 200, body });
  t.same(await post(url, '/fill-mask', { text }), answer(await model.fillMask(text)));
  const several = { text: [text, '<mask> 3'], count: 2 };
  t.same(
    await post(url, '/fill-mask', several),
    answer(await model.fillMask(several.text, { count: 2 })),
  );
  const labels = ['German', 'French'];
  t.same(
    await post(url, '/fill-mask', { text, labels }),
    answer(await model.fillMask(text, { labels })),
  );
  const invalid = (error: RegExp) => refused(400, 'ERR_INVALID_ARGUMENT', error);
  t.match(await post(url, '/fill-mask', { text: 'no' }), invalid(/no <mask>/));
  t.match(await post(url, '/fill-mask', {}), invalid(/needs 'text'/));
  t.match(await post(url, '/fill-mask', { text, parseSpecial: true }), invalid(/parseSpecial/));
  t.match(await post(url, '/fill-mask', { text, count: 0 }), invalid(/count/));
  t.match(await post(url, '/fill-mask', { text, count: 2, labels }), invalid(/count/));
  const limit = (error: RegExp) => refused(400, 'ERR_LIMIT', error);
  t.match(await post(url, '/fill-mask', { text: Array(4).fill(text) }), limit(/3 entries/));
  t.match(await post(url, '/fill-mask', { text: ['x'.repeat(201)] }), limit(/200 characters/));
});

t.test('embed', async (t) => {
  const numbers = (vector: Float32Array) => [...vector];
  t.same(await post(url, '/embed', { text: 'a' }), {
    status: 200,
    body: numbers(await model.embed('a')),
  });
  const options = { pooling: 'first', normalize: true } as const;
  const several = await model.embed(['a', 'b c'], options);
  t.same(await post(url, '/embed', { text: ['a', 'b c'], ...options }), {
    status: 200,
    body: several.map(numbers),
  });
  t.match(await post(url, '/embed', { text: 'a', pooling: 'max' }), { status: 400 });
  t.match(await post(url, '/embed', { text: [7] }), { status: 400 });
  t.match(
    await post(url, '/classify', { input: 'a' }),
    refused(404, 'ERR_NOT_FOUND', /no POST \/classify here: the model has no sequence classifier/),
  );
});

t.test('a classifier', async (t) => {
  const path = t.testdir(classifyingModel(['yes', 'no', 'maybe']));
  await using classifier = await MaskPredict.load(path);
  const server = await listening(classifier, {});
  t.teardown(() => server.close(1000));
  const pair = { text: 'a', pair: 'b' };
  for (const input of ['a', pair, ['a', pair]] as const) {
    t.same(await post(server.url, '/classify', { input }), {
      status: 200,
      body: await classifier.classify(input as never),
    });
  }
  t.match(await post(server.url, '/classify', { input: { text: 'a' } }), { status: 400 });
  t.match(await post(server.url, '/classify', { input: { ...pair, c: 1 } }), { status: 400 });
  t.match(await post(server.url, '/classify', { input: 7 }), { status: 400 });
  t.match((await post(server.url, '/embed', { text: 'a' })).status, 200);
  for (const route of ['/generate', '/choose', '/score', '/fill-mask']) {
    t.match(
      await post(server.url, route, { prompt: 'a', text: '<mask>' }),
      refused(404, 'ERR_NOT_FOUND', /the model has no language-model head/),
      route,
    );
  }
});
