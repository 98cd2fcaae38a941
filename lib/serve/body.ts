/**
 * Bodies of requests: JSON in UTF-8, perhaps compressed. Bytes that are read as what they are not become an answer to
 * something else, so what is not that is refused by name. A member that is null counts as absent, as clients send one.
 *
 * Node's own zlib decodes: a plug-in of fastify would be one more package for the user to install.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestError, tooLarge } from './errors.js';
import type { Limits } from './limits.js';

const decoders = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
};

const codings = 'gzip, deflate, br';

export function parseBodies(app: FastifyInstance, limits: Limits): void {
  app.removeAllContentTypeParsers();
  // All types, and none: whatever comes is looked at here.
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      if (request.is404) return undefined;
      checkType(request.headers);
      const bytes = await decoded(body, request.headers['content-encoding'], limits);
      checkTensors(bytes, request.headers['inference-header-content-length']);
      return parseJson(bytes);
    },
  );
}

/** JSON, or nothing about it: `application/octet-stream` is what some clients send where none was given. */
function checkType({ 'content-type': header = '' }: IncomingHttpHeaders): void {
  const [type, ...parameters] = header.split(';').map((part) => part.trim().toLowerCase());
  if (!['', 'application/json', 'application/octet-stream'].includes(type!)) {
    throw new RequestError(
      415,
      'ERR_CONTENT_TYPE',
      `the body must be JSON, with the header content-type: application/json, not '${type}'`,
    );
  }
  for (const parameter of parameters) {
    const [, charset] = /^charset\s*=\s*"?([^"]*?)"?$/.exec(parameter) ?? [];
    if (charset === undefined || /^(utf-?8|us-ascii)$/.test(charset)) continue;
    throw new RequestError(
      415,
      'ERR_CONTENT_TYPE',
      `the body must be in UTF-8, not in '${charset}' as the header content-type says`,
    );
  }
}

async function decoded(
  body: Buffer,
  header: string | undefined,
  { body: limit }: Limits,
): Promise<Buffer> {
  const coding = header?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity') return body;
  if (!Object.hasOwn(decoders, coding)) {
    throw new RequestError(
      415,
      'ERR_CONTENT_ENCODING',
      `the body has content-encoding '${header}'; this server reads one of ${codings}, or none`,
    );
  }
  try {
    return await decoders[coding as keyof typeof decoders](body, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    throw new RequestError(
      400,
      'ERR_CONTENT_ENCODING',
      `the body is not valid ${coding}, as the header content-encoding says it is`,
    );
  }
}

/** Some clients say how much of the body is JSON even where all of it is. */
function checkTensors(bytes: Buffer, header: string | string[] | undefined): void {
  if (header === undefined || Number(header) === bytes.length) return;
  throw new RequestError(400, 'ERR_INVALID_ARGUMENT', binaryAdvice);
}

/** Tells a user of the usual clients how to speak to a server without the binary extension. */
export const binaryAdvice =
  'this server takes and gives tensors as JSON only: in the client, give data with ' +
  'set_data_from_numpy(array, binary_data=False), without shared memory, and ask for every output by name with ' +
  'InferRequestedOutput(name, binary_data=False) (kserve: RequestedOutput, or none)';

function parseJson(bytes: Buffer): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalidJson('the body is not in UTF-8; JSON must be');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalidJson('the body is not valid JSON');
  }
  return withoutNulls(value);
}

/** Takes members out that are null. Without recursion: a body may be nested as deeply as it is long. */
function withoutNulls(root: unknown): unknown {
  const open = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === 'string') checkText(value);
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, member] of Object.entries(value)) {
      if (member === null && !Array.isArray(value)) delete (value as Record<string, unknown>)[key];
      else open.push(member);
    }
  }
  return root;
}

/** Half of a character, as `"\ud800"`, is what a client makes of bytes that it read in the wrong encoding. */
function checkText(text: string): void {
  if (!/\p{Surrogate}/u.test(text)) return;
  throw invalidJson('a string has half of a UTF-16 surrogate pair, which stands for no character');
}

function invalidJson(message: string): RequestError {
  return new RequestError(400, 'ERR_INVALID_JSON', message);
}
