/**
 * `POST /v2/models/{name}/infer` of the Open Inference Protocol: a BYTES tensor of prompts in, a tensor for
 * every part of the answers out. Options of `model.generate` are parameters of the request.
 */
import type { FastifyInstance } from 'fastify';
import type { GenerateOptions } from '../text/mask-predict.js';
import { limitError, RequestError } from './errors.js';
import {
  checkTexts,
  generateOptions,
  generateOptionsSchema,
  seedSchema,
  type TextOptionsBody,
} from './generate-schema.js';
import type { Limits } from './limits.js';
import { checkOutputs, outputsOf, promptsOf, type Tensor } from './open-inference-tensors.js';
import { checkModel, type ModelParameters, type Served } from './served.js';

/** Values of parameters are strings, numbers and booleans: `candidates` and `seed` stand for themselves. */
interface Parameters extends TextOptionsBody {
  iterations?: number;
  length?: number;
  candidates?: number;
  seed?: number;
  binary_data_output?: false;
}

interface InferBody {
  id?: string;
  parameters?: Parameters;
  inputs: Tensor[];
  outputs?: { name: string }[];
}

export function inferRoute(app: FastifyInstance, served: Served): void {
  const { model, name, limits, requests } = served;
  app.post<{ Params: ModelParameters; Body: InferBody }>(
    '/v2/models/:name/infer',
    { schema: { body: schema(limits) } },
    async ({ params, body }, reply) => {
      checkModel(params, served);
      checkOutputs(body.outputs);
      const { id, parameters = {} } = body;
      const prompts = promptsOf(body.inputs);
      checkPrompts(prompts, limits);
      const generations = await requests.run(reply, (signal) =>
        model.generate(prompts, readParameters(parameters, prompts.length, limits, signal)),
      );
      return {
        model_name: name,
        ...(id !== undefined && { id }),
        outputs: outputsOf(generations, body.outputs),
      };
    },
  );
}

function readParameters(
  { length, candidates, seed, binary_data_output: _, ...others }: Parameters,
  prompts: number,
  limits: Limits,
  signal: AbortSignal,
): GenerateOptions {
  if (length !== undefined && candidates !== undefined) {
    throw new RequestError(
      400,
      'ERR_INVALID_ARGUMENT',
      'parameters.length and parameters.candidates exclude each other',
    );
  }
  const chosen = candidates === undefined ? length : { candidates };
  checkTexts(prompts, chosen, limits);
  return generateOptions(
    {
      ...others,
      ...(chosen !== undefined && { length: chosen }),
      ...(seed !== undefined && { sampling: { seed } }),
    },
    limits,
    signal,
  );
}

function checkPrompts(prompts: string[], { characters }: Limits): void {
  const long = prompts.findIndex((prompt) => prompt.length > characters);
  if (long !== -1) throw limitError(`prompt ${long} has more than ${characters} characters`);
}

/**
 * Tensors come as JSON, so the parameters that ask for it are taken, and those of the binary extension are
 * refused by name.
 */
function schema(limits: Limits) {
  const { iterations, parseSpecial, overflow } = generateOptionsSchema(limits);
  const asJson = { type: 'boolean', enum: [false] };
  const tensorParameters = {
    type: 'object',
    properties: { content_type: { type: 'string', enum: ['str'] } },
    additionalProperties: false,
  };
  return {
    type: 'object',
    required: ['inputs'],
    properties: {
      id: { type: 'string' },
      parameters: {
        type: 'object',
        properties: {
          iterations,
          parseSpecial,
          overflow,
          length: { type: 'integer', minimum: 1 },
          candidates: { type: 'integer', minimum: 1, maximum: limits.texts },
          seed: seedSchema,
          binary_data_output: asJson,
        },
        additionalProperties: false,
      },
      inputs: {
        type: 'array',
        items: {
          type: 'object',
          required: ['name', 'shape', 'datatype', 'data'],
          properties: {
            name: { type: 'string' },
            shape: { type: 'array', minItems: 1, items: { type: 'integer', minimum: 1 } },
            datatype: { type: 'string' },
            parameters: tensorParameters,
            data: { type: 'array', maxItems: limits.texts },
          },
          additionalProperties: false,
        },
      },
      outputs: {
        type: 'array',
        items: {
          type: 'object',
          required: ['name'],
          properties: {
            name: { type: 'string' },
            parameters: {
              type: 'object',
              properties: { binary_data: asJson },
              additionalProperties: false,
            },
          },
          additionalProperties: false,
        },
      },
    },
    additionalProperties: false,
  };
}
