/**
 * Every way the operations run on this machine: each instruction set of the CPU, on one thread and on two, and with
 * activations rounded to bfloat16 where the set multiplies them; or, where the environment variable MASK_PREDICT_DEVICE
 * names a GPU (`simt`, the emulated one, in a test build), that one, with activations in float32 and in bfloat16.
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

const onCpu = (sets: typeof instructionSets, activations: Activations): Variant[] =>
  sets.flatMap((instructionSet) =>
    [1, 2].map((threads) => ({
      name: `${instructionSet} × ${threads}${activations === 'bf16' ? ' in bf16' : ''}`,
      activations,
      options: { instructionSet, threads, precision: activations },
    })),
  );

/** Activations in float32. */
export const variants: Variant[] = device ? [onGpu('fp32')] : onCpu(instructionSets, 'fp32');

/** On the CPU: products of weights in bfloat16 and attention round what they multiply; all else has float32. */
const roundingProducts = device
  ? []
  : onCpu(
      instructionSets.filter((set) => set === 'avx512bf16'),
      'bf16',
    );

/** Activations of either kind. */
export const allVariants: Variant[] = device ? [...variants, onGpu('bf16')] : variants;

/** Those of attention, which rounds what it multiplies where products do. */
export const attentionVariants: Variant[] = [...allVariants, ...roundingProducts];

export const onDevice = Boolean(device);

/** The weight types the operations take. */
export const weightTypes: readonly WeightType[] = device
  ? ['fp32', 'bf16', 'int8', 'fp8']
  : storedTypes;

/** The activations that go with weights of a type: on the CPU always float32, on a GPU none but these. */
export const activationsFor = (type: WeightType): Activations =>
  device && type !== 'fp32' ? 'bf16' : 'fp32';

/** The ways that read weights of a type and activations of a kind. */
export const variantsOf = (type: WeightType, kind: Activations = activationsFor(type)): Variant[] =>
  [...allVariants, ...(type === 'bf16' ? roundingProducts : [])].filter(
    ({ activations }) => activations === kind,
  );

/** What the products of this machine take: types of weights with kinds of activations. */
export const products: readonly (readonly [WeightType, Activations])[] = [
  ...weightTypes.map((type) => [type, activationsFor(type)] as const),
  ...(roundingProducts.length > 0 ? [['bf16', 'bf16'] as const] : []),
];

/** The values that an operation reads if it is given these. */
export const asKept = (activations: Activations, values: Float32Array): Float32Array =>
  activations === 'bf16' ? roundedToBf16(values) : values;

/**
 * The types that the tests let `packWeight` make of float32 values: on the CPU also int8, which rounds activations as
 * well.
 */
export const packedPrecisions = device ? (['fp32'] as const) : (['fp32', 'int8'] as const);

/** Types of weights, what `packWeight` makes of them, and the activations they meet: all there are. */
export const packings: readonly (readonly [WeightType, 'fp32' | 'int8', Activations])[] = [
  ...products.map(([type, activations]) => [type, 'fp32', activations] as const),
  ...packedPrecisions.slice(1).map((precision) => ['fp32', precision, 'fp32'] as const),
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
