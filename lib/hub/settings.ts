/**
 * The options of a download, completed by the environment variables of Python's huggingface_hub, so that both find the
 * same hub, the same cache and the same token: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_TOKEN_PATH,
 * HF_HUB_OFFLINE, HF_HUB_DISABLE_SYMLINKS, HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_ETAG_TIMEOUT and
 * HF_HUB_DOWNLOAD_TIMEOUT, and the older names TRANSFORMERS_OFFLINE, HUGGINGFACE_HUB_CACHE and HUGGING_FACE_HUB_TOKEN.
 *
 * No message shows the token, and none shows HF_ENDPOINT where a password could be in it.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { booleanOption, checkFunction, checkOptions, checkSignal } from '../options.js';
import type { Logger } from '../token/engine-options.js';
import { userCache } from '../user-cache.js';

/** How far a download is. Bytes are those of the files that were missing when it began. */
export interface Transfer {
  /** The file that is transferred now. */
  file: string;
  /** Bytes that are here, those of an earlier transfer that broke off included. */
  bytes: number;
  total: number;
  /** Bytes per second over the last few seconds. */
  rate: number;
}

/** How a model of the hub is found and fetched. A model that is a directory takes no `revision`. */
export interface HubOptions {
  /** A branch, tag or commit. Default: `'main'`. */
  revision?: string | undefined;
  /** The directory of the cache, which is the one of Python's huggingface_hub by default (HF_HUB_CACHE, HF_HOME). */
  cache?: string | undefined;
  /**
   * For private and gated models; `false` sends none. Default: HF_TOKEN, else the file that `hf auth login` leaves. It
   * goes to the hub's host and to no other.
   */
  token?: string | false | undefined;
  /** Takes what the cache has and asks nobody. Default: HF_HUB_OFFLINE. */
  offline?: boolean | undefined;
}

/** Options of {@link modelDirectory}. */
export interface ModelDirectoryOptions extends HubOptions {
  /** Called while files are transferred, about ten times a second. */
  onProgress?: ((fraction: number, transfer: Transfer) => void) | undefined;
  /** Is told where a cached revision is taken because the hub could not be reached. Default: silent. */
  logger?: Logger | undefined;
  /** Aborts. What is transferred already is kept, and the next call goes on from there. */
  signal?: AbortSignal | undefined;
}

/** @internal */
export const hubOptionNames = ['revision', 'cache', 'token', 'offline'];

/** @internal Everything a download needs to know, checked. Times are milliseconds. */
export interface HubSettings {
  /** Without a slash at its end. */
  endpoint: string;
  revision: string;
  /** Absolute. */
  cache: string;
  token: { value: string; from: string } | undefined;
  offline: boolean;
  /** False: files are copied into snapshots instead. */
  symlinks: boolean;
  /** Until the hub answers a question. */
  answerTimeout: number;
  /** Until the next bytes of a file. */
  transferTimeout: number;
  /** Before the first repetition of what failed; each further one takes twice as long. */
  pause: number;
}

type Environment = Record<string, string | undefined>;

/** @internal Throws `ERR_INVALID_ARGUMENT` for an option or variable that is wrong. */
export function readHubSettings(
  options: ModelDirectoryOptions,
  environment: Environment = process.env,
): HubSettings {
  checkOptions('modelDirectory()', options, [...hubOptionNames, 'onProgress', 'logger', 'signal']);
  checkFunction('onProgress', options.onProgress);
  checkFunction('logger', options.logger);
  checkSignal(options.signal);
  const home = homeOf(environment);
  const offline = isTrue(environment['HF_HUB_OFFLINE'] || environment['TRANSFORMERS_OFFLINE']);
  return {
    endpoint: readEndpoint(environment['HF_ENDPOINT'] || 'https://huggingface.co'),
    revision: readRevision(options.revision),
    cache: readCache(options.cache, home, environment),
    token: readToken(options.token, home, environment),
    offline: booleanOption('offline', options.offline, offline),
    symlinks: !isTrue(environment['HF_HUB_DISABLE_SYMLINKS']),
    answerTimeout: seconds('HF_HUB_ETAG_TIMEOUT', environment),
    transferTimeout: seconds('HF_HUB_DOWNLOAD_TIMEOUT', environment),
    pause: 500,
  };
}

function isTrue(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? '');
}

/** The directory of Hugging Face's programs. */
function homeOf(environment: Environment): string {
  const given = environment['HF_HOME'];
  if (given) return expanded(given, environment);
  return expanded(join(userCache(environment), 'huggingface'), environment);
}

/** `~` at the start is the home directory; `$NAME` and `${NAME}` are variables, where there are such. */
function expanded(path: string, environment: Environment): string {
  return withHome(path).replace(
    /\$(?:\{(\w+)\}|(\w+))/g,
    (whole, braced?: string, bare?: string) => environment[braced ?? bare ?? ''] ?? whole,
  );
}

function withHome(path: string): string {
  return path.replace(/^~(?=$|[/\\])/, homedir());
}

function readCache(option: unknown, home: string, environment: Environment): string {
  if (option !== undefined && (typeof option !== 'string' || option === '')) {
    throw invalidArgument(`cache must be the path of a directory, not ${shown(option)}`);
  }
  if (option !== undefined) return resolve(withHome(option));
  const given = environment['HF_HUB_CACHE'] || environment['HUGGINGFACE_HUB_CACHE'];
  return resolve(given ? expanded(given, environment) : join(home, 'hub'));
}

/** The commit, or a name that git allows for a branch or tag: such a name cannot leave the folder it is written to. */
function readRevision(option: unknown): string {
  if (option === undefined) return 'main';
  const allowed =
    typeof option === 'string' &&
    /^[^\s\p{Cc}~^:?*[\\]+$/u.test(option) &&
    option.split('/').every((part) => part !== '' && !part.startsWith('.')) &&
    !/\.\.|@\{|\.lock(\/|$)|\.$/.test(option);
  if (allowed) return option;
  throw invalidArgument(
    `revision must be the name of a branch or tag, or a commit, not ${shown(option)}`,
  );
}

function readEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search) {
    throw invalidArgument(
      'HF_ENDPOINT must be an address such as https://huggingface.co, without a user, a password or a question mark',
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function readToken(option: unknown, home: string, environment: Environment): HubSettings['token'] {
  if (option !== undefined && option !== false && typeof option !== 'string') {
    throw invalidArgument('token must be a string, or false for none');
  }
  if (option === false) return undefined;
  if (option !== undefined) return checkedToken(option, 'the option token');
  if (isTrue(environment['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const token = environment[name]?.trim();
    if (token) return checkedToken(token, name);
  }
  const path = environment['HF_TOKEN_PATH'];
  return tokenOfLogin(path ? expanded(path, environment) : join(home, 'token'));
}

function tokenOfLogin(file: string): HubSettings['token'] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    const reason = (cause as Error).message;
    throw new MaskPredictError(
      'ERR_CACHE',
      `the token that a login left cannot be read: ${reason}; token: false does without`,
      { cause },
    );
  }
  return text ? checkedToken(text, file) : undefined;
}

/** Anything that cannot be in a header would be shown by the error that fetch makes of it. */
function checkedToken(token: string, from: string): HubSettings['token'] {
  const value = token.trim();
  if (/^[\x21-\x7e]+$/.test(value)) return { value, from };
  throw invalidArgument(`${from} is not a token of the hub: it has characters that no token has`);
}

function seconds(name: string, environment: Environment): number {
  const text = environment[name]?.trim();
  if (!text) return 10_000;
  const value = Number(text);
  if (value > 0 && value <= 86_400) return 1000 * value;
  throw invalidArgument(`${name} must be a number of seconds above 0, not ${shown(text)}`);
}
