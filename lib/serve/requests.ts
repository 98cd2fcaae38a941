/** The requests that are being worked on: each stops when its client goes away, or when the server must end. */
import type { FastifyReply } from 'fastify';
import { clientGone, RequestError, shuttingDown } from './errors.js';

export class Requests {
  readonly #running = new Set<AbortController>();
  #closed = false;

  get running(): number {
    return this.#running.size;
  }

  /** True if no further work is taken. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Work that is asked for from now on is refused; what runs goes on. */
  close(): void {
    this.#closed = true;
  }

  /** Stops what runs. */
  abort(): void {
    for (const controller of this.#running) controller.abort(shuttingDown());
  }

  /** Does the work of one request, with the signal that stops it. */
  async run<T>(reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closed) throw shuttingDown();
    const controller = new AbortController();
    const gone = () =>
      controller.abort(new RequestError(clientGone, 'ERR_CLIENT_GONE', 'the client has gone'));
    if (reply.raw.destroyed) gone();
    reply.raw.once('close', gone);
    this.#running.add(controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#running.delete(controller);
      reply.raw.off('close', gone);
    }
  }
}
