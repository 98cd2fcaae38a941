/** `GET /`: a page on which one types an instruction and watches it being answered. Its files are in page/. */
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import type { Served } from './served.js';

const files = [
  { url: '/', file: 'index.html', type: 'text/html; charset=utf-8' },
  { url: '/page/style.css', file: 'style.css', type: 'text/css; charset=utf-8' },
  { url: '/page/script.js', file: 'script.js', type: 'text/javascript; charset=utf-8' },
  { url: '/page/event-stream.js', file: 'event-stream.js', type: 'text/javascript; charset=utf-8' },
];

/** Everything the page needs comes from this server, and nothing else is let in. */
const policy = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** `examples` are instructions the model can follow, to try. */
export function pageRoutes(
  app: FastifyInstance,
  { name, limits }: Served,
  examples: readonly string[],
): void {
  for (const { url, file, type } of files) {
    const content = readFileSync(new URL(`../../page/${file}`, import.meta.url));
    app.get(url, (_request, reply) =>
      reply
        .headers({
          'content-security-policy': policy,
          'x-content-type-options': 'nosniff',
          'referrer-policy': 'no-referrer',
          'cache-control': 'no-cache',
        })
        .type(type)
        .send(content),
    );
  }
  app.get('/page/model.json', () => ({
    name,
    examples,
    iterations: limits.iterations,
    characters: limits.characters,
  }));
}
