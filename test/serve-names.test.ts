/** Names of models: each that `serve` accepts is reachable by everybody, the others are refused. */
import fc from 'fast-check';
import t from 'tap';
import { MaskPredict } from '../lib/index.js';
import { addressRewriter, nameProblem } from '../lib/serve/model-name.js';
import { listening } from './serving.js';

t.test('names that are refused', (t) => {
  const refused: [string, RegExp][] = [
    ['', /is empty/],
    ['x'.repeat(257), /more than 256 characters/],
    ['a?b', /control character or one of \? # %/],
    ['a#b', /control character/],
    ['a%2Fb', /control character/],
    ['a\\b', /control character/],
    ['a\nb', /control character/],
    ['a\ud800b', /control character/],
    ['/', /empty part/],
    ['/a', /empty part/],
    ['a/', /empty part/],
    ['a//b', /empty part/],
    ['.', /or '\.' or '\.\.', between slashes/],
    ['..', /between slashes/],
    ['a/../b', /between slashes/],
    [' a', /begins or ends with a space/],
    ['a /b', /begins or ends with a space/],
  ];
  for (const [name, problem] of refused) t.match(nameProblem(name), problem, JSON.stringify(name));
  t.end();
});

t.test('addresses of other models, and of other things, are left alone', (t) => {
  const rewritten = addressRewriter('a/b c');
  t.equal(rewritten('/v2/models/a/b%20c/infer?x=/#y'), '/v2/models/a%2Fb%20c/infer?x=/#y');
  t.equal(rewritten('/v2/models/a/b%20c'), '/v2/models/a%2Fb%20c');
  for (const url of [
    '/v2/models/a/b',
    '/v2/models/a',
    '/v2/models/',
    '/v2/models/a/%zz/infer',
    '/v2/models/a%2Fb%20c/infer',
    '/v2/models/?a/b%20c',
    '/v2/a/b%20c',
    '/',
  ]) {
    t.equal(rewritten(url), url);
  }
  t.end();
});

/** Characters that names have, those that addresses escape, and those of the routes' own words. */
const part = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom(
    'ready',
    'infer',
    'versions',
    '1',
    ':name',
    '*',
    '__proto__',
    'org',
    "a'b",
    'a;b',
  ),
  fc.constantFrom('a b', 'ü', '\u{1f600}', 'a+b', 'a&b=c', '~!$()@,', '...', 'x'.repeat(120)),
);
const names = fc
  .array(part, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'))
  .filter((name) => nameProblem(name) === undefined);

t.test('every other name is reachable, with its slashes and without', async (t) => {
  const given = [
    'x'.repeat(256),
    '\u{1f600}'.repeat(128),
    ...fc.sample(names, { numRuns: 12, seed: 11 }),
  ];
  const model = await MaskPredict.load(undefined, { device: 'cpu', threads: 1 });
  t.teardown(() => model.close());
  for (const name of given) {
    const server = await listening(model, { name });
    const { url } = server;
    const escaped = name.split('/').map(encodeURIComponent).join('/');
    for (const address of [encodeURIComponent(name), escaped, name]) {
      for (const rest of ['', '/ready', '/versions/1/ready']) {
        const response = await fetch(`${url}/v2/models/${address}${rest}`);
        t.match(await response.json(), { name }, `${address}${rest}`);
      }
    }
    await server.close(1000);
  }
});
