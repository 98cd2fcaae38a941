/**
 * Errors of a connection without a request that a route could answer: a request line that is none, headers that are too
 * long, a request that never ends. The answer is `{ error, code }` too, written to the connection itself, which then
 * ends.
 */
import { maxHeaderSize, STATUS_CODES, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { errorBody, RequestError } from './errors.js';

/** Milliseconds that a client has to read the answer before the connection is cut. */
const farewell = 1000;

export function answerConnectionErrors(server: Server): void {
  const answers = new WeakMap<Duplex, Set<ServerResponse>>();
  const ending = new WeakSet<Duplex>();

  server.on('request', ({ socket }, response) => {
    const open = answers.get(socket) ?? new Set();
    answers.set(socket, open.add(response));
    response.once('close', () => open.delete(response));
  });

  function end(socket: Duplex, error: RequestError): void {
    // Data that still arrives on a connection that ends causes the error again.
    if (ending.has(socket)) return;
    ending.add(socket);
    const begun = [...(answers.get(socket) ?? [])].some(({ headersSent }) => headersSent);
    // In the midst of an answer another one would look like a part of it.
    if (!socket.writable || begun) return void socket.destroy();
    socket.end(rawAnswer(error));
    // Not at once: cutting a connection with bytes that were not read makes the client lose the answer.
    setTimeout(() => socket.destroy(), farewell).unref();
  }

  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (error.code === 'ECONNRESET') socket.destroy();
    else end(socket, connectionError(error, server));
  });
  server.on('checkExpectation', (request, response: ServerResponse) => {
    const error = invalidRequest(
      417,
      `this server does not do 'expect: ${request.headers.expect}'`,
    );
    const body = errorBody(error);
    response.writeHead(417, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    });
    response.end(body);
  });
  server.on('connect', (_request, socket) => {
    socket.on('error', () => {});
    end(socket, invalidRequest(405, 'this server is no proxy: it does not do CONNECT'));
  });
}

function connectionError(error: NodeJS.ErrnoException, server: Server): RequestError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new RequestError(
        431,
        'ERR_LIMIT',
        `the headers may have ${maxHeaderSize} bytes at most`,
      );
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new RequestError(413, 'ERR_LIMIT', 'the chunk extensions of the body are too long');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestError(
        408,
        'ERR_TIMEOUT',
        `the request did not arrive within ${server.requestTimeout / 1000} s; send it again`,
      );
    default: {
      const { reason = error.message } = error as { reason?: string };
      return invalidRequest(400, `this is not a valid HTTP/1.1 request: ${reason}`);
    }
  }
}

function invalidRequest(status: number, message: string): RequestError {
  return new RequestError(status, 'ERR_INVALID_REQUEST', message);
}

function rawAnswer(error: RequestError): string {
  const body = errorBody(error);
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
    '',
    body,
  ].join('\r\n');
}
