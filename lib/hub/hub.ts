/**
 * The hub's HTTP interface, as much of it as a download needs: the commit of a revision, the files of a commit, and the
 * content of a file from some byte on.
 *
 * Redirections are followed here and not by fetch, because the token must go to the hub's own address (scheme, host and
 * port) and nowhere else. No message shows the token or an address with its query, which may be signed.
 */
import { MaskPredictError, shown, type ErrorCode } from '../errors.js';
import { addEntries, type Listing } from './listing.js';
import { isCommit } from './cache.js';
import { Interruption } from './persistence.js';
import type { HubSettings } from './settings.js';

const redirections = 10;
const pages = 1000;
/** Bytes of an answer that is not a file. */
const longestAnswer = 2 ** 26;

/** Runs one step of a request, which fails where it takes too long. */
type Step = <T>(step: () => Promise<T>) => Promise<T>;

/** The head of an answer, and its body as it comes. */
export class Answer {
  readonly response: Response;
  readonly #step: Step;

  constructor(response: Response, step: Step) {
    this.response = response;
    this.#step = step;
  }

  /** Leaving it before its end closes the connection. */
  async *read(): AsyncGenerator<Uint8Array, void, void> {
    const chunks = this.response.body?.[Symbol.asyncIterator]();
    try {
      while (chunks) {
        const { done, value } = await this.#step(() => chunks.next());
        if (done) return;
        yield value;
      }
    } finally {
      await chunks?.return?.().catch(() => {});
    }
  }

  async discard(): Promise<void> {
    await this.response.body?.cancel().catch(() => {});
  }
}

export class Hub {
  readonly #settings: HubSettings;
  readonly #repository: string;
  readonly #signal: AbortSignal | undefined;

  constructor(settings: HubSettings, repository: string, signal: AbortSignal | undefined) {
    this.#settings = settings;
    this.#repository = repository;
    this.#signal = signal;
  }

  /** The commit that the revision is at now. */
  async commit(): Promise<string> {
    const { endpoint, revision } = this.#settings;
    const path = `/api/models/${this.#repository}/revision/${encodeURIComponent(revision)}`;
    const { json } = await this.#json(`${endpoint}${path}`);
    const commit = (json as { sha?: unknown } | null)?.sha;
    if (typeof commit === 'string' && isCommit(commit)) return commit;
    throw failure(
      'ERR_HUB_CONTENT',
      `its answer has no commit of ${revision}; is HF_ENDPOINT the address of a hub?`,
    );
  }

  /** All files of a commit. */
  async list(commit: string): Promise<Listing> {
    const { endpoint } = this.#settings;
    const files = new Map();
    let url: string | undefined =
      `${endpoint}/api/models/${this.#repository}/tree/${commit}?recursive=true&expand=false`;
    for (let page = 0; url !== undefined; ++page) {
      if (page === pages) throw failure('ERR_HUB_CONTENT', 'its list of files does not end');
      const { json, link } = await this.#json(url);
      addEntries(files, json);
      url = nextPage(link, url);
    }
    return files;
  }

  /** The content of a file of a commit from a byte on: status 206, or 200 and all of it, or 416. */
  file(commit: string, name: string, from: number): Promise<Answer> {
    const { endpoint, transferTimeout } = this.#settings;
    const path = name.split('/').map(encodeURIComponent).join('/');
    return this.#get(
      `${endpoint}/${this.#repository}/resolve/${commit}/${path}`,
      from > 0 ? { range: `bytes=${from}-` } : {},
      transferTimeout,
    );
  }

  async #json(url: string): Promise<{ json: unknown; link: string | null }> {
    const answer = await this.#get(
      url,
      { accept: 'application/json' },
      this.#settings.answerTimeout,
    );
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of answer.read()) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > longestAnswer) throw failure('ERR_HUB_CONTENT', 'its answer does not end');
    }
    try {
      const json = JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
      return { json, link: answer.response.headers.get('link') };
    } catch {
      throw failure(
        'ERR_HUB_CONTENT',
        'its answer is not JSON; is HF_ENDPOINT the address of a hub?',
      );
    }
  }

  async #get(start: string, headers: Record<string, string>, timeout: number): Promise<Answer> {
    let url = new URL(start);
    for (let hop = 0; hop <= redirections; ++hop) {
      const own = url.origin === new URL(this.#settings.endpoint).origin;
      const answer = await this.#request(url, headers, own, timeout);
      const { status } = answer.response;
      if (status < 300 || status === 416) return answer;
      await answer.discard();
      if (status >= 400) throw this.#refusal(answer.response, url, own);
      url = redirection(answer.response.headers.get('location'), url);
    }
    throw failure('ERR_HUB_CONTENT', `it redirects more than ${redirections} times`);
  }

  /** One request. `timeout` is for the head of the answer, and again for each piece of its body. */
  async #request(
    url: URL,
    headers: Record<string, string>,
    own: boolean,
    timeout: number,
  ): Promise<Answer> {
    const { token } = this.#settings;
    const stalled = new AbortController();
    const step: Step = async (work) => {
      const timer = setTimeout(() => stalled.abort(), timeout);
      try {
        return await work();
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (!stalled.signal.aborted) throw interruption(error, url);
        throw new Interruption(`${url.host} sends nothing for ${timeout / 1000} s`);
      } finally {
        clearTimeout(timer);
      }
    };
    const signals = [stalled.signal, ...(this.#signal ? [this.#signal] : [])];
    const request: RequestInit = {
      redirect: 'manual',
      signal: AbortSignal.any(signals),
      headers: {
        ...headers,
        'accept-encoding': 'identity', // so that bytes can be counted
        'user-agent': 'mask-predict',
        ...(own && token && { authorization: `Bearer ${token.value}` }),
      },
    };
    return new Answer(await step(() => fetch(url, request)), step);
  }

  /** The error for an answer with a status of 400 or more. */
  #refusal({ status, headers }: Response, url: URL, own: boolean): Error {
    if (status === 408 || status === 429 || status >= 500) {
      const pause = retryAfter(headers.get('retry-after'));
      const asked = pause === undefined ? '' : `, and asks to wait ${Math.ceil(pause / 1000)} s`;
      return new Interruption(`${url.host} answers with status ${status}${asked}`, { pause });
    }
    // The hub's own address gives another one, whose signature has not run out.
    if (!own) return new Interruption(`${url.host} answers with status ${status}`);
    const code = headers.get('x-error-code');
    if (code === 'GatedRepo') return this.#gated();
    if (status === 401 || status === 403) return this.#noAccess(status);
    if (status !== 404) {
      return failure('ERR_HUB_CONTENT', `it answers with status ${status}`);
    }
    return this.#notFound(code);
  }

  #gated(): Error {
    const { endpoint, token } = this.#settings;
    const asked = `ask for access at ${endpoint}/${this.#repository}`;
    return failure(
      'ERR_HUB_ACCESS',
      token
        ? `its authors let only some people in, and the token (of ${token.from}) is of none of them: ${asked}`
        : `its authors let only some people in: ${asked}, then give your token (the option token, HF_TOKEN)`,
    );
  }

  #noAccess(status: number): Error {
    const { token } = this.#settings;
    if (!token) {
      return failure(
        'ERR_HUB_ACCESS',
        'the hub shows no such model to callers without a token: check the name, or, if the model is private, ' +
          'give your token (the option token, HF_TOKEN)',
      );
    }
    return failure(
      'ERR_HUB_ACCESS',
      status === 401
        ? `the hub does not accept the token (of ${token.from}), or there is no such model: check both`
        : `the token (of ${token.from}) does not allow to read it: give one that does`,
    );
  }

  #notFound(code: string | null): Error {
    const { revision, token } = this.#settings;
    if (code === 'RevisionNotFound') {
      return failure('ERR_HUB_NOT_FOUND', `it has no revision ${shown(revision)}`);
    }
    if (code === 'EntryNotFound') {
      return failure('ERR_HUB_NOT_FOUND', 'the hub does not have a file that it lists');
    }
    const seen = token ? `with the token of ${token.from}` : 'without a token';
    return failure('ERR_HUB_NOT_FOUND', `the hub shows no such model ${seen}: check the name`);
  }
}

function failure(code: ErrorCode, message: string): MaskPredictError {
  return new MaskPredictError(code, message);
}

function interruption(error: unknown, url: URL): Interruption {
  const { message, cause } = error as Error & { cause?: Error & { code?: string } };
  const reason = cause?.code ?? cause?.message ?? message;
  return new Interruption(`the connection to ${url.host} failed (${reason})`, { cause: error });
}

/** Milliseconds of a Retry-After header, which has seconds or a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const until = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return Number.isFinite(until) ? Math.max(0, until) : undefined;
}

function redirection(location: string | null, from: URL): URL {
  const url =
    location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const allowed =
    url !== undefined &&
    (url.protocol === 'https:' || url.protocol === from.protocol) &&
    url.username === '' &&
    url.password === '';
  if (allowed) return url;
  throw failure('ERR_HUB_CONTENT', `${from.host} redirects to an address that is not taken`);
}

/** The address of the next page, of a Link header. It is asked with the token where it is the hub's own. */
function nextPage(link: string | null, current: string): string | undefined {
  const next = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link ?? '')?.[1];
  return next === undefined ? undefined : redirection(next, new URL(current)).href;
}
