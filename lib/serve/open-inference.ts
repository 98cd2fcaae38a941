/**
 * Health and metadata of the Open Inference Protocol (version 2, REST): what KServe and other platforms ask a
 * model server. `POST …/infer` is in open-inference-infer.ts.
 */
import type { FastifyInstance } from 'fastify';
import { version } from '../version.js';
import { inferRoute } from './open-inference-infer.js';
import { inputTensor, outputTensors } from './open-inference-tensors.js';
import { checkModel, modelVersion, type ModelParameters, type Served } from './served.js';

export function openInferenceRoutes(app: FastifyInstance, served: Served): void {
  const { model, name, requests } = served;
  /** Where the model runs on several devices they are known to fail; nothing but a new process can help if all have. */
  const isAlive = () => model.stats().devices?.some(({ working }) => working) ?? true;
  const isReady = () => !requests.closed && isAlive();

  for (const url of ['/v2', '/v2/']) {
    app.get(url, () => ({ name: 'mask-predict', version: version(), extensions: [] }));
  }
  app.get('/v2/health/live', (_request, reply) =>
    reply.code(isAlive() ? 200 : 503).send({ live: isAlive() }),
  );
  // `live` is the field of the specification, for this answer too.
  app.get('/v2/health/ready', (_request, reply) =>
    reply.code(isReady() ? 200 : 503).send({ live: isReady(), ready: isReady() }),
  );
  for (const url of modelUrls) {
    app.get<{ Params: ModelParameters }>(url, ({ params }) => {
      checkModel(params, served);
      return {
        name,
        versions: [modelVersion],
        platform: 'mask-predict_safetensors',
        inputs: [{ ...inputTensor, shape: [-1] }],
        outputs: outputTensors.map(({ name, datatype }) => ({ name, datatype, shape: [-1] })),
      };
    });
    app.get<{ Params: ModelParameters }>(`${url}/ready`, ({ params }, reply) => {
      checkModel(params, served);
      return reply.code(isReady() ? 200 : 503).send({ name, ready: isReady() });
    });
    inferRoute(app, served, `${url}/infer`);
  }
}

/** With and without the version: a client may leave it to the server. */
const modelUrls = ['/v2/models/:name', '/v2/models/:name/versions/:version'];
