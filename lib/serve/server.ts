/**
 * A model behind HTTP. One model per server; the platforms that speak its protocols (open-inference.ts) run as
 * many servers as there is work for.
 */
import { createServer, type RequestListener, type Server as HttpServer } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { MaskPredict } from '../text/mask-predict.js';
import { guard, type Access } from './access.js';
import { parseBodies } from './body.js';
import { chooseRoute, scoreRoute } from './choose-and-score.js';
import { answerConnectionErrors } from './connection-errors.js';
import { answerErrors, RequestError, requestError, sendError } from './errors.js';
import { loadFastify } from './fastify.js';
import { generateRoute } from './generate.js';
import type { Limits } from './limits.js';
import { Listeners } from './listeners.js';
import { metricsRoute } from './metrics.js';
import { addressRewriter } from './model-name.js';
import { openInferenceRoutes } from './open-inference.js';
import { pageRoutes } from './page.js';
import { RequestCounts } from './request-counts.js';
import { Requests } from './requests.js';
import { classifyRoute, embedRoute, fillMaskRoute } from './readings.js';
import type { Served } from './served.js';

export interface ServerOptions extends Access {
  /** The name of the model in the addresses of the Open Inference Protocol; see model-name.ts. */
  name: string;
  /** Names or addresses to listen at. */
  hosts: readonly string[];
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

/** Longer than a proxy keeps a connection (nginx: 60 s), so that it is the proxy who ends it, and never in a request. */
const keepAliveTimeout = 72_000;

/** How long a connection may take to end after its request was stopped. */
const farewell = 1000;

export class Server {
  readonly #app: FastifyInstance;
  readonly #requests: Requests;
  readonly #listeners: Listeners;

  private constructor(app: FastifyInstance, requests: Requests, listeners: Listeners) {
    this.#app = app;
    this.#requests = requests;
    this.#listeners = listeners;
  }

  /** Where it listens: `http://127.0.0.1:8080`. */
  get url(): string {
    return this.#listeners.url;
  }

  /** Listens. The model stays the caller's, to close after the server. */
  static async listen(model: MaskPredict, options: ServerOptions): Promise<Server> {
    const { name, hosts, port, limits } = options;
    const requests = new Requests();
    let listeners: Listeners | undefined;
    const checksHost = () => options.allowedHosts.length > 0 || listeners?.loopback !== false;
    const { app, handler } = await application(options);
    const counts = new RequestCounts();
    counts.observe(app);
    guard(app, withOwnNames(options), checksHost);
    app.addHook('onSend', async (_request, reply) => {
      if (requests.closed) reply.header('connection', 'close');
    });
    parseBodies(app, limits);
    answerErrors(app, limits, (error) =>
      options.log(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
    routes(app, { model, name, limits, requests }, counts, options.examples);
    await app.ready();
    listeners = await Listeners.open(() => httpServer(handler), hosts, port);
    return new Server(app, requests, listeners);
  }

  /**
   * Takes no more work, lets what runs finish for `milliseconds` at most, and stops listening. Requests that
   * are not done by then are answered with 503. Resolves when no connection is left.
   */
  async close(milliseconds: number): Promise<void> {
    const listeners = this.#listeners;
    this.#requests.close();
    const closed = listeners.close();
    const idle = setInterval(() => listeners.closeIdleConnections(), 50);
    let last: NodeJS.Timeout | undefined;
    const late = setTimeout(() => {
      this.#requests.abort();
      last = setTimeout(() => listeners.closeAllConnections(), farewell);
    }, milliseconds);
    try {
      await closed;
    } finally {
      clearInterval(idle);
      clearTimeout(late);
      clearTimeout(last);
    }
    await this.#app.close();
  }
}

/**
 * Fastify without a server of its own: it would listen at further addresses of a host by itself, and not wait for
 * their connections at the end.
 */
async function application({ name, limits }: ServerOptions) {
  const fastify = await loadFastify();
  let handler!: RequestListener;
  const app = fastify({
    serverFactory: (answer) => createServer((handler = answer as RequestListener)),
    bodyLimit: limits.body,
    return503OnClosing: false, // our own answer says what to do
    frameworkErrors: (error, _request, reply) => sendError(reply, requestError(error, limits)),
    rewriteUrl: ({ url }) => rewritten(url!),
    routerOptions: { maxParamLength: 2 ** 16 }, // more than headers may have
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        allowUnionTypes: true,
        verbose: true,
      },
    },
  });
  const rewritten = addressRewriter(name);
  return { app: app as unknown as FastifyInstance, handler };
}

function httpServer(handler: RequestListener): HttpServer {
  // A request without Host is refused in the shape of all errors: access.ts.
  const server = createServer(
    { requestTimeout, keepAliveTimeout, requireHostHeader: false },
    handler,
  );
  answerConnectionErrors(server);
  return server;
}

/** Whoever starts a server at a name asks it by that name. */
function withOwnNames({ cors, allowedHosts, hosts }: ServerOptions): Access {
  return { cors, allowedHosts: [...allowedHosts, ...hosts.map((host) => host.toLowerCase())] };
}

function routes(
  app: FastifyInstance,
  served: Served,
  counts: RequestCounts,
  examples: readonly string[],
): void {
  openInferenceRoutes(app, served);
  offerModel(app, served);
  metricsRoute(app, served, counts);
  pageRoutes(app, served, examples);
}

/** Adds routes for what the model can do. The other routes answer why it cannot. */
function offerModel(app: FastifyInstance, served: Served): void {
  const { head, classes } = served.model.engine.config;
  const withHead: [string, Route][] = [
    ['/generate', generateRoute],
    ['/choose', chooseRoute],
    ['/score', scoreRoute],
    ['/fill-mask', fillMaskRoute],
  ];
  for (const [path, route] of withHead) {
    if (head) route(app, served);
    else withoutRoute(app, path, 'language-model head');
  }
  embedRoute(app, served);
  if (classes > 0) classifyRoute(app, served);
  else withoutRoute(app, '/classify', 'sequence classifier');
}

type Route = (app: FastifyInstance, served: Served) => void;

function withoutRoute(app: FastifyInstance, path: string, part: string): void {
  app.post(path, () => {
    throw new RequestError(
      404,
      'ERR_NOT_FOUND',
      `there is no POST ${path} here: the model has no ${part}`,
    );
  });
}
