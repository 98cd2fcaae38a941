/**
 * `POST /v2/models/{name}/infer` of the Open Inference Protocol: a BYTES tensor of prompts in, a tensor for
 * every part of the answers out. Options of `model.generate` are parameters of the request.
 *
 * The schema takes what clients send beside the specification: KServe's a `model_name`, Triton's `priority` and
 * `timeout`, MLServer's a `content_type`.
 */
import type { FastifyInstance } from 'fastify';
import type { GenerateOptions, LengthOption } from '../text/mask-predict.js';
import { limitError, RequestError } from './errors.js';
import {
  checkTexts,
  generateOptions,
  generateOptionsSchema,
  seedSchema,
  type TextOptionsBody,
} from './generate-schema.js';
import type { Limits } from './limits.js';
import {
  checkJson,
  checkOutputs,
  outputsOf,
  promptsOf,
  type AskedOutput,
  type InputTensor,
} from './open-inference-tensors.js';
import { checkModel, modelVersion, type ModelParameters, type Served } from './served.js';

/**
 * Values of parameters are strings, numbers and booleans: `candidates`, `lengthWeight`, `seed`, `confidence` and
 * `remaskBelow` stand for themselves.
 * `priority` and `timeout` have the meaning that Triton gives them.
 */
interface Parameters extends Omit<TextOptionsBody, 'priority' | 'deadline'> {
  iterations?: number;
  length?: number;
  candidates?: number;
  lengthWeight?: number;
  seed?: number;
  stop?: 'unchanged';
  confidence?: number;
  remaskBelow?: number;
  priority?: number;
  timeout?: number;
  content_type?: 'str';
  binary_data_output?: boolean;
}

interface InferBody {
  id?: string;
  model_name?: string;
  model_version?: string;
  parameters?: Parameters;
  inputs: InputTensor[];
  outputs?: AskedOutput[];
}

export function inferRoute(app: FastifyInstance, served: Served, url: string): void {
  const { model, name, limits, requests } = served;
  app.post<{ Params: ModelParameters; Body: InferBody }>(
    url,
    { schema: { body: schema(limits) } },
    async ({ params, body }, reply) => {
      const { id, parameters = {}, inputs, outputs } = body;
      checkModel(params, served);
      checkModel({ name, ...named(body) }, served);
      checkJson(parameters, inputs, outputs);
      checkOutputs(outputs);
      const prompts = promptsOf(inputs);
      checkPrompts(prompts, limits);
      const generations = await requests.run(reply, (signal) =>
        model.generate(prompts, readParameters(parameters, prompts.length, limits, signal)),
      );
      return {
        model_name: name,
        model_version: modelVersion,
        ...(id !== undefined && { id }),
        outputs: outputsOf(generations, outputs),
      };
    },
  );
}

/** The model as a body names it, if it does: it must be the one of the address. */
function named({ model_name, model_version }: InferBody): Partial<ModelParameters> {
  return {
    ...(model_name !== undefined && { name: model_name }),
    ...(model_version !== undefined && { version: model_version }),
  };
}

function readParameters(
  given: Parameters,
  prompts: number,
  limits: Limits,
  signal: AbortSignal,
): GenerateOptions {
  const { iterations, parseSpecial, overflow, seed, priority = 0, timeout = 0 } = given;
  exclude(given, 'length', 'candidates');
  exclude(given, 'stop', 'confidence');
  const { length = candidatesOf(given) } = given;
  const { stop = given.confidence !== undefined && { confidence: given.confidence } } = given;
  checkTexts(prompts, length, limits);
  return generateOptions(
    {
      ...(iterations !== undefined && { iterations }),
      ...(parseSpecial !== undefined && { parseSpecial }),
      ...(overflow !== undefined && { overflow }),
      ...(length !== undefined && { length }),
      ...(stop && { stop }),
      ...(given.remaskBelow !== undefined && { remask: { below: given.remaskBelow } }),
      ...(seed !== undefined && { sampling: { seed } }),
      ...(priority > 0 && { priority: ownPriority(priority) }),
      ...(timeout > 0 && { deadline: ownDeadline(timeout) }),
    },
    limits,
    signal,
  );
}

function candidatesOf({ candidates, lengthWeight }: Parameters): LengthOption | undefined {
  if (candidates === undefined) {
    if (lengthWeight === undefined) return undefined;
    throw new RequestError(
      400,
      'ERR_INVALID_ARGUMENT',
      'parameters.lengthWeight chooses among parameters.candidates, which is not given',
    );
  }
  return { candidates, ...(lengthWeight !== undefined && { weight: lengthWeight }) };
}

function exclude(given: Parameters, one: keyof Parameters, other: keyof Parameters): void {
  if (given[one] === undefined || given[other] === undefined) return;
  throw new RequestError(
    400,
    'ERR_INVALID_ARGUMENT',
    `parameters.${one} and parameters.${other} exclude each other`,
  );
}

/** Triton's: 1 is the most urgent, greater ones are later; 0, the default, was not given. Ours: 100 to -100. */
function ownPriority(priority: number): number {
  return Math.max(101 - priority, -100);
}

/** Triton's microseconds in the queue as our milliseconds, a day at most. */
function ownDeadline(timeout: number): number {
  return Math.min(Math.ceil(timeout / 1000), 86_400_000);
}

function checkPrompts(prompts: string[], { characters }: Limits): void {
  const long = prompts.findIndex((prompt) => prompt.length > characters);
  if (long !== -1) throw limitError(`prompt ${long} has more than ${characters} characters`);
}

const text = { type: 'string' };
const asStrings = { type: 'string', enum: ['str'] };

/** Parameters of the binary extension are taken to be refused with what to do instead: {@link checkJson}. */
function schema(limits: Limits) {
  const { iterations, parseSpecial, overflow } = generateOptionsSchema(limits);
  return closed(['inputs'], {
    id: text,
    model_name: text,
    model_version: text,
    parameters: closed([], {
      iterations,
      parseSpecial,
      overflow,
      length: { type: 'integer', minimum: 1 },
      candidates: { type: 'integer', minimum: 1, maximum: limits.texts },
      lengthWeight: { type: 'number', minimum: 0 },
      seed: seedSchema,
      stop: { type: 'string', enum: ['unchanged'] },
      confidence: { type: 'number' },
      remaskBelow: { type: 'number' },
      priority: { type: 'integer', minimum: 0 },
      timeout: { type: 'integer', minimum: 0 },
      content_type: asStrings,
      binary_data_output: { type: 'boolean' },
    }),
    inputs: {
      type: 'array',
      items: closed(['name', 'shape', 'datatype'], {
        name: text,
        id: text,
        shape: { type: 'array', minItems: 1, items: { type: 'integer', minimum: 1 } },
        datatype: text,
        parameters: closed([], {
          content_type: asStrings,
          binary_data_size: { type: 'integer' },
          shared_memory_region: text,
          shared_memory_byte_size: { type: 'integer' },
          shared_memory_offset: { type: 'integer' },
        }),
        data: { type: 'array', maxItems: limits.texts },
      }),
    },
    outputs: {
      type: 'array',
      items: closed(['name'], {
        name: text,
        parameters: closed([], {
          content_type: asStrings,
          binary_data: { type: 'boolean' },
          shared_memory_region: text,
          shared_memory_byte_size: { type: 'integer' },
          shared_memory_offset: { type: 'integer' },
        }),
      }),
    },
  });
}

/** An object with these members and no others. */
function closed(required: string[], properties: object) {
  return { type: 'object', required, properties, additionalProperties: false };
}
