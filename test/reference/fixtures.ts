/**
 * The checkpoints of test/fixtures with what they must give: five sources with targets, and three decodes of the
 * sources. Padding is gone; every array is one sequence.
 */
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { Tensors } from './safetensors.js';

export const fixtureNames = ['tiny-base', 'tiny-xl', 'tiny-xxl', 'tiny-odd'] as const;
export const decodeIterations = [1, 4, 10] as const;

export interface DecodeStep {
  tokens: Int32Array;
  scores: Float64Array;
}

export interface FixtureCase {
  sourceIds: Int32Array;
  targetIds: Int32Array;
  sourceStates: Float64Array;
  targetStates: Float64Array;
  targetLogits: Float64Array;
  lengthLogits: Float64Array | null;
  decodeLength: number;
  /** By number of iterations: tokens and scores after the predictions of each. */
  decodes: Map<number, DecodeStep[]>;
}

export interface Fixture {
  name: string;
  directory: string;
  cases: FixtureCase[];
}

/** Sources with masks, and the five most probable ids at each of them (spec: a sequence of its own). */
export interface FillCase {
  ids: Int32Array;
  /** By mask, best first. */
  best: { ids: Int32Array; logProbs: Float64Array }[];
}

const padding = 1;

export function readFillCases(name: string, maskTokenId: number, pad = padding): FillCase[] {
  const file = Tensors.file(
    fileURLToPath(new URL(join('../fixtures', name, 'fill.safetensors'), import.meta.url)),
  );
  const { shape, values } = file.integers('ids');
  const [count, longest] = shape as [number, number];
  const best = file.integers('best_ids');
  const each = best.shape[1]!;
  const logProbs = file.get('best_log_probs').values;
  let mask = 0;
  return Array.from({ length: count }, (_, i) => {
    const row = values.slice(i * longest, (i + 1) * longest);
    const ids = row.slice(0, row.findLastIndex((id) => id !== pad) + 1);
    const masks = ids.filter((id) => id === maskTokenId).length;
    return {
      ids,
      best: Array.from({ length: masks }, () => {
        const [begin, end] = [mask * each, ++mask * each];
        return { ids: best.values.slice(begin, end), logProbs: logProbs.slice(begin, end) };
      }),
    };
  });
}

/** Targets over the sources of the fill cases, and their logits `[L, V]` under plain mixed attention, eq. (6). */
export interface MixedCase {
  source: Int32Array;
  target: Int32Array;
  logits: Float64Array;
}

export function readMixedCases(name: string): { directory: string; cases: MixedCase[] } {
  const directory = fileURLToPath(new URL(join('../fixtures', name), import.meta.url));
  const file = Tensors.file(join(directory, 'fill.safetensors'));
  const rows = (tensor: string) => {
    const { shape, values } = file.integers(tensor);
    return Array.from({ length: shape[0]! }, (_, i) => {
      const row = values.slice(i * shape[1]!, (i + 1) * shape[1]!);
      return row.slice(0, row.findLastIndex((id) => id !== padding) + 1);
    });
  };
  const [sources, targets] = [rows('ids'), rows('mixed_target_ids')];
  const { shape, values } = file.get('mixed_target_logits');
  const [, longest, vocabulary] = shape as [number, number, number];
  const cases = targets.map((target, i) => ({
    source: sources[i]!,
    target,
    logits: values.slice(i * longest * vocabulary, (i * longest + target.length) * vocabulary),
  }));
  return { directory, cases };
}

export function readFixture(name: string): Fixture {
  const directory = fileURLToPath(new URL(join('../fixtures', name), import.meta.url));
  const expected = Tensors.file(join(directory, 'expected.safetensors'));
  const count = expected.integers('decode_lengths').shape[0]!;
  const cases = Array.from({ length: count }, (_, i): FixtureCase => {
    /** The first `rows` rows of case `i` of a `[…, cases, rows, width]` tensor. */
    const cut = (name: string, rows: number): Float64Array => {
      const { shape, values } = expected.get(name);
      const width = shape[2]!;
      const start = i * shape[1]! * width;
      return values.slice(start, start + rows * width);
    };
    const ids = (name: string): Int32Array => {
      const { shape, values } = expected.integers(name);
      const row = values.slice(i * shape[1]!, (i + 1) * shape[1]!);
      return row.slice(0, row.findLastIndex((id) => id !== padding) + 1);
    };
    const decodeLength = expected.integers('decode_lengths').values[i]!;
    const decodes = new Map(
      decodeIterations.map((iterations) => {
        const tokens = expected.integers(`decode_T${iterations}_tokens`);
        const scores = expected.get(`decode_T${iterations}_scores`);
        const longest = tokens.shape[2]!;
        const steps = Array.from({ length: iterations }, (_, t) => {
          const start = (t * count + i) * longest;
          return {
            tokens: tokens.values.slice(start, start + decodeLength),
            scores: scores.values.slice(start, start + decodeLength),
          };
        });
        return [iterations, steps];
      }),
    );
    const sourceIds = ids('source_ids');
    const targetIds = ids('target_ids');
    const lengths = expected.has('length_logits') ? expected.get('length_logits') : null;
    return {
      sourceIds,
      targetIds,
      sourceStates: cut('source_states', sourceIds.length),
      targetStates: cut('target_states', targetIds.length),
      targetLogits: cut('target_logits', targetIds.length),
      lengthLogits:
        lengths && lengths.values.slice(i * lengths.shape[1]!, (i + 1) * lengths.shape[1]!),
      decodeLength,
      decodes,
    };
  });
  return { name, directory, cases };
}
