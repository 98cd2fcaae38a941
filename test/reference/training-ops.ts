/**
 * Training's operations in double precision, forward and backward: plain loops, one sum after the other. Each result of
 * a way back comes with what its float32 error is measured by: the sum of the magnitudes of its terms, and how many they
 * are. test/training/gradients.test.ts checks the formulas against central differences.
 */
import { gelu } from './erf.js';
import type { Numbers } from './ops.js';

/** Values, and for each the sum of the magnitudes of its terms. */
export interface Sums {
  values: Float64Array;
  magnitudes: Float64Array;
  /** How many terms a value has, at most, those of its factors included. */
  terms: number;
}

export function sums(count: number, terms: number): Sums {
  return { values: new Float64Array(count), magnitudes: new Float64Array(count), terms };
}

/** Adds a term. */
function add(to: Sums, at: number, value: number, magnitude = Math.abs(value)): void {
  to.values[at]! += value;
  to.magnitudes[at]! += magnitude;
}

/** Y = X·Wᵀ + b, given the gradient of Y. */
export function linearBackward(args: {
  input: Numbers;
  weight: Numbers;
  outputGradient: Numbers;
  rows: number;
  inputs: number;
  outputs: number;
}): Record<'inputGradient' | 'weightGradient' | 'biasGradient', Sums> {
  const { input, weight, outputGradient, rows, inputs, outputs } = args;
  const inputGradient = sums(rows * inputs, outputs);
  const weightGradient = sums(outputs * inputs, rows);
  const biasGradient = sums(outputs, rows);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      const d = outputGradient[r * outputs + o]!;
      add(biasGradient, o, d);
      for (let i = 0; i < inputs; i++) {
        add(inputGradient, r * inputs + i, d * weight[o * inputs + i]!);
        add(weightGradient, o * inputs + i, d * input[r * inputs + i]!);
      }
    }
  }
  return { inputGradient, weightGradient, biasGradient };
}

/** d/dx of x Φ(x), times the gradient. */
export function geluBackward(input: Numbers, outputGradient: Numbers): Sums {
  const result = sums(input.length, 1);
  input.forEach((x, i) => {
    const density = Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI);
    // Φ(x) = gelu(x) / x, and ½ at 0.
    const distribution = x === 0 ? 0.5 : gelu(x) / x;
    const d = outputGradient[i]!;
    // erf and exp have errors of their own, some roundings of 1.
    add(result, i, d * distribution, 2 * Math.abs(d));
    add(result, i, d * x * density, 2 * Math.abs(d));
  });
  return result;
}

/** y = h·gain + shift, h the row with its mean taken off and divided by its deviation. */
export function layerNormBackward(args: {
  input: Numbers;
  gain: Numbers;
  epsilon: number;
  outputGradient: Numbers;
}): Record<'inputGradient' | 'gainGradient' | 'shiftGradient', Sums> {
  const { input, gain, epsilon, outputGradient } = args;
  const width = gain.length;
  const rows = input.length / width;
  const inputGradient = sums(input.length, width);
  const gainGradient = sums(width, rows + width);
  const shiftGradient = sums(width, rows);
  for (let at = 0; at < input.length; at += width) {
    let mean = 0;
    let size = 0;
    for (let c = 0; c < width; c++) {
      mean += input[at + c]! / width;
      size += Math.abs(input[at + c]!) / width;
    }
    let variance = 0;
    for (let c = 0; c < width; c++) variance += (input[at + c]! - mean) ** 2 / width;
    const inverse = 1 / Math.sqrt(variance + epsilon);
    const h = (c: number) => (input[at + c]! - mean) * inverse;
    /** |h| with the two that it is the difference of. */
    const terms = (c: number) => (Math.abs(input[at + c]!) + size) * inverse;
    let meanG = 0;
    let meanGh = 0;
    let sizeG = 0;
    let sizeGh = 0;
    for (let c = 0; c < width; c++) {
      const d = outputGradient[at + c]!;
      const g = d * gain[c]!;
      meanG += g / width;
      meanGh += (g * h(c)) / width;
      sizeG += Math.abs(g) / width;
      sizeGh += (Math.abs(g) * terms(c)) / width;
      add(gainGradient, c, d * h(c), Math.abs(d) * terms(c));
      add(shiftGradient, c, d);
    }
    for (let c = 0; c < width; c++) {
      const g = outputGradient[at + c]! * gain[c]!;
      const value = inverse * (g - meanG - h(c) * meanGh);
      // The deviation itself is known no better than the rows' terms say: once more.
      const magnitude =
        inverse * (Math.abs(g) + sizeG + 2 * terms(c) * (sizeGh + Math.abs(meanGh)));
      add(inputGradient, at + c, value, magnitude);
    }
  }
  return { inputGradient, gainGradient, shiftGradient };
}

/** The rows of sources and targets: each source followed by its targets. */
export interface Groups {
  sourceLengths: Int32Array;
  targetLengths: Int32Array;
  /** Not falling. */
  sourceOf: Int32Array;
}

export interface Sequence {
  /** Rows of the queries. */
  rows: number[];
  /** Rows of the keys they see (eq. (7)). */
  keys: number[];
  /** -1 for a source itself, else the target's number. */
  target: number;
  source: number;
}

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

export function sequencesOf({ sourceLengths, targetLengths, sourceOf }: Groups): Sequence[] {
  const sequences: Sequence[] = [];
  let row = 0;
  sourceLengths.forEach((length, source) => {
    const own = range(row, length);
    row += length;
    sequences.push({ rows: own, keys: own, target: -1, source });
    targetLengths.forEach((length, target) => {
      if (sourceOf[target] !== source) return;
      const rows = range(row, length);
      row += length;
      sequences.push({ rows, keys: [...own, ...rows], target, source });
    });
  });
  return sequences;
}

interface AttentionArguments {
  groups: Groups;
  heads: number;
  /** [rows, 3·width]: queries, keys, values. */
  queryKeyValue: Numbers;
}

/** One query's scores and probabilities over the keys it sees. */
function probabilities(
  states: Numbers,
  width: number,
  first: number,
  size: number,
  query: number,
  keys: number[],
) {
  const scale = 1 / Math.sqrt(size);
  const sizes: number[] = [];
  const scores = keys.map((key) => {
    let sum = 0;
    let magnitude = 0;
    for (let c = first; c < first + size; c++) {
      const product = states[query * 3 * width + c]! * states[key * 3 * width + width + c]! * scale;
      sum += product;
      magnitude += Math.abs(product);
    }
    sizes.push(magnitude);
    return sum;
  });
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // A probability is as uncertain, relatively, as its score and the largest ones.
  const uncertainty = 1 + 2 * Math.max(...sizes) + Math.abs(largest);
  return { p: weights.map((weight) => weight / total), uncertainty };
}

export function attentionForward({
  groups,
  heads,
  queryKeyValue,
}: AttentionArguments): Float64Array {
  const width = widthOf(groups, queryKeyValue);
  const size = width / heads;
  const output = new Float64Array(queryKeyValue.length / 3);
  for (const { rows, keys } of sequencesOf(groups))
    for (const row of rows)
      for (let first = 0; first < width; first += size) {
        const { p } = probabilities(queryKeyValue, width, first, size, row, keys);
        keys.forEach((key, j) => {
          for (let c = first; c < first + size; c++)
            output[row * width + c]! += p[j]! * queryKeyValue[key * 3 * width + 2 * width + c]!;
        });
      }
  return output;
}

const widthOf = ({ sourceLengths, targetLengths }: Groups, queryKeyValue: Numbers) => {
  const rows = [...sourceLengths, ...targetLengths].reduce((sum, length) => sum + length, 0);
  return queryKeyValue.length / rows / 3;
};

/**
 * The gradient of queries, keys and values. `lose`: leaves out what a source's keys and values get from the rows of its
 * targets, for a test that must notice.
 */
export function attentionBackward(
  args: AttentionArguments & { outputGradient: Numbers; lose?: boolean },
): Sums {
  const { groups, heads, queryKeyValue: states, outputGradient } = args;
  const width = widthOf(groups, states);
  const size = width / heads;
  const scale = 1 / Math.sqrt(size);
  const sequences = sequencesOf(groups);
  const most = Math.max(...sequences.map(({ keys }) => keys.length));
  const result = sums(states.length, states.length / 3 / width + most + size);
  for (const { rows, keys, target } of sequences) {
    const own = new Set(rows);
    for (const row of rows)
      for (let first = 0; first < width; first += size) {
        const { p, uncertainty } = probabilities(states, width, first, size, row, keys);
        const at = (of: number, part: number, c: number) => of * 3 * width + part * width + c;
        const d = (c: number) => outputGradient[row * width + c]!;
        let dot = 0;
        let dotSize = 0;
        const products = keys.map((key, j) => {
          let sum = 0;
          let magnitude = 0;
          for (let c = first; c < first + size; c++) {
            const product = d(c) * states[at(key, 2, c)]!;
            sum += product;
            magnitude += Math.abs(product);
          }
          dot += p[j]! * sum;
          dotSize += p[j]! * magnitude;
          return { sum, magnitude };
        });
        keys.forEach((key, j) => {
          const { sum, magnitude } = products[j]!;
          const ds = p[j]! * (sum - dot) * scale;
          const dsSize = p[j]! * (magnitude + dotSize) * scale * uncertainty;
          const lost = args.lose && target >= 0 && !own.has(key);
          for (let c = first; c < first + size; c++) {
            const [q, k] = [states[at(row, 0, c)]!, states[at(key, 1, c)]!];
            add(result, at(row, 0, c), ds * k, dsSize * Math.abs(k));
            if (lost) continue;
            add(result, at(key, 1, c), ds * q, dsSize * Math.abs(q));
            add(result, at(key, 2, c), p[j]! * d(c), p[j]! * Math.abs(d(c)) * uncertainty);
          }
        });
      }
  }
  return result;
}

/** The gradient of a table whose row index[r] was read by row r. */
export function scatterRows(
  index: Int32Array,
  gradient: Numbers,
  width: number,
  tableRows: number,
): Sums {
  const result = sums(tableRows * width, index.length);
  index.forEach((row, r) => {
    for (let c = 0; c < width; c++) add(result, row * width + c, gradient[r * width + c]!);
  });
  return result;
}

export interface HeadLossArguments {
  states: Numbers;
  decoder: Numbers;
  bias: Numbers;
  gold: Int32Array;
  realIds: number;
  smoothing: number;
  /** The weight of a row's loss. */
  factor: number;
}

/** Sums of the rows' losses, and the gradients. */
export function headLoss(args: HeadLossArguments) {
  const { states, decoder, bias, gold, realIds, smoothing, factor } = args;
  const width = states.length / gold.length;
  const terms = width + realIds;
  const stateGradient = sums(states.length, terms);
  const decoderGradient = sums(decoder.length, width + gold.length);
  const biasGradient = sums(bias.length, width + gold.length);
  let nll = 0;
  let smoothed = 0;
  gold.forEach((id, r) => {
    const sizes: number[] = [];
    const logits = Array.from({ length: realIds }, (_, i) => {
      let sum = bias[i]!;
      let magnitude = Math.abs(sum);
      for (let c = 0; c < width; c++) {
        sum += states[r * width + c]! * decoder[i * width + c]!;
        magnitude += Math.abs(states[r * width + c]! * decoder[i * width + c]!);
      }
      sizes.push(magnitude);
      return sum;
    });
    const largest = Math.max(...logits);
    const logSum = largest + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - largest), 0));
    const uncertainty = 1 + 2 * Math.max(...sizes) + Math.abs(logSum);
    const mean = logits.reduce((sum, z) => sum + z / realIds, 0);
    nll += logSum - logits[id]!;
    smoothed += (1 - smoothing) * (logSum - logits[id]!) + smoothing * (logSum - mean);
    for (let i = 0; i < realIds; i++) {
      const p = Math.exp(logits[i]! - logSum);
      const hit = i === id ? 1 - smoothing : 0;
      const dz = factor * (p - smoothing / realIds - hit);
      const size = Math.abs(factor) * (p * uncertainty + smoothing / realIds + hit);
      add(biasGradient, i, dz, size);
      for (let c = 0; c < width; c++) {
        const [h, e] = [states[r * width + c]!, decoder[i * width + c]!];
        add(stateGradient, r * width + c, dz * e, size * Math.abs(e));
        add(decoderGradient, i * width + c, dz * h, size * Math.abs(h));
      }
    }
  });
  return { nll, smoothed, stateGradient, decoderGradient, biasGradient };
}

/**
 * The length predictor's loss: the sum over the targets, and the gradients. `lose`: without the gradient of the source's
 * states.
 */
export function lengthLoss(args: {
  groups: Groups;
  states: Numbers;
  weight: Numbers;
  factor: number;
  lose?: boolean;
}) {
  const { groups, states, weight, factor } = args;
  const sequences = sequencesOf(groups);
  const rows = sequences.reduce((sum, sequence) => sum + sequence.rows.length, 0);
  const width = states.length / rows;
  const lengths = weight.length / width;
  const stateGradient = sums(states.length, lengths + rows);
  const weightGradient = sums(weight.length, rows + lengths);
  let loss = 0;
  for (const source of sequences) {
    if (source.target >= 0) continue;
    const count = source.rows.length;
    const mean = new Float64Array(width);
    const size = new Float64Array(width);
    for (const row of source.rows)
      for (let c = 0; c < width; c++) {
        mean[c]! += states[row * width + c]! / count;
        size[c]! += Math.abs(states[row * width + c]!) / count;
      }
    let largestSize = 0;
    const logits = Array.from({ length: lengths }, (_, n) => {
      let sum = 0;
      let magnitude = 0;
      for (let c = 0; c < width; c++) {
        sum += weight[n * width + c]! * mean[c]!;
        magnitude += Math.abs(weight[n * width + c]!) * size[c]!;
      }
      largestSize = Math.max(largestSize, magnitude);
      return sum;
    });
    const largest = Math.max(...logits);
    const logSum = largest + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - largest), 0));
    const uncertainty = 1 + 2 * largestSize + Math.abs(logSum);
    const targets = sequences.filter(
      (sequence) => sequence.target >= 0 && sequence.source === source.source,
    );
    const hits = new Float64Array(lengths);
    for (const { rows } of targets) {
      hits[rows.length]! += 1;
      loss += logSum - logits[rows.length]!;
    }
    for (let n = 0; n < lengths; n++) {
      const p = Math.exp(logits[n]! - logSum) * targets.length;
      const dz = factor * (p - hits[n]!);
      const dzSize = Math.abs(factor) * (p * uncertainty + hits[n]!);
      for (let c = 0; c < width; c++) {
        add(weightGradient, n * width + c, dz * mean[c]!, dzSize * size[c]!);
        const w = weight[n * width + c]! / count;
        if (!args.lose)
          for (const row of source.rows)
            add(stateGradient, row * width + c, dz * w, dzSize * Math.abs(w));
      }
    }
  }
  return { loss, stateGradient, weightGradient };
}

export interface AdamwArguments {
  weights: Numbers;
  gradients: Numbers;
  first: Numbers;
  second: Numbers;
  /** How many weights, from the first, decay. */
  decayed: number;
  rate: number;
  /** The number of this update, from 1. */
  number: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  clipNorm: number;
  /** The average of the weights, and its decay. */
  average: ArrayLike<number>;
  averageDecay: number;
}

export function adamw(args: AdamwArguments) {
  const { beta1, beta2, rate, number, epsilon, clipNorm } = args;
  const norm = Math.sqrt(Array.from(args.gradients).reduce((sum, g) => sum + g * g, 0));
  const clip = clipNorm > 0 ? Math.min(1, clipNorm / (norm + 1e-6)) : 1;
  const first = Float64Array.from(
    args.first,
    (m, i) => beta1 * m + (1 - beta1) * clip * args.gradients[i]!,
  );
  const second = Float64Array.from(
    args.second,
    (v, i) => beta2 * v + (1 - beta2) * (clip * args.gradients[i]!) ** 2,
  );
  const weights = Float64Array.from(args.weights, (w, i) => {
    const decay = i < args.decayed ? rate * args.weightDecay : 0;
    const m = first[i]! / (1 - beta1 ** number);
    const v = second[i]! / (1 - beta2 ** number);
    return w * (1 - decay) - (rate * m) / (Math.sqrt(v) + epsilon);
  });
  const kept = Math.min(args.averageDecay, (1 + number) / (10 + number));
  const average = weights.map((w, i) => kept * args.average[i]! + (1 - kept) * w);
  return { norm, first, second, weights, average };
}
