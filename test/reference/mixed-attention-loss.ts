/**
 * The loss of a step with plain mixed attention, eq. (6), in double precision, forward only and one sequence after the
 * other: a source goes through the stack, then each of its targets, which in every layer sees keys and values that the
 * layer's weights make of the source's final states.
 */
import { embed, layerNorm, linear, meanRows, mixedAttention } from './ops.js';
import type { TrainingModel } from './training-model.js';
import type { StepPart } from '../../lib/training/step.js';

export interface MixedLoss {
  loss: number;
  nll: number;
  lengthLoss: number;
}

export function mixedAttentionLoss(
  model: TrainingModel,
  part: StepPart,
  { smoothing = 0.1, lengthWeight = 0.1 } = {},
): MixedLoss {
  const { layers, hidden: width, heads, norm, epsilon, maskTokenId } = model;
  const pre = norm === 'pre';
  const weight = (name: string): Float64Array => {
    const values = model.weights.get(name);
    if (!values) throw new Error(`the model has no ${name}`);
    return values;
  };
  const product = (name: string, input: Float64Array, activation?: 'gelu') => {
    const bias = weight(`${name}.bias`);
    const inner = weight(`${name}.weight`).length / bias.length;
    const sizes = { rows: input.length / inner, inner, outer: bias.length };
    return linear({ input, weight: weight(`${name}.weight`), bias, activation, ...sizes });
  };
  const normed = (name: string, input: Float64Array) =>
    layerNorm(input, weight(`${name}.weight`), weight(`${name}.bias`), epsilon);
  const sum = (a: Float64Array, b: Float64Array) => a.map((x, i) => x + b[i]!);

  /** Final states of `ids`, which see themselves and the source with these final states. */
  const statesOf = (ids: Int32Array, source?: Float64Array): Float64Array => {
    const table = (name: string) => weight(`roberta.embeddings.${name}.weight`);
    const positions = ids.map((_, i) => i + 2);
    const type = table('token_type_embeddings');
    let x = embed(ids, positions, table('word_embeddings'), table('position_embeddings'), width);
    x = x.map((value, i) => value + type[i % width]!);
    if (!pre) x = normed('roberta.embeddings.LayerNorm', x);
    for (let l = 0; l < layers; l++) {
      const prefix = `roberta.encoder.layer.${l}`;
      const self = `${prefix}.attention.self`;
      const first = `${prefix}.attention.${pre ? 'self_attn_layer_norm' : 'output.LayerNorm'}`;
      const second = `${prefix}.${pre ? 'LayerNorm' : 'output.LayerNorm'}`;
      const input = pre ? normed(first, x) : x;
      const attended = mixedAttention({
        heads,
        width,
        query: product(`${self}.query`, input),
        key: product(`${self}.key`, input),
        value: product(`${self}.value`, input),
        queryOffsets: Int32Array.of(0, ids.length),
        ownOffsets: Int32Array.of(0, ids.length),
        ...(source && {
          sourceKey: product(`${self}.key`, source),
          sourceValue: product(`${self}.value`, source),
          sourceOffsets: Int32Array.of(0, source.length / width),
          sourceIndex: Int32Array.of(0),
        }),
      });
      x = sum(x, product(`${prefix}.attention.output.dense`, attended));
      if (!pre) x = normed(first, x);
      const inner = product(`${prefix}.intermediate.dense`, pre ? normed(second, x) : x, 'gelu');
      x = sum(x, product(`${prefix}.output.dense`, inner));
      if (!pre) x = normed(second, x);
    }
    return pre ? normed('roberta.encoder.LayerNorm', x) : x;
  };

  const sources = part.sources.map((ids) => statesOf(ids));
  const realIds = maskTokenId + 1;
  let [masked, nll, smoothed, lengthLoss] = [0, 0, 0, 0];
  part.targets.forEach((target, t) => {
    const source = sources[part.sourceOf ? part.sourceOf[t]! : t]!;
    const gold = part.golds[t]!;
    const states = statesOf(target, source);
    const hidden = normed('lm_head.layer_norm', product('lm_head.dense', states, 'gelu'));
    const words = weight('roberta.embeddings.word_embeddings.weight');
    target.forEach((id, i) => {
      if (id === gold[i] && id !== maskTokenId) return;
      const logits = linear({
        input: hidden.subarray(i * width, (i + 1) * width),
        weight: words.subarray(0, realIds * width),
        bias: weight('lm_head.bias').subarray(0, realIds),
        rows: 1,
        inner: width,
        outer: realIds,
      });
      const logProbs = logits.map((logit) => logit - logSum(logits));
      const mean = logProbs.reduce((total, value) => total + value, 0) / realIds;
      masked++;
      nll -= logProbs[gold[i]!]!;
      smoothed -= (1 - smoothing) * logProbs[gold[i]!]! + smoothing * mean;
    });
    const lengths = weight('embed_length.weight');
    const logits = linear({
      input: meanRows(source, Int32Array.of(0, source.length / width), width),
      weight: lengths,
      rows: 1,
      inner: width,
      outer: lengths.length / width,
    });
    lengthLoss += logSum(logits) - logits[target.length]!;
  });
  lengthLoss /= part.targets.length;
  return { loss: smoothed / masked + lengthWeight * lengthLoss, nll: nll / masked, lengthLoss };
}

function logSum(values: Float64Array): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
