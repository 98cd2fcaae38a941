/**
 * A training step of a whole model in double precision: loss and gradients by the operations of training-ops.ts, without
 * dropout. Weights are read by Hugging Face's names.
 */
import { gelu } from './erf.js';
import { embed, layerNorm, linear } from './ops.js';
import {
  attentionBackward,
  attentionForward,
  geluBackward,
  headLoss,
  layerNormBackward,
  lengthLoss,
  linearBackward,
  scatterRows,
  sequencesOf,
  type Groups,
} from './training-ops.js';
import type { StepPart } from '../../lib/training/step.js';

export interface TrainingModel {
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  norm: 'pre' | 'post';
  epsilon: number;
  maskTokenId: number;
  weights: Map<string, Float64Array>;
}

/** The sums that are easy to lose (training.md, 5). */
export type EasilyLost = 'source keys' | 'tied head' | 'length mean';

export interface TrainingStepOptions {
  smoothing?: number;
  lengthWeight?: number;
  /** Leaves one of the sums out, for a test that must notice. */
  lose?: EasilyLost;
}

export interface ReferenceStep {
  loss: number;
  nll: number;
  lengthLoss: number;
  gradients: Map<string, Float64Array>;
}

interface Batch {
  groups: Groups;
  ids: Int32Array;
  positions: Int32Array;
  masked: number[];
  gold: Int32Array;
}

function batchOf(part: StepPart, maskTokenId: number): Batch {
  const sourceOf = part.sourceOf ?? Int32Array.from(part.targets, (_, i) => i);
  // Targets in the order of their sources.
  const order = [...sourceOf.keys()].sort((a, b) => sourceOf[a]! - sourceOf[b]! || a - b);
  const groups = {
    sourceLengths: Int32Array.from(part.sources, (ids) => ids.length),
    targetLengths: Int32Array.from(order, (t) => part.targets[t]!.length),
    sourceOf: Int32Array.from(order, (t) => sourceOf[t]!),
  };
  const ids: number[] = [];
  const positions: number[] = [];
  const masked: number[] = [];
  const gold: number[] = [];
  for (const { target, source } of sequencesOf(groups)) {
    const sequence = target < 0 ? part.sources[source]! : part.targets[order[target]!]!;
    sequence.forEach((id, i) => {
      const answer = target < 0 ? id : part.golds[order[target]!]![i]!;
      if (target >= 0 && (id !== answer || id === maskTokenId)) {
        masked.push(ids.length);
        gold.push(answer);
      }
      ids.push(id);
      positions.push(i + 2);
    });
  }
  return {
    groups,
    ids: Int32Array.from(ids),
    positions: Int32Array.from(positions),
    masked,
    gold: Int32Array.from(gold),
  };
}

/** One step over a model: what the forward keeps is what the way back needs. */
class Step {
  readonly #model: TrainingModel;
  readonly #batch: Batch;
  readonly #lose: EasilyLost | undefined;
  readonly gradients = new Map<string, Float64Array>();
  /** The steps of the backward pass; it runs them from the last to the first. */
  readonly #back: (() => void)[] = [];
  #states!: Float64Array;
  /** The gradient of `#states` during the backward pass. */
  #gradient!: Float64Array;

  constructor(model: TrainingModel, batch: Batch, lose: EasilyLost | undefined) {
    this.#model = model;
    this.#batch = batch;
    this.#lose = lose;
    for (const [name, values] of model.weights)
      this.gradients.set(name, new Float64Array(values.length));
  }

  #weight(name: string): Float64Array {
    const values = this.#model.weights.get(name);
    if (!values) throw new Error(`the model has no ${name}`);
    return values;
  }

  #give(name: string, gradient: Float64Array): void {
    const sum = this.gradients.get(name)!;
    gradient.forEach((value, i) => (sum[i]! += value));
  }

  /** A product, and the way back through it: from the gradient of its output to that of its input. */
  #linear(name: string, input: Float64Array, outputs: number) {
    const weight = this.#weight(`${name}.weight`);
    const bias = this.#weight(`${name}.bias`);
    const inputs = weight.length / outputs;
    const rows = input.length / inputs;
    const output = linear({ input, weight, bias, rows, inner: inputs, outer: outputs });
    const back = (outputGradient: Float64Array): Float64Array => {
      const g = linearBackward({ input, weight, outputGradient, rows, inputs, outputs });
      this.#give(`${name}.weight`, g.weightGradient.values);
      this.#give(`${name}.bias`, g.biasGradient.values);
      return g.inputGradient.values;
    };
    return { output, back };
  }

  #norm(name: string, input: Float64Array) {
    const { epsilon } = this.#model;
    const gain = this.#weight(`${name}.weight`);
    const output = layerNorm(input, gain, this.#weight(`${name}.bias`), epsilon);
    const back = (outputGradient: Float64Array): Float64Array => {
      const g = layerNormBackward({ input, gain, epsilon, outputGradient });
      this.#give(`${name}.weight`, g.gainGradient.values);
      this.#give(`${name}.bias`, g.shiftGradient.values);
      return g.inputGradient.values;
    };
    return { output, back };
  }

  /** A block joins the residual stream, with its norm before or after. */
  #block(
    norm: string,
    block: (input: Float64Array) => {
      output: Float64Array;
      back: (g: Float64Array) => Float64Array;
    },
  ): void {
    const before = this.#states;
    if (this.#model.norm === 'pre') {
      const normed = this.#norm(norm, before);
      const { output, back } = block(normed.output);
      this.#states = before.map((x, i) => x + output[i]!);
      this.#back.push(() => {
        const through = normed.back(back(this.#gradient));
        this.#gradient = this.#gradient.map((g, i) => g + through[i]!);
      });
    } else {
      const { output, back } = block(before);
      const normed = this.#norm(
        norm,
        before.map((x, i) => x + output[i]!),
      );
      this.#states = normed.output;
      this.#back.push(() => {
        const sum = normed.back(this.#gradient);
        const through = back(sum);
        this.#gradient = sum.map((g, i) => g + through[i]!);
      });
    }
  }

  #layer(index: number): void {
    const { hidden, heads, feedForward, norm } = this.#model;
    const prefix = `roberta.encoder.layer.${index}`;
    const pre = norm === 'pre';
    const attention = pre ? 'attention.self_attn_layer_norm' : 'attention.output.LayerNorm';
    this.#block(`${prefix}.${attention}`, (input) => {
      const rows = input.length / hidden;
      const parts = ['query', 'key', 'value'].map((name) =>
        this.#linear(`${prefix}.attention.self.${name}`, input, hidden),
      );
      const queryKeyValue = new Float64Array(rows * 3 * hidden);
      const at = (row: number, part: number) => (row * 3 + part) * hidden;
      for (let row = 0; row < rows; row++)
        parts.forEach(({ output }, part) =>
          queryKeyValue.set(output.subarray(row * hidden, (row + 1) * hidden), at(row, part)),
        );
      const args = { groups: this.#batch.groups, heads, queryKeyValue };
      const projection = this.#linear(
        `${prefix}.attention.output.dense`,
        attentionForward(args),
        hidden,
      );
      const back = (outputGradient: Float64Array) => {
        const { values } = attentionBackward({
          ...args,
          outputGradient: projection.back(outputGradient),
          lose: this.#lose === 'source keys',
        });
        const inputGradient = new Float64Array(input.length);
        parts.forEach((part, p) => {
          const own = new Float64Array(rows * hidden);
          for (let row = 0; row < rows; row++)
            own.set(values.subarray(at(row, p), at(row, p) + hidden), row * hidden);
          part.back(own).forEach((value, i) => (inputGradient[i]! += value));
        });
        return inputGradient;
      };
      return { output: projection.output, back };
    });
    this.#block(`${prefix}.${pre ? 'LayerNorm' : 'output.LayerNorm'}`, (input) => {
      const wide = this.#linear(`${prefix}.intermediate.dense`, input, feedForward);
      const narrow = this.#linear(`${prefix}.output.dense`, wide.output.map(gelu), hidden);
      const back = (g: Float64Array) => wide.back(geluBackward(wide.output, narrow.back(g)).values);
      return { output: narrow.output, back };
    });
  }

  #embeddings(): void {
    const { hidden, norm } = this.#model;
    const { ids, positions } = this.#batch;
    const name = (of: string) => `roberta.embeddings.${of}`;
    const words = name('word_embeddings.weight');
    const table = name('position_embeddings.weight');
    const types = name('token_type_embeddings.weight');
    const hasTypes = this.#model.weights.has(types);
    this.#states = embed(ids, positions, this.#weight(words), this.#weight(table), hidden);
    if (hasTypes) {
      const type = this.#weight(types);
      this.#states = this.#states.map((x, i) => x + type[i % hidden]!);
    }
    this.#back.push(() => {
      const scatter = (of: string, index: Int32Array) => {
        const rows = this.#weight(of).length / hidden;
        this.#give(of, scatterRows(index, this.#gradient, hidden, rows).values);
      };
      scatter(words, ids);
      scatter(table, positions);
      if (hasTypes) scatter(types, new Int32Array(ids.length));
    });
    if (norm === 'post') this.#normHere(name('LayerNorm'));
  }

  #normHere(name: string): void {
    const normed = this.#norm(name, this.#states);
    this.#states = normed.output;
    this.#back.push(() => (this.#gradient = normed.back(this.#gradient)));
  }

  run({
    smoothing = 0.1,
    lengthWeight = 0.1,
  }: TrainingStepOptions): Omit<ReferenceStep, 'gradients'> {
    const { layers, hidden, norm, maskTokenId } = this.#model;
    const { groups, masked, gold } = this.#batch;
    this.#embeddings();
    for (let l = 0; l < layers; l++) this.#layer(l);
    if (norm === 'pre') this.#normHere('roberta.encoder.LayerNorm');

    const states = this.#states;
    const predicted = new Float64Array(masked.length * hidden);
    masked.forEach((row, i) =>
      predicted.set(states.subarray(row * hidden, (row + 1) * hidden), i * hidden),
    );
    const dense = this.#linear('lm_head.dense', predicted, hidden);
    const normed = this.#norm('lm_head.layer_norm', dense.output.map(gelu));
    const own = 'lm_head.decoder.weight';
    const decoder = this.#model.weights.has(own)
      ? own
      : 'roberta.embeddings.word_embeddings.weight';
    const head = headLoss({
      states: normed.output,
      decoder: this.#weight(decoder),
      bias: this.#weight('lm_head.bias'),
      gold,
      realIds: maskTokenId + 1,
      smoothing,
      factor: 1 / masked.length,
    });
    const targets = groups.targetLengths.length;
    const length = lengthLoss({
      groups,
      states,
      weight: this.#weight('embed_length.weight'),
      factor: lengthWeight / targets,
      lose: this.#lose === 'length mean',
    });

    if (this.#lose !== 'tied head') this.#give(decoder, head.decoderGradient.values);
    this.#give('lm_head.bias', head.biasGradient.values);
    this.#give('embed_length.weight', length.weightGradient.values);
    this.#gradient = Float64Array.from(length.stateGradient.values);
    const back = dense.back(
      geluBackward(dense.output, normed.back(head.stateGradient.values)).values,
    );
    masked.forEach((row, i) => {
      for (let c = 0; c < hidden; c++) this.#gradient[row * hidden + c]! += back[i * hidden + c]!;
    });
    for (const step of this.#back.reverse()) step();
    const lengthMean = length.loss / targets;
    return {
      loss: head.smoothed / masked.length + lengthWeight * lengthMean,
      nll: head.nll / masked.length,
      lengthLoss: lengthMean,
    };
  }
}

/** Loss and gradients of one part. */
export function referenceStep(
  model: TrainingModel,
  part: StepPart,
  options: TrainingStepOptions = {},
): ReferenceStep {
  const step = new Step(model, batchOf(part, model.maskTokenId), options.lose);
  const losses = step.run(options);
  return { ...losses, gradients: step.gradients };
}
