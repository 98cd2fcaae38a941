/** Options and environment variables: those of Python's huggingface_hub, with its precedence. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import t from 'tap';
import { readHubSettings, type ModelDirectoryOptions } from '../../lib/hub/settings.js';

const directory = t.testdir({
  home: { token: 'hf_login\n' },
  'other-token': 'hf_other',
  empty: ' \n',
});
const home = join(directory, 'home');

function read(environment: Record<string, string> = {}, options: ModelDirectoryOptions = {}) {
  return readHubSettings(options, { HF_TOKEN_PATH: join(directory, 'none'), ...environment });
}

t.test('where the cache is', async (t) => {
  const cases: [Record<string, string>, string][] = [
    [{}, join(homedir(), '.cache/huggingface/hub')],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ HF_HOME: '~/hf', XDG_CACHE_HOME: '/x' }, join(homedir(), 'hf/hub')],
    [{ HF_HOME: '$BASE/${SUB}/$NONE', BASE: '/b', SUB: 's' }, '/b/s/$NONE/hub'],
    [{ HUGGINGFACE_HUB_CACHE: '/old', HF_HOME: '/h' }, '/old'],
    [{ HF_HUB_CACHE: '/new', HUGGINGFACE_HUB_CACHE: '/old' }, '/new'],
    [{ HF_HUB_CACHE: '', HF_HOME: '' }, join(homedir(), '.cache/huggingface/hub')],
  ];
  for (const [environment, cache] of cases) t.equal(read(environment).cache, cache);
  t.equal(read({ HF_HUB_CACHE: '/new' }, { cache: '/option' }).cache, '/option');
  t.equal(read({}, { cache: '~/c' }).cache, join(homedir(), 'c'));
});

t.test('which token is sent', async (t) => {
  const token = (environment: Record<string, string>, options: ModelDirectoryOptions = {}) =>
    readHubSettings(options, { HF_HOME: home, ...environment }).token?.value;
  t.equal(token({}), 'hf_login', 'the file of a login');
  t.equal(token({ HF_TOKEN_PATH: join(directory, 'other-token') }), 'hf_other');
  t.equal(token({ HF_TOKEN_PATH: join(directory, 'none') }), undefined);
  t.equal(token({ HF_TOKEN_PATH: join(directory, 'empty') }), undefined);
  t.equal(token({ HUGGING_FACE_HUB_TOKEN: 'hf_old' }), 'hf_old');
  t.equal(token({ HF_TOKEN: ' hf_new\n', HUGGING_FACE_HUB_TOKEN: 'hf_old' }), 'hf_new');
  t.equal(token({ HF_TOKEN: 'hf_new' }, { token: 'hf_option' }), 'hf_option');
  t.equal(token({ HF_TOKEN: 'hf_new' }, { token: false }), undefined);
  t.equal(token({ HF_TOKEN: 'hf_new', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }), undefined);
  t.throws(() => token({ HF_TOKEN_PATH: directory }), { code: 'ERR_CACHE', message: /login/ });
});

t.test('the rest', async (t) => {
  t.match(read(), { endpoint: 'https://huggingface.co', revision: 'main', offline: false });
  t.match(read(), { symlinks: true, answerTimeout: 10_000, transferTimeout: 10_000 });
  t.equal(
    read({ HF_ENDPOINT: 'https://mirror.example/hf//' }).endpoint,
    'https://mirror.example/hf',
  );
  for (const yes of ['1', 'true', 'YES', 'on'])
    t.equal(read({ HF_HUB_OFFLINE: yes }).offline, true);
  t.equal(read({ TRANSFORMERS_OFFLINE: '1' }).offline, true);
  t.equal(read({ HF_HUB_OFFLINE: '0' }).offline, false);
  t.equal(read({ HF_HUB_OFFLINE: '1' }, { offline: false }).offline, false);
  t.equal(read({ HF_HUB_DISABLE_SYMLINKS: '1' }).symlinks, false);
  t.equal(read({ HF_HUB_DOWNLOAD_TIMEOUT: '0.5' }).transferTimeout, 500);
  t.equal(read({ HF_HUB_ETAG_TIMEOUT: '3' }).answerTimeout, 3000);
  for (const revision of ['v1.0', 'refs/pr/1', 'a-b_c', 'ä', '0123456789'.repeat(4)]) {
    t.equal(read({}, { revision }).revision, revision);
  }
});

t.test('what is wrong is an error that names it, and shows no secret', async (t) => {
  const wrong = (message: RegExp, options: object, environment: Record<string, string> = {}) => {
    try {
      read(environment, options);
      t.fail(`${inspect(options)} ${inspect(environment)}`);
    } catch (error) {
      t.match(error, { code: 'ERR_INVALID_ARGUMENT', message });
      t.notMatch(inspect(error), /secret/);
    }
  };
  wrong(/no option 'revison'/, { revison: 'main' });
  for (const revision of [
    '',
    '../x',
    'a/../b',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a/.b',
    'a b',
    'a\\b',
    'a:b',
    5,
  ]) {
    wrong(/revision must be/, { revision });
  }
  for (const revision of ['a\0', 'a..b', 'a.lock', 'a.lock/b', 'a@{1}', 'a*', 'a.']) {
    wrong(/revision must be/, { revision });
  }
  wrong(/cache must be/, { cache: '' });
  wrong(/cache must be/, { cache: 1 });
  wrong(/offline must be/, { offline: 'yes' });
  wrong(/signal must be/, { signal: 1 });
  wrong(/onProgress must be/, { onProgress: 1 });
  wrong(/token must be a string/, { token: 1 });
  wrong(/the option token is not a token/, { token: 'secret\nx-evil: 1' });
  wrong(/the option token is not a token/, { token: 'secret ä' });
  wrong(/the option token is not a token/, { token: '' });
  wrong(/HF_TOKEN is not a token/, {}, { HF_TOKEN: 'sec ret' });
  wrong(/HF_ENDPOINT must be/, {}, { HF_ENDPOINT: 'ftp://x' });
  wrong(/HF_ENDPOINT must be/, {}, { HF_ENDPOINT: 'https://me:secret@x' });
  wrong(/HF_ENDPOINT must be/, {}, { HF_ENDPOINT: 'https://x?key=secret' });
  wrong(/HF_ENDPOINT must be/, {}, { HF_ENDPOINT: 'x' });
  wrong(/HF_HUB_DOWNLOAD_TIMEOUT must be/, {}, { HF_HUB_DOWNLOAD_TIMEOUT: 'soon' });
  wrong(/HF_HUB_ETAG_TIMEOUT must be/, {}, { HF_HUB_ETAG_TIMEOUT: '0' });
});
