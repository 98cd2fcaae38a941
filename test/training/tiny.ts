/** Very small models and parts of a step, drawn. */
import type { Test } from 'tap';
import { Random } from '../reference/random.js';
import type { TrainingModel } from '../reference/training-model.js';
import type { StepPart } from '../../lib/training/step.js';
import { safetensorsOf, type Tensors } from '../safetensors-writer.js';

export interface TinyShape {
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  norm: 'pre' | 'post';
  vocabulary: number;
  /** Rows of the embedding beyond the real ids. */
  padded?: number;
  positions: number;
  lengths: number;
}

/** Weights of every tensor the shape has, norms not quite 1 and 0. */
export function tinyModel(shape: TinyShape, seed: number): TrainingModel {
  const random = new Random(seed);
  const { layers, hidden: d, feedForward: f, norm, vocabulary } = shape;
  const rows = vocabulary + (shape.padded ?? 0);
  const weights = new Map<string, Float64Array>();
  const draw = (name: string, count: number, deviation: number, mean = 0) =>
    weights.set(
      name,
      Float64Array.from(random.normals(count, deviation), (value) => Math.fround(mean + value)),
    );
  const linear = (name: string, outputs: number, inputs: number) => {
    draw(`${name}.weight`, outputs * inputs, 1 / Math.sqrt(inputs));
    draw(`${name}.bias`, outputs, 0.1);
  };
  const layerNorm = (name: string) => {
    draw(`${name}.weight`, d, 0.1, 1);
    draw(`${name}.bias`, d, 0.1);
  };
  const pre = norm === 'pre';
  draw('roberta.embeddings.word_embeddings.weight', rows * d, 0.5);
  draw('roberta.embeddings.position_embeddings.weight', shape.positions * d, 0.5);
  draw('roberta.embeddings.token_type_embeddings.weight', d, 0.5);
  layerNorm(pre ? 'roberta.encoder.LayerNorm' : 'roberta.embeddings.LayerNorm');
  for (let l = 0; l < layers; l++) {
    const prefix = `roberta.encoder.layer.${l}`;
    for (const name of ['query', 'key', 'value']) linear(`${prefix}.attention.self.${name}`, d, d);
    linear(`${prefix}.attention.output.dense`, d, d);
    linear(`${prefix}.intermediate.dense`, f, d);
    linear(`${prefix}.output.dense`, d, f);
    const first = pre ? 'attention.self_attn_layer_norm' : 'attention.output.LayerNorm';
    layerNorm(`${prefix}.${first}`);
    layerNorm(`${prefix}.${pre ? 'LayerNorm' : 'output.LayerNorm'}`);
  }
  linear('lm_head.dense', d, d);
  layerNorm('lm_head.layer_norm');
  draw('lm_head.bias', rows, 0.1);
  draw('embed_length.weight', shape.lengths * d, 0.5);
  return { ...shape, epsilon: 1e-5, maskTokenId: vocabulary - 1, weights };
}

/**
 * A part with whatever is unusual: sources that several targets share, a source without a mask beside one that has
 * some, targets of one token, a target whose masked positions are none but one.
 */
export function tinyPart(
  random: Random,
  { vocabulary, positions, lengths }: TinyShape,
  sources = 3,
): StepPart {
  const mask = vocabulary - 1;
  const longest = Math.min(positions - 2, lengths - 1, 9);
  const draw = (inner: number) => Int32Array.of(0, ...random.integers(inner, 3, vocabulary - 2), 2);
  const part: StepPart & { sourceOf: Int32Array } = {
    sources: [],
    targets: [],
    golds: [],
    sourceOf: new Int32Array(),
  };
  const sourceOf: number[] = [];
  for (let s = 0; s < sources; s++) {
    const source = draw(random.integer(1, longest - 2));
    if (s % 2 === 1) source[1] = mask;
    part.sources.push(source);
    for (let t = 0; t <= s % 3; t++) {
      const gold = draw(t === 0 && s === 0 ? 1 : random.integer(1, longest - 2));
      const target = gold.map((id, i) =>
        i > 0 && i < gold.length - 1 && (i === 1 || random.uniform() < 0.5) ? mask : id,
      );
      part.golds.push(gold);
      part.targets.push(target);
      sourceOf.push(s);
    }
  }
  part.sourceOf = Int32Array.from(sourceOf);
  return part;
}

/** A directory of the model. */
export function directoryOf(
  t: Test,
  shape: TinyShape,
  model: TrainingModel,
  own?: Float64Array,
): string {
  const d = shape.hidden;
  const tensors: Tensors = new Map();
  const put = (name: string, values: Float64Array) => {
    const vector = name.endsWith('.bias') || /(LayerNorm|layer_norm)\.weight$/.test(name);
    // The inner dimension of every matrix is the width, except that of the second product.
    const inner = /\d\.output\.dense\.weight$/.test(name) ? shape.feedForward : d;
    const bytes = new Uint8Array(Float32Array.from(values).buffer);
    const tensor = vector ? [values.length] : [values.length / inner, inner];
    tensors.set(name, { dtype: 'F32', shape: tensor, bytes });
  };
  for (const [name, values] of model.weights) put(name, values);
  if (own) put('lm_head.decoder.weight', own);
  const config = {
    model_type: shape.norm === 'pre' ? 'xlm-roberta-xl' : 'xlm-roberta',
    vocab_size: shape.vocabulary + (shape.padded ?? 0),
    hidden_size: d,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    intermediate_size: shape.feedForward,
    max_position_embeddings: shape.positions,
    layer_norm_eps: 1e-5,
    mask_token_id: shape.vocabulary - 1,
    ...(own && { tie_word_embeddings: false }),
  };
  return t.testdir({
    'config.json': JSON.stringify(config),
    'model.safetensors': safetensorsOf(tensors),
  });
}
