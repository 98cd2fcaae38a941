/**
 * Every way the operations run on this machine: each instruction set of the CPU, on one thread and on two; or, where
 * the environment variable MASK_PREDICT_DEVICE names a GPU (`simt`, the emulated one, in a test build), that one, with
 * activations in float32 and in bfloat16.
 */
import {
  packWeight,
  type OperationOptions,
  type PackedWeight,
} from '../../lib/token/operations.js';
import { native } from '../../lib/token/native.js';
import {
  roundedToBf16,
  weightTypes as storedTypes,
  type StoredWeight,
  type WeightType,
} from '../reference/stored.js';

/** How activations are kept between operations. */
export type Activations = 'fp32' | 'bf16';

export interface Variant {
  name: string;
  activations: Activations;
  options: OperationOptions & { instructionSet: string; threads: number };
}

const device = process.env.MASK_PREDICT_DEVICE;

const instructionSets = native.instructionSets() as NonNullable<
  OperationOptions['instructionSet']
>[];

const onGpu = (precision: Activations): Variant => ({
  name: precision === 'fp32' ? device! : `${device!} in ${precision}`,
  activations: precision,
  options: { instructionSet: instructionSets[0]!, threads: 1, precision },
});

/** Activations in float32. */
export const variants: Variant[] = device
  ? [onGpu('fp32')]
  : instructionSets.flatMap((instructionSet) =>
      [1, 2].map((threads) => ({
        name: `${instructionSet} × ${threads}`,
        activations: 'fp32' as const,
        options: { instructionSet, threads },
      })),
    );

/** Activations of either kind. */
export const allVariants: Variant[] = device ? [...variants, onGpu('bf16')] : variants;

export const onDevice = Boolean(device);

/** The weight types the operations take. */
export const weightTypes: readonly WeightType[] = device
  ? ['fp32', 'bf16', 'int8', 'fp8']
  : storedTypes;

/** The activations that go with weights of a type: on the CPU always float32, on a GPU none but these. */
export const activationsFor = (type: WeightType): Activations =>
  device && type !== 'fp32' ? 'bf16' : 'fp32';

export const variantsOf = (type: WeightType): Variant[] =>
  allVariants.filter(({ activations }) => activations === activationsFor(type));

/** The values that an operation reads if it is given these. */
export const asKept = (activations: Activations, values: Float32Array): Float32Array =>
  activations === 'bf16' ? roundedToBf16(values) : values;

/**
 * The types that the tests let `packWeight` make of float32 values: on the CPU also int8, which rounds activations as
 * well.
 */
export const packedPrecisions = device ? (['fp32'] as const) : (['fp32', 'int8'] as const);

/** Types of weights, and what `packWeight` makes of them: all there are. */
export const packings: readonly (readonly [WeightType, 'fp32' | 'int8'])[] = [
  ...weightTypes.map((type) => [type, 'fp32'] as const),
  ...packedPrecisions.slice(1).map((precision) => ['fp32', precision] as const),
];

/** The weight as the operations take it. */
export function pack(
  { stored, type, rows, columns }: StoredWeight,
  precision: 'fp32' | 'int8' = 'fp32',
): PackedWeight {
  if (type === 'int8' || type === 'fp8')
    return packWeight(stored, 'fp32', rows, columns, { precision: type });
  return packWeight(stored, type, rows, columns, { precision });
}
