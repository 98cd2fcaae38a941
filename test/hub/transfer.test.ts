/** Contents on their way: interrupted, wrong, redirected, at the same time, with a full disk. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';
import t from 'tap';
import { native } from '../../lib/token/native.js';
import type { Transfer } from '../../lib/hub/settings.js';
import { contents, folder, repository, scene, type Scene } from './downloads.js';
import { cutting, sendContent, sha256, TestHub, type Asked } from './test-hub.js';

const cdn = ({ asked }: TestHub) => asked.filter(({ server }) => server === 'cdn');

/** Where the weights and the part of them are. */
const paths = ({ cache, weights }: Scene) => ({
  blob: join(cache, folder, 'blobs', sha256(weights)),
  part: join(cache, folder, 'blobs', `${sha256(weights)}.incomplete`),
  lock: join(cache, '.locks', folder, `${sha256(weights)}.lock`),
});

t.test('a broken transfer goes on where it stopped', async (t) => {
  const own = await scene(t);
  const { download, hub, weights } = own;
  hub.faults.push(cutting(weights, 40_000, 7)); // more often than there are tries without any gain
  const directory = await download();
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  const ranges = cdn(hub).map(({ range }) => range);
  t.same(
    ranges,
    [undefined, ...Array.from({ length: 7 }, (_, index) => `bytes=${40_000 * (index + 1)}-`)],
    'every byte once',
  );
  t.equal(existsSync(paths(own).part), false);
});

t.test('what a process left is gone on with, and compared as a whole', async (t) => {
  const own = await scene(t);
  const { download, hub, weights } = own;
  const { blob, part } = paths(own);
  const parts: Record<string, [Buffer, string[]]> = {
    'the first half': [weights.subarray(0, 150_000), ['bytes=150000-']],
    'all of it': [weights, []],
    nothing: [Buffer.of(), ['']],
    'too much': [Buffer.concat([weights, Buffer.of(1)]), ['']],
    'wrong bytes': [Buffer.alloc(1000), ['bytes=1000-', '']],
    'wrong, and all': [Buffer.alloc(weights.length), ['']],
  };
  for (const [name, [left, ranges]] of Object.entries(parts)) {
    mkdirSync(join(own.cache, folder, 'blobs'), { recursive: true });
    if (existsSync(blob)) unlinkSync(blob);
    writeFileSync(part, left);
    hub.asked.length = 0;
    const directory = await download();
    t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'), name);
    t.same(
      cdn(hub).map(({ range }) => range ?? ''),
      ranges,
      name,
    );
    t.equal(existsSync(part), false);
  }
});

t.test('a hub that does not know ranges, or refuses one, begins again', async (t) => {
  const own = await scene(t);
  const { download, hub, weights } = own;
  const { blob } = paths(own);
  const whole = ({ server }: Asked, response: ServerResponse) => {
    if (server === 'cdn') sendContent(response, weights);
    return server === 'cdn';
  };
  const refusing = ({ server, range }: Asked, response: ServerResponse) => {
    if (server === 'cdn' && range) response.writeHead(416).end();
    return server === 'cdn' && range !== undefined;
  };
  for (const fault of [whole, refusing]) {
    hub.faults.splice(0, Infinity, cutting(weights, 100_000, 1), fault);
    const directory = await download();
    t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
    unlinkSync(blob);
  }
});

t.test('503 and 429 are tried again, after as long as the hub asks for', async (t) => {
  const { download, hub } = await scene(t);
  let left = 2;
  hub.faults.push(({ server }, response) => {
    if (server !== 'cdn' || left === 0) return false;
    left -= 1;
    response.writeHead(left === 1 ? 503 : 429, { 'retry-after': left === 1 ? '1' : '0' }).end();
    return true;
  });
  const begun = performance.now();
  await download();
  t.ok(performance.now() - begun >= 1000);
  t.equal(cdn(hub).length, 3);
});

t.test('trying ends', async (t) => {
  const own = await scene(t);
  const { download, hub, names, weights } = own;
  const status = (code: number, headers = {}) => {
    hub.asked.length = 0;
    hub.faults[0] = ({ server }, response) => {
      if (server === 'cdn') response.writeHead(code, headers).end();
      return server === 'cdn';
    };
  };
  const unreachable = { code: 'ERR_HUB_UNREACHABLE' };
  status(503);
  await t.rejects(download(), { ...unreachable, message: /status 503/ });
  t.equal(cdn(hub).length, 6);
  status(503, { 'retry-after': '3600' });
  await t.rejects(download(), { ...unreachable, message: /asks to wait 3600 s/ });
  t.equal(cdn(hub).length, 1, 'an hour is not waited');
  status(503, { 'retry-after': new Date(Date.now() + 7_200_000).toUTCString() });
  await t.rejects(download(), { ...unreachable, message: /asks to wait 7[12]\d\d s/ });
  status(403);
  await t.rejects(download(), { ...unreachable, message: /status 403/ });
  t.equal(hub.paths('hub').filter((path) => path.includes('/resolve/')).length, 6, 'new addresses');
  hub.asked.length = 0;
  hub.faults[0] = cutting(weights, 0, Infinity);
  await t.rejects(download(), { ...unreachable, message: /connection/ });
  t.equal(cdn(hub).length, 6);
  hub.faults[0] = ({ server }) => server === 'cdn'; // and never answers
  await t.rejects(download({}, { HF_HUB_DOWNLOAD_TIMEOUT: '0.05' }), {
    ...unreachable,
    message: /sends nothing for 0\.05 s/,
  });
  hub.faults[0] = ({ url }) => url.includes('/api/');
  await t.rejects(download({}, { HF_HUB_ETAG_TIMEOUT: '0.05' }), {
    ...unreachable,
    message: /sends nothing for 0\.05 s/,
  });
  t.same(names('refs'), []);
  t.same(names('snapshots', own.commit).includes('model.safetensors'), false);
});

t.test('a connection that falls silent is given up, and gone on with', async (t) => {
  const { download, hub, weights } = await scene(t);
  let left = 1;
  hub.faults.push(({ server }, response) => {
    if (server !== 'cdn' || left === 0) return false;
    left -= 1;
    response.writeHead(200, { 'content-length': weights.length });
    response.write(weights.subarray(0, 100_000));
    return true;
  });
  const directory = await download({}, { HF_HUB_DOWNLOAD_TIMEOUT: '2' });
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  const ranges = cdn(hub).map(({ range }) => range);
  t.match(ranges, [undefined, /^bytes=\d+-$/]);
});

t.test('sizes and hashes that are not those of the listing', async (t) => {
  const own = await scene(t);
  const { commit, download, hub, names, weights } = own;
  const wrong = Buffer.from(weights);
  wrong[1000]! ^= 1;
  const sending = (content: Buffer, where: RegExp, headers?: Record<string, string | number>) => {
    hub.faults[0] = ({ url }, response) => {
      if (!where.test(url)) return false;
      if (headers) response.writeHead(200, headers).end(content);
      else sendContent(response, content);
      return true;
    };
  };
  const blob = /^\/blob\//;
  const config = /\/resolve\/\w+\/config\.json$/;
  const cases: [() => void, RegExp][] = [
    [
      () => sending(Buffer.from('{"model_type": "xlm-robertb"}'), config),
      /its SHA-1 of git is [0-9a-f]{40}, not/,
    ],
    [
      () => sending(Buffer.from('{}'), config),
      /the config\.json that the hub sends .* it has 2 bytes/,
    ],
    [() => sending(wrong, blob), /its SHA-256 is [0-9a-f]{64}, not [0-9a-f]{64}/],
    [() => sending(weights.subarray(1), blob), /it has 299999 bytes instead of 300000/],
    [
      () => sending(Buffer.concat([weights, weights]), blob),
      /it has 600000 bytes instead of 300000/,
    ],
    [
      () => sending(Buffer.concat([weights, weights]), blob, { 'transfer-encoding': 'chunked' }),
      /it has more than the 300000 bytes/,
    ],
  ];
  for (const [fault, message] of cases) {
    fault();
    await t.rejects(download(), { code: 'ERR_HUB_CONTENT', message }, String(message));
    const shown = names('snapshots', commit);
    t.notOk(shown.includes(/config/.test(String(message)) ? 'config.json' : 'model.safetensors'));
    t.same(names('refs'), []);
    await t.rejects(download({ offline: true }), { code: 'ERR_HUB_UNREACHABLE' });
  }
  // An end that looks regular, but comes too early, is an interruption.
  sending(weights.subarray(0, 299_999), blob, { 'transfer-encoding': 'chunked' });
  await t.rejects(download(), { code: 'ERR_HUB_UNREACHABLE', message: /1 bytes before the end/ });
  hub.faults[0] = ({ server, range }, response) => {
    if (server !== 'cdn' || !range) return false;
    const headers = { 'content-range': `bytes 5-299999/300000`, 'content-length': 299_995 };
    response.writeHead(206, headers).end(weights.subarray(5));
    return true;
  };
  await t.rejects(download(), { code: 'ERR_HUB_CONTENT', message: /others came/ });
  hub.faults.length = 0;
  t.equal(contents(await download())['model.safetensors'], weights.toString('latin1'));
});

t.test('the token goes to the hub, and to nobody else', async (t) => {
  const { download, hub, cache, weights } = await scene(t);
  const other = await TestHub.start(t);
  const token = 'hf_secret';
  const location = `${other.url}/stolen`;
  hub.pageSize = 2;
  await download({ token });
  t.same(
    [
      ...new Set(
        hub.asked.filter(({ server }) => server === 'hub').map((asked) => asked.authorization),
      ),
    ],
    [`Bearer ${token}`],
  );
  t.same(
    cdn(hub).map(({ authorization }) => authorization),
    [undefined],
  );
  hub.asked.length = 0;
  await download({ token: false });
  t.same(
    hub.asked.map(({ authorization }) => authorization),
    [undefined],
  );

  // Moved within the hub, as a renamed repository is: with the token. Elsewhere, by whatever answer: without.
  const fresh = { token, cache: `${cache}-2` };
  hub.faults.push(({ url }, response) => {
    if (url !== `/api/models/${repository}/revision/main`) return false;
    response.writeHead(307, { location: `/api/models/${repository}/revision/main?moved` }).end();
    return true;
  });
  await download(fresh);
  const moved = hub.asked.find(({ url }) => url.endsWith('?moved'));
  t.equal(moved?.authorization, `Bearer ${token}`);

  for (const where of [/\/revision\//, /\/tree\//, /\/resolve\//]) {
    hub.faults[0] = ({ server, url }, response) => {
      if (server !== 'hub' || !where.test(url)) return false;
      response.writeHead(302, { location }).end();
      return true;
    };
    const error = await download({ token, cache: `${cache}-3` }).catch((reason: unknown) => reason);
    t.type(error, Error);
    t.notMatch(inspect(error, { depth: 10 }), /hf_secret|sesame/, 'nor into a message');
  }
  hub.faults[0] = ({ url }, response) => {
    if (url.includes('/tree/')) response.setHeader('link', `<${location}>; rel="next"`);
    if (url.includes('/tree/')) response.end('[]');
    return url.includes('/tree/');
  };
  await t.rejects(download({ token, cache: `${cache}-3` }));
  t.ok(other.asked.length >= 4);
  t.same([...new Set(other.asked.map(({ authorization }) => authorization))], [undefined]);

  const refused = ['http://user:pass@127.0.0.1/', 'file:///etc/passwd', 'https://'];
  for (const location of refused) {
    hub.faults[0] = (_, response) => !!response.writeHead(302, { location }).end();
    await t.rejects(download({ token, cache: `${cache}-3` }), {
      code: 'ERR_HUB_CONTENT',
      message: /redirects to an address that is not taken/,
    });
  }
  hub.faults[0] = ({ url }, response) => !!response.writeHead(302, { location: url }).end();
  await t.rejects(download({ token, cache: `${cache}-3` }), {
    message: /redirects more than 10 times/,
  });
  t.equal(weights.length, 300_000);
});

t.test('two downloads at once transfer everything once', async (t) => {
  const { download, hub, names } = await scene(t, 3_000_000);
  const directories = await Promise.all([download(), download(), download()]);
  t.equal(new Set(directories).size, 1);
  t.equal(cdn(hub).length, 1);
  const files = hub.paths('hub').filter((path) => path.includes('/resolve/'));
  t.equal(new Set(files).size, files.length);
  t.same(
    names('blobs').filter((name) => /incomplete|tmp/.test(name)),
    [],
  );
});

t.test('one waits for the lock of another, and can be aborted meanwhile', async (t) => {
  const own = await scene(t);
  const { lock, part } = paths(own);
  mkdirSync(join(lock, '..'), { recursive: true });
  mkdirSync(join(part, '..'), { recursive: true });
  // As Python's filelock does: flock on the same file.
  const held = openSync(lock, 'a');
  t.equal(native.lockFile(held), 'locked');
  writeFileSync(part, own.weights.subarray(0, 100_000));
  const controller = new AbortController();
  const aborted = own.download({ signal: controller.signal });
  let shown = 0;
  const onProgress = (_: number, { bytes }: Transfer) => void (shown = bytes);
  const waiting = own.download({ onProgress });
  while (shown < 100_000) await wait(20); // until what the other one has is seen
  controller.abort(new Error('enough'));
  await t.rejects(aborted, { message: 'enough' });
  t.same(cdn(own.hub), [], 'neither transfers');
  closeSync(held);
  const directory = await waiting;
  t.equal(contents(directory)['model.safetensors'], own.weights.toString('latin1'));
  t.same(
    cdn(own.hub).map(({ range }) => range),
    ['bytes=100000-'],
  );
});

t.test('a lock file that is removed meanwhile is no lock', async (t) => {
  const own = await scene(t);
  const { lock } = paths(own);
  mkdirSync(join(lock, '..'), { recursive: true });
  const held = openSync(lock, 'a');
  native.lockFile(held);
  const waiting = own.download();
  await wait(300);
  unlinkSync(lock);
  const again = openSync(lock, 'a');
  t.equal(native.lockFile(again), 'locked');
  closeSync(held);
  await wait(300);
  t.same(cdn(own.hub), [], 'the new file is locked by somebody');
  closeSync(again);
  t.match(await waiting, own.commit);
});

t.test('an aborted download keeps what it has', async (t) => {
  const own = await scene(t, 3_000_000);
  const { download, hub, weights } = own;
  hub.faults.push(async ({ server, range }, response) => {
    if (server !== 'cdn' || range) return false;
    response.writeHead(200, { 'content-length': weights.length });
    for (let sent = 0; sent < 2_000_000 && !response.destroyed; sent += 50_000) {
      response.write(weights.subarray(sent, sent + 50_000));
      await wait(20);
    }
    return true;
  });
  const controller = new AbortController();
  const reason = new Error('not now');
  const onProgress = (_: number, { bytes }: Transfer) => {
    if (bytes > 200_000) controller.abort(reason);
  };
  t.equal(
    await download({ signal: controller.signal, onProgress }).catch((error: unknown) => error),
    reason,
  );
  const { size } = statSync(paths(own).part);
  t.ok(size > 100_000 && size < 2_000_000, `${size}`);
  await t.rejects(download({ signal: AbortSignal.abort(reason) }), reason);
  const directory = await download();
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  t.equal(cdn(hub).at(-1)?.range, `bytes=${size}-`);

  const failing = await scene(t);
  const thrown = new Error('of the caller');
  const onFailing = () => {
    throw thrown;
  };
  t.equal(
    await failing.download({ onProgress: onFailing }).catch((error: unknown) => error),
    thrown,
  );
});

t.test('progress', async (t) => {
  const { download, hub, weights } = await scene(t, 3_000_000);
  hub.faults.push(cutting(weights, 1_000_000, 1));
  const reports: [number, Transfer][] = [];
  await download({ onProgress: (...report) => void reports.push(report) });
  const { total } = reports[0]![1];
  t.ok(total > 3_000_000 && total < 3_000_200, 'of all that is missing');
  let before = -1;
  for (const [fraction, { bytes, total, rate }] of reports) {
    t.equal(fraction, bytes / total);
    t.ok(fraction >= before && rate >= 0 && Number.isFinite(rate));
    before = fraction;
  }
  t.equal(before, 1);
  t.match(reports.at(-1)![1].file, 'model.safetensors');
  reports.length = 0;
  await download({ onProgress: (...report) => void reports.push(report) });
  t.same(reports, [], 'nothing is transferred');
});

t.test('a full disk', async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'mask-predict-'));
  t.teardown(() => rmSync(disk, { recursive: true }));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk]);
  if (status !== 0) return t.pass('no small disk can be made here');
  t.teardown(() => spawnSync('umount', ['-l', disk]));
  const { download, hub, weights } = await scene(t, 3_000_000);
  const full = { code: 'ERR_CACHE', message: /the disk of the cache .* is full: .*HF_HUB_CACHE/ };
  await t.rejects(download({ cache: disk }), full);
  t.same(cdn(hub), [], 'seen before anything is transferred');

  // It fills up while the file comes.
  writeFileSync(join(disk, 'other'), '');
  const own = await scene(t, 1_500_000);
  own.hub.faults.push(async ({ server }) => {
    if (server === 'cdn') writeFileSync(join(disk, 'other'), Buffer.alloc(1_200_000));
    return false;
  });
  await t.rejects(own.download({ cache: disk }), {
    ...full,
    message: /is full: it gave ENOSPC; free some space/,
  });
  unlinkSync(join(disk, 'other'));
  own.hub.faults.length = 0;
  const directory = await own.download({ cache: disk });
  t.same(readFileSync(join(directory, 'model.safetensors')), own.weights);
  t.match(cdn(own.hub).at(-1)?.range, /^bytes=\d+-$/, 'and goes on');
  t.equal(weights.length, 3_000_000);
});
