/**
 * `training.safetensors` of a fixture: one batch, its loss and gradients from PyTorch's autograd in float64, and three
 * AdamW steps on it (weight decay on every tensor, no dropout).
 */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { Trainer } from '../../lib/training/trainer.js';
import type { TrainerLoadOptions } from '../../lib/training/trainer-options.js';
import type { StepPart } from '../../lib/training/step.js';
import { Tensors } from '../reference/safetensors.js';

export const goldenNames = ['tiny-base', 'tiny-xl'] as const;

export const directoryOf = (name: string) =>
  fileURLToPath(new URL(join('../fixtures', name), import.meta.url));

export interface Golden {
  tensors: Tensors;
  part: StepPart;
  number(name: string): number;
}

const padding = 1;

export function readGolden(name: string): Golden {
  const tensors = Tensors.file(join(directoryOf(name), 'training.safetensors'));
  const rows = (name: string) => {
    const { shape, values } = tensors.integers(name);
    return Array.from({ length: shape[0]! }, (_, i) => {
      const row = values.slice(i * shape[1]!, (i + 1) * shape[1]!);
      return row.slice(0, row.findLastIndex((id) => id !== padding) + 1);
    });
  };
  return {
    tensors,
    part: { sources: rows('source_ids'), targets: rows('target_ids'), golds: rows('gold_ids') },
    number: (name) => tensors.get(name).values[0]!,
  };
}

/** The trainer that the golden files were made with. */
export const goldenOptions: TrainerLoadOptions = { dropout: 0, decay: 'all', learningRate: 1e-3 };

export const loadGolden = (name: string, options: TrainerLoadOptions = {}) =>
  Trainer.load(directoryOf(name), { ...goldenOptions, threads: 2, ...options });

export function normOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
}

export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum);
}

/** Tensors whose gradient is off by more than float32 may be, as in golden.test.ts. */
export function wrong(
  gradients: Map<string, Float32Array>,
  expected: Map<string, Float64Array>,
): string[] {
  const whole = Math.sqrt([...expected.values()].reduce((sum, g) => sum + normOf(g) ** 2, 0));
  return [...expected.keys()].filter((name) => {
    const gradient = gradients.get(name);
    const bound = 2e-5 * Math.max(normOf(expected.get(name)!), 1e-3 * whole);
    return !gradient || !(distance(gradient, expected.get(name)!) <= bound);
  });
}
