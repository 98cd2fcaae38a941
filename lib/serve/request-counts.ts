/** How many requests were answered, with which status and how fast. */
import type { FastifyInstance } from 'fastify';
import { clientGone } from './errors.js';
import type { Distribution, Sample } from './prometheus.js';

/** Seconds. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Counted {
  route: string;
  method: string;
  statuses: Map<number, number>;
  counts: number[];
  sum: number;
}

export class RequestCounts {
  /** By method and route, not by address: a client must not be able to make new ones. */
  readonly #routes = new Map<string, Counted>();

  /** Counts every request to the app from now on, also those whose client went away. */
  observe(app: FastifyInstance): void {
    app.addHook('onRequest', (request, reply, done) => {
      const begun = performance.now();
      reply.raw.once('close', () => {
        const status = reply.raw.writableFinished ? reply.raw.statusCode : clientGone;
        const route = request.routeOptions.url ?? 'none';
        this.#count(request.method, route, status, (performance.now() - begun) / 1000);
      });
      done();
    });
  }

  /** Requests by route, method and status. */
  *samples(): Iterable<Sample> {
    for (const { route, method, statuses } of this.#routes.values()) {
      for (const [status, value] of statuses) yield { labels: { route, method, status }, value };
    }
  }

  /** Seconds by route and method. */
  *durations(): Iterable<Distribution> {
    for (const { route, method, counts, sum } of this.#routes.values()) {
      yield { labels: { route, method }, bounds, counts, sum };
    }
  }

  #count(method: string, route: string, status: number, seconds: number): void {
    const key = `${method} ${route}`;
    let counted = this.#routes.get(key);
    if (!counted) {
      const counts = Array.from({ length: bounds.length + 1 }, () => 0);
      counted = { route, method, statuses: new Map(), counts, sum: 0 };
      this.#routes.set(key, counted);
    }
    counted.statuses.set(status, (counted.statuses.get(status) ?? 0) + 1);
    const index = bounds.findIndex((bound) => seconds <= bound);
    counted.counts[index === -1 ? bounds.length : index]!++;
    counted.sum += seconds;
  }
}
