/**
 * Access control. There is no password, so a server that only this machine reaches must not be reachable through its
 * browser: a page whose name an attacker points to 127.0.0.1 sends that name as `Host` (DNS rebinding), and a page of
 * another site is not to start work. Pages that may ask are named (CORS).
 */
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from './errors.js';
import { isLoopback } from './listeners.js';

export interface Access {
  /** Origins whose pages may ask and read the answers: `https://app.example`, `null`, or `*` for all. */
  cors: readonly string[];
  /** Further names under which the server is asked, as by a proxy; lower case, without a port. */
  allowedHosts: readonly string[];
}

/** Seconds that a browser remembers the answer to a preflight. */
const remembered = 600;

/** `checksHost` is asked for every request: where a server listens is known later than what it does. */
export function guard(app: FastifyInstance, access: Access, checksHost: () => boolean): void {
  app.addHook('onRequest', (request, reply, done) => {
    checkHost(request, access, checksHost());
    const allowed = allowOrigin(request, reply, access);
    if (isPreflight(request)) return answerPreflight(request, reply, allowed);
    if (!allowed && isForeign(request)) throw foreignOrigin(request);
    done();
  });
}

function checkHost({ raw, socket }: FastifyRequest, access: Access, checked: boolean): void {
  const { host } = raw.headers;
  if (host === undefined) {
    if (raw.httpVersion === '1.0') return; // no browser
    throw new RequestError(400, 'ERR_INVALID_REQUEST', 'the request has no header Host');
  }
  if (!checked) return;
  const name = hostname(host);
  const known =
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    (isIP(name) > 0 && (isLoopback(name) || name === plainAddress(socket.localAddress))) ||
    access.allowedHosts.includes(name);
  if (known) return;
  throw new RequestError(
    403,
    'ERR_FORBIDDEN',
    `this server is not asked as '${name}': ask it as localhost, or start it with --allow-host ${name}`,
  );
}

/** The name or address of a header Host, without its port. */
function hostname(host: string): string {
  const [, address, other = host] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host) ?? [];
  const name = address ?? other;
  return name.toLowerCase().replace(/\.$/, '');
}

function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:/, '');
}

/** Lets a page of an allowed origin read the answer, whatever it will be; whether it may. */
function allowOrigin({ headers }: FastifyRequest, reply: FastifyReply, { cors }: Access): boolean {
  if (cors.length === 0) return false;
  const all = cors.includes('*');
  if (!all) reply.header('vary', 'origin');
  const { origin } = headers;
  if (origin === undefined || !(all || cors.includes(origin))) return false;
  reply.header('access-control-allow-origin', all ? '*' : origin);
  reply.header('access-control-expose-headers', 'retry-after');
  return true;
}

function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
}

function answerPreflight(request: FastifyRequest, reply: FastifyReply, allowed: boolean): void {
  if (!allowed) throw foreignOrigin(request);
  const headers = request.headers['access-control-request-headers'];
  reply.header('access-control-allow-methods', 'GET, POST');
  if (headers !== undefined) reply.header('access-control-allow-headers', headers);
  reply.header('access-control-max-age', remembered).code(204).send();
}

/** True if a browser says that a page of another site sends a POST request. */
function isForeign({ method, headers }: FastifyRequest): boolean {
  return method === 'POST' && headers['sec-fetch-site'] === 'cross-site';
}

function foreignOrigin({ headers: { origin } }: FastifyRequest): RequestError {
  const page = origin === undefined ? 'of another site' : `of ${origin}`;
  return new RequestError(
    403,
    'ERR_FORBIDDEN',
    `pages ${page} may not ask this server; it lets them with --cors ${origin ?? 'ORIGIN'}`,
  );
}
