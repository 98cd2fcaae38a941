/**
 * A model behind HTTP. One model per server; the platforms that speak its protocols (open-inference.ts) run as
 * many servers as there is work for.
 */
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { MaskPredict } from '../text/mask-predict.js';
import { chooseRoute, scoreRoute } from './choose-and-score.js';
import { answerErrors } from './errors.js';
import { generateRoute } from './generate.js';
import type { Limits } from './limits.js';
import { metricsRoute } from './metrics.js';
import { openInferenceRoutes } from './open-inference.js';
import { pageRoutes } from './page.js';
import { RequestCounts } from './request-counts.js';
import { Requests } from './requests.js';
import type { Served } from './served.js';

export interface ServerOptions {
  /** Of the model, in the addresses of the Open Inference Protocol. */
  name: string;
  host: string;
  /** 0: any that is free. */
  port: number;
  limits: Limits;
  /** Instructions for the page that the model can follow. */
  examples: readonly string[];
  /** Is told of failures that are the server's own. */
  log: (message: string) => void;
}

/** A request that takes longer to arrive is dropped. */
const requestTimeout = 30_000;

/** How long a connection may take to end after its request was stopped. */
const farewell = 1000;

export class Server {
  readonly #app: FastifyInstance;
  readonly #requests: Requests;
  /** Where it listens: `http://127.0.0.1:8080`. */
  readonly url: string;

  private constructor(app: FastifyInstance, requests: Requests) {
    this.#app = app;
    this.#requests = requests;
    const { address, family, port } = app.server.address() as AddressInfo;
    this.url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Listens. The model stays the caller's, to close after the server. */
  static async listen(model: MaskPredict, options: ServerOptions): Promise<Server> {
    const { name, host, port, limits } = options;
    const fastify = await loadFastify();
    const app = fastify({
      bodyLimit: limits.body,
      requestTimeout,
      return503OnClosing: false, // our own answer says what to do
      forceCloseConnections: false, // see close()
      ajv: {
        customOptions: {
          coerceTypes: false,
          removeAdditional: false,
          allowUnionTypes: true,
          verbose: true,
        },
      },
    });
    app.removeContentTypeParser('text/plain');
    const requests = new Requests();
    const counts = new RequestCounts();
    const served: Served = { model, name, limits, requests };
    counts.observe(app);
    app.addHook('onSend', async (_request, reply) => {
      if (requests.closed) reply.header('connection', 'close');
    });
    answerErrors(app, limits, (error) =>
      options.log(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
    openInferenceRoutes(app, served);
    generateRoute(app, served);
    chooseRoute(app, served);
    scoreRoute(app, served);
    metricsRoute(app, served, counts);
    pageRoutes(app, served, options.examples);
    await app.listen({ host, port });
    return new Server(app, requests);
  }

  /**
   * Takes no more work, lets what runs finish for `milliseconds` at most, and stops listening. Requests that
   * are not done by then are answered with 503.
   */
  async close(milliseconds: number): Promise<void> {
    this.#requests.close();
    const closed = this.#app.close();
    const { server } = this.#app;
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    let last: NodeJS.Timeout | undefined;
    const late = setTimeout(() => {
      this.#requests.abort();
      last = setTimeout(() => server.closeAllConnections(), farewell);
    }, milliseconds);
    try {
      await closed;
    } finally {
      clearInterval(idle);
      clearTimeout(late);
      clearTimeout(last);
    }
  }
}

/** The fastify of whoever installed this package: most use it without a server. */
export async function loadFastify() {
  try {
    return (await import('fastify')).fastify;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(
      'the server needs fastify, which does not come with mask-predict: npm install fastify@5',
      { cause: error },
    );
  }
}
