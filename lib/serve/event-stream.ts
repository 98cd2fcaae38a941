/**
 * Server-sent events as an answer. The next event is asked for when the last one has left, so that a slow
 * reader slows down its own request and nothing is piled up for it.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

export interface ServerEvent {
  event: string;
  data: unknown;
}

/** Milliseconds. A reader that takes nothing for this long is taken for gone: it holds memory of the model. */
const patience = 30_000;

/**
 * Writes events until there are no more, then ends the answer. Throws when the reader must be waited for and
 * `signal` is aborted; it is for the events' source to end with it otherwise, perhaps with a last word.
 */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<ServerEvent>,
  signal: AbortSignal,
  longest = patience,
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform', // a proxy that compresses would hold events back
    'x-accel-buffering': 'no', // a proxy in between must pass events on as they come
  });
  for await (const { event, data } of events) {
    if (!response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) {
      await drained(response, signal, longest);
    }
  }
  response.end();
}

async function drained(
  response: ServerResponse,
  signal: AbortSignal,
  longest: number,
): Promise<void> {
  const stalled = setTimeout(() => response.destroy(), longest);
  try {
    await once(response, 'drain', { signal });
  } finally {
    clearTimeout(stalled);
  }
}
