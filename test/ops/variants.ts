/**
 * Every way the operations run on this machine: each instruction set of the CPU, on one thread and on two; or, where
 * the environment variable MASK_PREDICT_DEVICE names a GPU (`simt`, the emulated one, in a test build), that one.
 */
import type { KernelOptions } from '../../lib/kernels.js';
import { native } from '../../lib/native.js';
import { weightTypes as allWeightTypes } from '../reference/stored.js';

export interface Variant {
  name: string;
  options: KernelOptions & { instructionSet: string; threads: number };
}

const device = process.env.MASK_PREDICT_DEVICE;

const instructionSets = native.instructionSets() as NonNullable<KernelOptions['instructionSet']>[];

export const variants: Variant[] = device
  ? [{ name: device, options: { instructionSet: instructionSets[0]!, threads: 1 } }]
  : instructionSets.flatMap((instructionSet) =>
      [1, 2].map((threads) => ({
        name: `${instructionSet} × ${threads}`,
        options: { instructionSet, threads },
      })),
    );

export const onDevice = Boolean(device);

/** The weight types the operations take: on a GPU those of its float32 mode. */
export const weightTypes = device ? (['fp32'] as const) : allWeightTypes;

/** What `packWeight` may make of float32 values. */
export const packedPrecisions = device ? (['fp32'] as const) : (['fp32', 'int8'] as const);
