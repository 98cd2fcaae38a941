/**
 * Every way the CPU kernels run on this machine: each instruction set, on one thread and on two.
 */
import type { KernelOptions } from '../../lib/kernels.js';
import { native } from '../../lib/native.js';

export interface Variant {
  name: string;
  options: KernelOptions & { instructionSet: string; threads: number };
}

export const instructionSets = native.instructionSets() as NonNullable<
  KernelOptions['instructionSet']
>[];

export const variants: Variant[] = instructionSets.flatMap((instructionSet) =>
  [1, 2].map((threads) => ({
    name: `${instructionSet} × ${threads}`,
    options: { instructionSet, threads },
  })),
);
