/** The tensors of a model in the Open Inference Protocol: prompts in, answers and what is known of them out. */
import type { Generation } from '../text/mask-predict.js';
import { binaryAdvice } from './body.js';
import { RequestError } from './errors.js';

export interface Tensor {
  name: string;
  datatype: string;
  shape: number[];
  data: unknown[];
}

/** Parameters of tensors that are not JSON: of the binary extension, and of shared memory. */
interface ElsewhereParameters {
  binary_data_size?: number;
  binary_data?: boolean;
  shared_memory_region?: string;
}

export interface InputTensor extends Omit<Tensor, 'data'> {
  parameters?: ElsewhereParameters;
  data?: unknown[];
}

export interface AskedOutput {
  name: string;
  parameters?: ElsewhereParameters;
}

/** One string per prompt, shape `[n]`. */
export const inputTensor = { name: 'prompt', datatype: 'BYTES' };

/** One element per prompt each, shape `[n]`. */
export const outputTensors: {
  name: string;
  datatype: string;
  of: (generation: Generation) => unknown;
}[] = [
  { name: 'text', datatype: 'BYTES', of: ({ text }) => text },
  { name: 'score', datatype: 'FP32', of: ({ score }) => Math.fround(score) },
  { name: 'length', datatype: 'INT32', of: ({ length }) => length },
  { name: 'iterations', datatype: 'INT32', of: ({ iterations }) => iterations },
  { name: 'truncated', datatype: 'BOOL', of: ({ truncated }) => truncated },
];

/** Throws, with what to do in the client, for tensors that come or are to go otherwise than as JSON. */
export function checkJson(
  parameters: { binary_data_output?: boolean },
  inputs: readonly InputTensor[],
  outputs: readonly AskedOutput[] = [],
): void {
  const elsewhere = [...inputs, ...outputs].some(
    ({ parameters: { binary_data_size, binary_data, shared_memory_region } = {} }) =>
      binary_data_size !== undefined || binary_data || shared_memory_region !== undefined,
  );
  if (elsewhere || parameters.binary_data_output) throw wrong(binaryAdvice);
}

/** The prompts of a request's inputs. */
export function promptsOf(inputs: readonly InputTensor[]): string[] {
  const [input] = inputs;
  if (inputs.length !== 1 || input!.name !== inputTensor.name) {
    throw wrong(`the model has one input, '${inputTensor.name}'`);
  }
  const { datatype, shape, data } = input!;
  if (datatype !== inputTensor.datatype) {
    throw wrong(`the input '${inputTensor.name}' has datatype BYTES, not ${datatype}`);
  }
  if (data === undefined) throw wrong("inputs.0 needs 'data'");
  // Data may be nested as the shape says, or flat.
  const prompts = data.flat(Math.min(shape.length, deepest));
  if (shape.slice(1).some((size) => size !== 1) || shape[0] !== prompts.length) {
    throw wrong(
      `the input '${inputTensor.name}' has shape [n] or [n, 1] with one string per prompt, ` +
        `not [${shape.join(', ')}] with ${prompts.length} elements`,
    );
  }
  const other = prompts.findIndex((prompt) => typeof prompt !== 'string');
  if (other !== -1) throw wrong(`element ${other} of the input '${inputTensor.name}' is no string`);
  return prompts as string[];
}

/** The outputs that were asked for, or all of them. */
export function outputsOf(
  generations: Generation[],
  asked: readonly AskedOutput[] | undefined,
): Tensor[] {
  const names = asked?.map(({ name }) => name) ?? outputTensors.map(({ name }) => name);
  return names.map((name) => {
    const { datatype, of } = outputTensors.find((tensor) => tensor.name === name)!;
    return { name, datatype, shape: [generations.length], data: generations.map(of) };
  });
}

/** Dimensions of an input: more than anybody needs for a list of prompts. */
const deepest = 8;

/** Throws for an output the model does not have: before the work, not after it. */
export function checkOutputs(asked: readonly AskedOutput[] | undefined): void {
  const unknown = asked?.find(({ name }) => !outputTensors.some((tensor) => tensor.name === name));
  if (!unknown) return;
  const names = outputTensors.map(({ name }) => name).join(', ');
  throw wrong(`there is no output '${unknown.name}'; the model has ${names}`);
}

function wrong(message: string): RequestError {
  return new RequestError(400, 'ERR_INVALID_ARGUMENT', message);
}
