/** A server with the embedded model on a free loopback port, for the time of a test. */
import { embeddedModel } from '../lib/bundled-models.js';
import type { ModelOptions } from '../lib/text/loading.js';
import { MaskPredict } from '../lib/text/mask-predict.js';
import { defaultLimits, type Limits } from '../lib/serve/limits.js';
import { Server, type ServerOptions } from '../lib/serve/server.js';

export interface Serving {
  model: MaskPredict;
  server: Server;
  url: string;
  /** The messages that the server logged about its own failures. */
  log: string[];
  close(): Promise<void>;
}

export async function serving(
  limits: Partial<Limits> = {},
  examples: readonly string[] = [],
  options: ModelOptions = {},
  more: Partial<ServerOptions> = {},
): Promise<Serving> {
  const model = await MaskPredict.load(embeddedModel, { device: 'cpu', threads: 1, ...options });
  const log: string[] = [];
  const server = await listening(model, {
    limits: { ...defaultLimits, ...limits },
    examples,
    log: (message) => log.push(message),
    ...more,
  });
  const close = async () => {
    await server.close(1000);
    await model.close();
  };
  return { model, server, url: server.url, log, close };
}

/** The server alone, of a model that is there. */
export function listening(model: MaskPredict, options: Partial<ServerOptions>): Promise<Server> {
  return Server.listen(model, {
    name: 'numbers',
    hosts: ['127.0.0.1'],
    port: 0,
    limits: defaultLimits,
    examples: [],
    allowedHosts: [],
    cors: [],
    log: () => {},
    ...options,
  });
}
