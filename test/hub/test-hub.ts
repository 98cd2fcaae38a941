/**
 * A small hub on loopback, with a second server on another port that has the large files, as the hub's CDN does. It keeps
 * what it was asked, and a test can step in before any answer.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

interface StoredFile {
  content: Buffer;
  large: boolean;
}

interface Commit {
  commit: string;
  files: Map<string, StoredFile>;
}

export interface Asked {
  server: 'hub' | 'cdn';
  /** Path and query. */
  url: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** Answers a request itself and returns true, or lets the hub answer. */
export type Fault = (asked: Asked, response: ServerResponse) => boolean | Promise<boolean>;

export class TestHub {
  readonly asked: Asked[] = [];
  /** Before every answer, in this order, until one says true. */
  readonly faults: Fault[] = [];
  /** Entries per page of a listing. */
  pageSize = 1000;
  readonly #servers: Record<Asked['server'], Server>;
  readonly #commits = new Map<string, Commit[]>();
  readonly #refs = new Map<string, string>();

  private constructor() {
    const serve = (server: Asked['server']) =>
      createServer((request, response) => void this.#answer(server, request, response));
    this.#servers = { hub: serve('hub'), cdn: serve('cdn') };
  }

  static async start(t: Test): Promise<TestHub> {
    const hub = new TestHub();
    for (const server of Object.values(hub.#servers)) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    t.teardown(() => hub.stop());
    return hub;
  }

  get url(): string {
    return this.#url('hub');
  }

  /** Nobody answers any more. */
  async stop(): Promise<void> {
    for (const server of Object.values(this.#servers)) {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Adds a commit, to which `revision` points from now on. Files of `large` are kept as LFS keeps them. */
  commit(
    repository: string,
    files: Record<string, string | Buffer>,
    large: string[] = [],
    revision = 'main',
  ): string {
    const stored = new Map<string, StoredFile>();
    for (const [name, content] of Object.entries(files)) {
      stored.set(name, { content: Buffer.from(content), large: large.includes(name) });
    }
    const commits = this.#commits.get(repository) ?? [];
    const commit = createHash('sha1').update(`${repository} ${commits.length}`).digest('hex');
    this.#commits.set(repository, [...commits, { commit, files: stored }]);
    this.#refs.set(`${repository}@${revision}`, commit);
    return commit;
  }

  /** The paths that a server was asked for, without queries. */
  paths(server: Asked['server']): string[] {
    return this.asked
      .filter((asked) => asked.server === server)
      .map(({ url }) => url.split('?')[0]!);
  }

  #url(server: Asked['server']): string {
    return `http://127.0.0.1:${(this.#servers[server].address() as AddressInfo).port}`;
  }

  async #answer(server: Asked['server'], request: IncomingMessage, response: ServerResponse) {
    const { authorization, range } = request.headers;
    const asked: Asked = { server, url: request.url!, authorization, range };
    this.asked.push(asked);
    for (const fault of this.faults) if (await fault(asked, response)) return;
    const url = new URL(asked.url, 'http://hub');
    if (server === 'cdn') this.#answerBlob(url, range, response);
    else if (url.pathname.startsWith('/api/models/')) this.#answerQuestion(url, response);
    else this.#answerFile(url, range, response);
  }

  #answerQuestion(url: URL, response: ServerResponse): void {
    const [owner, name, kind, ...rest] = url.pathname.slice('/api/models/'.length).split('/');
    const repository = `${owner}/${name}`;
    const commits = this.#commits.get(repository);
    if (!commits) return refuse(response, 401, 'RepoNotFound');
    const revision = decodeURIComponent(rest.join('/'));
    const sha = this.#refs.get(`${repository}@${revision}`) ?? revision;
    const found = commits.find(({ commit }) => commit === sha);
    if (!found) return refuse(response, 404, 'RevisionNotFound');
    if (kind === 'revision') return sendJson(response, { id: repository, sha });
    const entries = [...found.files].map(([path, { content, large }]) => ({
      type: 'file',
      path,
      size: content.length,
      oid: gitHash(large ? Buffer.from(`pointer to ${sha256(content)}`) : content),
      ...(large && { lfs: { oid: sha256(content), size: content.length, pointerSize: 134 } }),
    }));
    const from = Number(url.searchParams.get('cursor') ?? 0);
    if (from + this.pageSize < entries.length + 1) {
      url.searchParams.set('cursor', String(from + this.pageSize));
      response.setHeader('link', `<${this.url}${url.pathname}${url.search}>; rel="next"`);
    }
    sendJson(response, [
      ...(from === 0 ? [{ type: 'directory', path: 'folder', oid: gitHash(Buffer.of()) }] : []),
      ...entries.slice(from, from + this.pageSize),
    ]);
  }

  #answerFile(url: URL, range: string | undefined, response: ServerResponse): void {
    const [owner, name, , commit, ...rest] = url.pathname.slice(1).split('/');
    const commits = this.#commits.get(`${owner}/${name}`) ?? [];
    const path = rest.map(decodeURIComponent).join('/');
    const file = commits.find((found) => found.commit === commit)?.files.get(path);
    if (!file) return refuse(response, 404, 'EntryNotFound');
    response.setHeader('x-repo-commit', commit!);
    if (!file.large) {
      response.setHeader('etag', `"${gitHash(file.content)}"`);
      return sendContent(response, file.content, range);
    }
    response.setHeader('x-linked-etag', `"${sha256(file.content)}"`);
    response.setHeader('x-linked-size', file.content.length);
    const location = `${this.#url('cdn')}/blob/${sha256(file.content)}?signature=sesame`;
    response.writeHead(302, { location }).end();
  }

  #answerBlob(url: URL, range: string | undefined, response: ServerResponse): void {
    const hash = url.pathname.slice('/blob/'.length);
    const files = [...this.#commits.values()].flat().flatMap(({ files }) => [...files.values()]);
    const file = files.find(({ content, large }) => large && sha256(content) === hash);
    if (!file || url.search !== '?signature=sesame') return void response.writeHead(403).end();
    sendContent(response, file.content, range);
  }
}

export function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** The hash that `git hash-object` prints. */
export function gitHash(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

export function sendContent(response: ServerResponse, content: Buffer, range?: string): void {
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  if (from === 0) {
    response.writeHead(200, { 'content-length': content.length }).end(content);
  } else if (from >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
  } else {
    const last = content.length - 1;
    const headers = {
      'content-length': content.length - from,
      'content-range': `bytes ${from}-${last}/${content.length}`,
    };
    response.writeHead(206, headers).end(content.subarray(from));
  }
}

export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'x-error-code': code }).end();
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
}

/**
 * Cuts the connection after so many bytes of each of the first `times` answers of the CDN, which otherwise go on where
 * they are asked to.
 */
export function cutting(content: Buffer, bytes: number, times: number): Fault {
  let left = times;
  return ({ server, range }, response) => {
    if (server !== 'cdn' || left === 0) return false;
    left -= 1;
    const from = Number(/\d+/.exec(range ?? '')?.[0] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': content.length - from,
      ...(from > 0 && {
        'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
      }),
    });
    response.write(content.subarray(from, from + bytes), () => response.destroy());
    return true;
  };
}
