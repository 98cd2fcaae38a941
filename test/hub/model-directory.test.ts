/** Which files come into the cache, in which layout, and when the hub is asked. */
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, sep } from 'node:path';
import t from 'tap';
import { contents, folder, repository, scene, type Scene } from './downloads.js';
import { gitHash, refuse, sha256 } from './test-hub.js';

const needed = [
  '1_Pooling/config.json',
  'config.json',
  'model.safetensors',
  'modules.json',
  'sentencepiece.bpe.model',
];

t.test('only what is needed comes, in the layout of huggingface_hub', async (t) => {
  const { cache, commit, download, hub, names, weights } = await scene(t);
  const directory = await download();
  t.equal(directory, join(cache, folder, 'snapshots', commit));
  t.same(Object.keys(contents(directory)).sort(), needed);
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  const hash = sha256(weights);
  t.equal(readlinkSync(join(directory, 'model.safetensors')), join('..', '..', 'blobs', hash));
  const pooling = gitHash(Buffer.from('{"pooling_mode_mean_tokens": true}'));
  t.equal(
    readlinkSync(join(directory, '1_Pooling', 'config.json')),
    join('..', '..', '..', 'blobs', pooling),
  );
  t.same(names(), ['blobs', 'refs', 'snapshots', 'trees']);
  t.equal(names('blobs').length, needed.length);
  t.ok(names('blobs').includes(hash) && names('blobs').includes(pooling));
  t.equal(readFileSync(join(cache, folder, 'refs', 'main'), 'utf8'), commit);
  const tree = JSON.parse(readFileSync(join(cache, folder, 'trees', `${commit}.json`), 'utf8'));
  t.match(tree, {
    format_version: 1,
    files: {
      'README.md': { size: 9, blob_id: gitHash(Buffer.from('# A model')) },
      'model.safetensors': { size: weights.length, lfs_sha256: hash, lfs_size: weights.length },
    },
  });
  t.equal(hub.paths('cdn').length, 1, 'one large file');
  t.same(
    hub.paths('hub').filter((path) => /README|bin|onnx|tokenizer\.json/.test(path)),
    [],
  );
});

t.test('what is cached is not asked for again', async (t) => {
  const { commit, download, hub } = await scene(t);
  const directory = await download();
  hub.asked.length = 0;
  t.equal(await download(), directory);
  t.same(hub.paths('hub'), [`/api/models/${repository}/revision/main`], 'where the branch is');
  hub.asked.length = 0;
  t.equal(await download({ revision: commit }), directory);
  t.equal(await download({ offline: true }), directory);
  t.equal(await download({}, { HF_HUB_OFFLINE: '1' }), directory);
  t.same(hub.asked, [], 'a commit and offline need no network');
});

t.test('a branch that moves brings only what is new', async (t) => {
  const { cache, commit, download, hub, names, weights } = await scene(t);
  await download();
  const files = { 'config.json': '{"new": 1}', 'model.safetensors': weights };
  const next = hub.commit(repository, files, ['model.safetensors']);
  hub.asked.length = 0;
  const directory = await download();
  t.equal(directory, join(cache, folder, 'snapshots', next));
  t.same(Object.keys(contents(directory)).sort(), ['config.json', 'model.safetensors']);
  t.same(hub.paths('cdn'), [], 'the weights are the same');
  t.equal(readFileSync(join(cache, folder, 'refs', 'main'), 'utf8'), next);
  t.same(names('snapshots'), [commit, next].sort());
});

t.test('revisions: a tag, a name with slashes, a commit', async (t) => {
  const { cache, commit, download, hub } = await scene(t);
  const files = { 'config.json': '{}', 'model.safetensors': 'w' };
  const pull = hub.commit(repository, files, [], 'refs/pr/1');
  t.match(await download({ revision: 'refs/pr/1' }), pull);
  t.equal(readFileSync(join(cache, folder, 'refs', 'refs', 'pr', '1'), 'utf8'), pull);
  t.match(await download({ revision: commit }), commit);
  t.match(await download({ revision: 'refs/pr/1', offline: true }), pull);
  await t.rejects(download({ revision: 'v9' }), {
    code: 'ERR_HUB_NOT_FOUND',
    message:
      /there is no directory owner\/some-model_1\.0; and as a model of http.*no revision "v9"/,
  });
});

t.test(
  'without a network the cached commit of a branch is taken, and a warning says so',
  async (t) => {
    const { download, hub } = await scene(t);
    const directory = await download();
    const busy = (_: unknown, response: import('node:http').ServerResponse) => {
      response.writeHead(503).end();
      return true;
    };
    for (const stop of [() => void hub.faults.push(busy), () => hub.stop()]) {
      await stop();
      const warnings: string[] = [];
      t.equal(
        await download({ logger: (level, message) => warnings.push(`${level} ${message}`) }),
        directory,
      );
      t.equal(warnings.length, 1);
      t.match(
        warnings[0],
        /^warn .*(status 503|ECONNREFUSED).*the cached commit \w{40} of main is taken/,
      );
    }
  },
);

t.test('with nothing in the cache the error says both readings and the way out', async (t) => {
  const { cache, download, hub } = await scene(t);
  const both = /^there is no directory owner\/some-model_1\.0; and as a model of /;
  for (const options of [{ offline: true }, { offline: true, revision: 'a'.repeat(40) }]) {
    const error = await download(options).catch((reason: unknown) => reason as Error);
    t.match(error, { code: 'ERR_HUB_UNREACHABLE', message: both });
    t.match((error as Error).message, `the cache ${cache} has nothing of`, 'names the cache');
    t.match((error as Error).message, /HF_HUB_OFFLINE/);
  }
  t.same(hub.asked, []);
  await hub.stop();
  const error = await download().catch((reason: unknown) => reason as Error);
  t.match(error, { code: 'ERR_HUB_UNREACHABLE', message: both });
  t.match((error as Error).message, /ECONNREFUSED.*try again/);
});

t.test('a snapshot that is not whole is not taken offline, and completed otherwise', async (t) => {
  const { commit, download, hub } = await scene(t);
  const directory = await download();
  const file = join(directory, 'model.safetensors');
  const damages = {
    'the name is gone': () => rmSync(file),
    'the content is gone': () => rmSync(join(directory, readlinkSync(file))),
    'the content is too short': () => truncateSync(file, 10),
  };
  for (const [name, damage] of Object.entries(damages)) {
    damage();
    for (const revision of ['main', commit]) {
      await t.rejects(download({ offline: true, revision }), {
        code: 'ERR_HUB_UNREACHABLE',
        message: /has not all of its revision/,
      });
    }
    hub.asked.length = 0;
    t.equal(await download({ revision: commit }), directory, name);
    t.equal(hub.paths('cdn').length, name === 'the name is gone' ? 0 : 1);
    t.equal(lstatSync(file).isSymbolicLink(), true);
    t.equal(sha256(readFileSync(file)), readlinkSync(file).split(sep).at(-1));
  }
});

/** As Python's library leaves a model: files one by one, and no list of what else there is. */
function cachedByPython({ cache, commit }: Scene, files: Record<string, string>): string {
  const directory = join(cache, folder, 'snapshots', commit);
  for (const [name, text] of Object.entries(files)) {
    const blob = join(cache, folder, 'blobs', createHash('sha1').update(text).digest('hex'));
    mkdirSync(dirname(blob), { recursive: true });
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(blob, text);
    symlinkSync(blob, join(directory, name));
  }
  mkdirSync(join(cache, folder, 'refs'), { recursive: true });
  writeFileSync(join(cache, folder, 'refs', 'main'), commit);
  return directory;
}

t.test('what Python has cached is taken without a list of its files', async (t) => {
  const own = await scene(t);
  const files = { 'config.json': '{}', 'model.safetensors': 'weights' };
  const directory = cachedByPython(own, files);
  t.equal(await own.download({ offline: true }), directory);
  await own.hub.stop();
  t.equal(await own.download(), directory, 'and without a network');
  t.equal(await own.download({ revision: own.commit }), directory);

  const sharded = await scene(t);
  const index = JSON.stringify({ weight_map: { a: 'one.safetensors', b: 'two.safetensors' } });
  const partly = {
    'config.json': '{}',
    'model.safetensors.index.json': index,
    'one.safetensors': '1',
  };
  cachedByPython(sharded, partly);
  await t.rejects(sharded.download({ offline: true }), { message: /has not all of/ });
  const whole = cachedByPython(sharded, { 'two.safetensors': '2' });
  t.equal(await sharded.download({ offline: true }), whole);
});

t.test('with a network, what is missing beside the files of Python is fetched', async (t) => {
  const own = await scene(t);
  const { commit, download, hub, weights } = own;
  const files = { 'config.json': '{"model_type": "xlm-roberta"}' };
  const directory = cachedByPython(own, files);
  t.equal(await download({ revision: commit }), directory);
  t.same(Object.keys(contents(directory)).sort(), needed);
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  t.notOk(
    hub.paths('hub').some((path) => path.endsWith('/config.json') && !path.includes('Pooling')),
  );
});

t.test('shards: those that the index names', async (t) => {
  const { download, hub } = await scene(t);
  const index = (name: string) =>
    JSON.stringify({ weight_map: { a: `${name}-2`, b: `${name}-1`, c: `${name}-2` } });
  const files = {
    'config.json': '{}',
    'sentencepiece.bpe.model': 'pieces',
    'model.safetensors.index.json': index('sub/model'),
    'sub/model-1': 'one',
    'sub/model-2': 'two',
    'sub/model-3': 'three',
    'pytorch_model.bin.index.json': index('torch'),
    'torch-1': 'one',
    'torch-2': 'two',
  };
  hub.commit(repository, files, ['sub/model-1', 'sub/model-2'], 'sharded');
  const names = Object.keys(contents(await download({ revision: 'sharded' }))).sort();
  t.same(names, [
    'config.json',
    'model.safetensors.index.json',
    'sentencepiece.bpe.model',
    'sub/model-1',
    'sub/model-2',
  ]);
  t.match(await download({ revision: 'sharded', offline: true }), /snapshots/);

  const { 'model.safetensors.index.json': _, ...torch } = files;
  hub.commit(repository, torch, [], 'torch');
  const torchNames = Object.keys(contents(await download({ revision: 'torch' }))).sort();
  const shards = ['pytorch_model.bin.index.json', 'sentencepiece.bpe.model', 'torch-1', 'torch-2'];
  t.same(torchNames, ['config.json', ...shards], 'PyTorch only where there are no safetensors');

  hub.commit(repository, { ...files, 'model.safetensors.index.json': index('gone') }, [], 'gone');
  await t.rejects(download({ revision: 'gone' }), {
    code: 'ERR_MODEL_FORMAT',
    message: /gone-1, which/,
  });
  hub.commit(repository, { ...files, 'model.safetensors.index.json': '[' }, [], 'damaged');
  await t.rejects(download({ revision: 'damaged' }), {
    code: 'ERR_MODEL_FORMAT',
    message: /weight_map/,
  });
});

t.test('a tokenizer without SentencePiece, and weights of PyTorch', async (t) => {
  const { download, hub } = await scene(t);
  const files = {
    'config.json': '{}',
    'tokenizer.json': '{}',
    'tokenizer_config.json': '{}',
    'vocab.txt': '',
    'pytorch_model.bin': 'torch',
    'flax_model.msgpack': 'flax',
  };
  hub.commit(repository, files, [], 'torch');
  t.same(Object.keys(contents(await download({ revision: 'torch' }))).sort(), [
    'config.json',
    'pytorch_model.bin',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
});

t.test('a repository that is no model', async (t) => {
  const { download, hub, names } = await scene(t);
  const cases: [Record<string, string>, RegExp][] = [
    [{ 'README.md': '', 'a.gguf': '' }, /no config\.json.*it has README\.md, a\.gguf/],
    [
      { 'config.json': '{}', 'flax_model.msgpack': '' },
      /no model\.safetensors or pytorch_model\.bin/,
    ],
    [{}, /it has no files at all/],
  ];
  for (const [files, message] of cases) {
    hub.commit(repository, files, [], 'other');
    await t.rejects(download({ revision: 'other' }), { code: 'ERR_MODEL_FORMAT', message });
  }
  t.same(names(), [], 'nothing was written');
});

t.test('file names of the hub cannot leave the snapshot', async (t) => {
  const { cache, download, hub, names } = await scene(t);
  for (const name of [
    '../../../../escaped',
    '/tmp/escaped',
    'a/../../escaped',
    '..\\escaped',
    'C:escaped',
    'a//escaped',
    './escaped',
    'a\0',
    '',
  ]) {
    const index = JSON.stringify({ weight_map: { a: name } });
    const files = { 'config.json': '{}', 'model.safetensors.index.json': index, [name]: 'evil' };
    hub.commit(repository, files, [], 'evil');
    await t.rejects(
      download({ revision: 'evil' }),
      { code: 'ERR_HUB_CONTENT', message: /may lie outside the model/ },
      JSON.stringify(name),
    );
  }
  const all = Object.keys(contents(dirname(cache)));
  t.same(
    all.filter((name) => name.includes('escaped')),
    [],
  );
  t.same(names('refs'), []);
});

t.test('an answer that makes no sense is refused before anything is written', async (t) => {
  const { download, hub, names } = await scene(t);
  const file = { type: 'file', path: 'config.json', size: 1, oid: 'a'.repeat(40) };
  const answers: [RegExp, string][] = [
    [/\/revision\//, '{"sha": "../../x"}'],
    [/\/revision\//, 'null'],
    [/\/revision\//, '<html>'],
    [/\/tree\//, '{}'],
    [/\/tree\//, JSON.stringify([{ ...file, oid: '../../../x' }])],
    [/\/tree\//, JSON.stringify([{ ...file, size: -1 }])],
    [/\/tree\//, JSON.stringify([{ ...file, path: 5 }])],
    [/\/tree\//, JSON.stringify([{ ...file, lfs: { oid: '../x', size: 1 } }])],
  ];
  for (const [path, text] of answers) {
    hub.faults[0] = ({ url }, response) => path.test(url) && !!response.end(text);
    await t.rejects(download(), { code: 'ERR_HUB_CONTENT', message: /HF_ENDPOINT/ }, text);
  }
  t.same(names(), []);
});

t.test('a listing of several pages; pages elsewhere get no token', async (t) => {
  const { download, hub } = await scene(t);
  hub.pageSize = 2;
  t.same(Object.keys(contents(await download())).sort(), needed);
  t.equal(hub.paths('hub').filter((path) => path.includes('/tree/')).length, 5);
});

t.test('access: what is refused, and what to do', async (t) => {
  const { download, hub } = await scene(t);
  const refusing = (status: number, code: string) => {
    hub.faults[0] = (_, response) => {
      refuse(response, status, code);
      return true;
    };
  };
  const token = 'hf_secret';
  const cases: [number, string, string, RegExp, RegExp][] = [
    [
      401,
      'RepoNotFound',
      'ERR_HUB_ACCESS',
      /without a token: check the name/,
      /does not accept the token \(of the option token\)/,
    ],
    [
      403,
      '',
      'ERR_HUB_ACCESS',
      /without a token/,
      /the token \(of the option token\) does not allow/,
    ],
    [
      403,
      'GatedRepo',
      'ERR_HUB_ACCESS',
      /ask for access at http\S+\/owner\/some-model_1\.0, then give your token/,
      /is of none of them: ask for access/,
    ],
    [401, 'GatedRepo', 'ERR_HUB_ACCESS', /ask for access/, /ask for access/],
    [
      404,
      'RepoNotFound',
      'ERR_HUB_NOT_FOUND',
      /no such model without a token/,
      /no such model with the token of the option token/,
    ],
    [404, 'EntryNotFound', 'ERR_HUB_NOT_FOUND', /does not have a file/, /does not have a file/],
    [418, '', 'ERR_HUB_CONTENT', /status 418/, /status 418/],
  ];
  for (const [status, name, code, without, withToken] of cases) {
    refusing(status, name);
    await t.rejects(download(), { code, message: without });
    await t.rejects(download({ token }), { code, message: withToken });
  }
  hub.faults.length = 0;
  await download();
  refusing(401, 'RepoNotFound');
  await t.rejects(download(), {
    message: /the cache has its commit \w{40}, which is taken offline/,
  });
});

t.test('a cache that cannot be written', async (t) => {
  const { cache, commit, download } = await scene(t);
  mkdirSync(dirname(cache), { recursive: true });
  writeFileSync(cache, 'a file');
  const error = await download().catch((reason: unknown) => reason as Error);
  t.match(error, { code: 'ERR_CACHE', message: /cannot be written: .*HF_HUB_CACHE/ });
  t.match((error as Error).message, cache);
  rmSync(cache);

  const directory = await download();
  rmSync(join(cache, folder, 'trees'), { recursive: true });
  rmSync(join(cache, folder, 'refs'), { recursive: true });
  writeFileSync(join(cache, folder, 'trees'), 'in the way');
  writeFileSync(join(cache, folder, 'refs'), 'in the way');
  const warnings: string[] = [];
  const logger = (_: string, message: string) => void warnings.push(message);
  t.equal(await download({ logger }), directory, 'what is there is taken');
  t.match(warnings, [/cannot be written/]);
  t.equal(await download({ revision: commit, logger }), directory);
});

t.test('without links, snapshots have the files', async (t) => {
  const { commit, download, hub, names, weights } = await scene(t);
  const environment = { HF_HUB_DISABLE_SYMLINKS: '1' };
  const directory = await download({}, environment);
  const file = join(directory, 'model.safetensors');
  t.equal(lstatSync(file).isFile(), true);
  t.equal(contents(directory)['model.safetensors'], weights.toString('latin1'));
  t.same(names('blobs'), [], 'once on the disk');
  hub.asked.length = 0;
  t.equal(await download({ revision: commit }, environment), directory);
  t.equal(await download({ revision: commit }), directory, 'with links too');
  t.same(hub.asked, []);

  const shared = await scene(t);
  await shared.download();
  const next = shared.hub.commit(
    repository,
    { 'config.json': '{}', 'model.safetensors': shared.weights },
    ['model.safetensors'],
  );
  const copied = await shared.download({ revision: next }, environment);
  t.equal(lstatSync(join(copied, 'model.safetensors')).isFile(), true);
  t.ok(
    shared.names('blobs').includes(sha256(shared.weights)),
    'the content of other snapshots stays',
  );
  t.equal(shared.hub.paths('cdn').length, 1);
});

t.test('a list of files that cannot be read is asked for again', async (t) => {
  const { cache, commit, download, hub } = await scene(t);
  const directory = await download();
  const tree = join(cache, folder, 'trees', `${commit}.json`);
  for (const text of [
    '',
    '{}',
    '{"format_version": 2, "files": {}}',
    '{"format_version": 1, "files": {"config.json": 1}}',
  ]) {
    writeFileSync(tree, text);
    hub.asked.length = 0;
    t.equal(await download({ revision: commit }), directory);
    t.equal(hub.asked.length, 1, text);
    t.match(JSON.parse(readFileSync(tree, 'utf8')), {
      format_version: 1,
      files: { 'config.json': {} },
    });
  }
});
