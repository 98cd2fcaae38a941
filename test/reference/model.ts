/**
 * The whole model in double precision, read straight from its definition: one stack of layers for source and target
 * with dynamic mixed attention (eq. (7)), the LM head, the length head, and the Mask-Predict loop. A target is computed
 * anew in every iteration; only the source's keys and values are kept, because they cannot change.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { embed, layerNorm, linear, meanRows, mixedAttention } from './ops.js';
import { lowestScores, predictRow, remaskCount } from './prediction.js';
import { Tensors } from './safetensors.js';

export interface ReferenceSource {
  /** Keys and values of every layer, `[S, D]` each. */
  layers: { key: Float64Array; value: Float64Array }[];
  /** Final states `[S, D]`. */
  states: Float64Array;
}

export class ReferenceModel {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly maskTokenId: number;
  readonly #epsilon: number;
  readonly #preNorm: boolean;
  readonly #tensors: Tensors;

  constructor(directory: string) {
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<
      string,
      number | string
    >;
    this.layers = Number(config['num_hidden_layers']);
    this.width = Number(config['hidden_size']);
    this.heads = Number(config['num_attention_heads']);
    this.vocabulary = Number(config['vocab_size']);
    this.maskTokenId = Number(config['mask_token_id']);
    this.#epsilon = Number(config['layer_norm_eps']);
    this.#preNorm = config['model_type'] === 'xlm-roberta-xl';
    this.#tensors = Tensors.checkpoint(directory);
  }

  #dense(
    input: Float64Array,
    name: string,
    options: { activation?: 'gelu'; residual?: Float64Array } = {},
  ): Float64Array {
    const { shape, values } = this.#tensors.get(`${name}.weight`);
    const [outer, inner] = shape as [number, number];
    const bias = this.#tensors.get(`${name}.bias`).values;
    return linear({
      input,
      weight: values,
      rows: input.length / inner,
      inner,
      outer,
      bias,
      ...options,
    });
  }

  #norm(input: Float64Array, name: string): Float64Array {
    const gain = this.#tensors.get(`${name}.weight`).values;
    return layerNorm(input, gain, this.#tensors.get(`${name}.bias`).values, this.#epsilon);
  }

  /** Words + positions from 2 on + token type 0. */
  #embeddings(ids: Int32Array): Float64Array {
    const table = (name: string) => this.#tensors.get(`roberta.embeddings.${name}`).values;
    const positions = Int32Array.from(ids, (_, i) => i + 2);
    const words = table('word_embeddings.weight');
    const sum = embed(ids, positions, words, table('position_embeddings.weight'), this.width);
    const type = table('token_type_embeddings.weight');
    const states = sum.map((x, i) => x + type[i % this.width]!);
    return this.#preNorm ? states : this.#norm(states, 'roberta.embeddings.LayerNorm');
  }

  /** One layer for one sequence that sees `source` and itself. */
  #layer(l: number, states: Float64Array, source?: { key: Float64Array; value: Float64Array }) {
    const prefix = `roberta.encoder.layer.${l}`;
    const pre = this.#preNorm;
    const first = `${prefix}.attention.${pre ? 'self_attn_layer_norm' : 'output.LayerNorm'}`;
    const second = pre ? `${prefix}.LayerNorm` : `${prefix}.output.LayerNorm`;

    const input = pre ? this.#norm(states, first) : states;
    const key = this.#dense(input, `${prefix}.attention.self.key`);
    const value = this.#dense(input, `${prefix}.attention.self.value`);
    const rows = Int32Array.of(0, states.length / this.width);
    const attended = mixedAttention({
      heads: this.heads,
      width: this.width,
      query: this.#dense(input, `${prefix}.attention.self.query`),
      key,
      value,
      queryOffsets: rows,
      ownOffsets: rows,
      sourceKey: source?.key,
      sourceValue: source?.value,
      sourceOffsets: Int32Array.of(0, (source?.key.length ?? 0) / this.width),
      sourceIndex: Int32Array.of(source ? 0 : -1),
    });
    let x = this.#dense(attended, `${prefix}.attention.output.dense`, { residual: states });
    if (!pre) x = this.#norm(x, first);

    const hidden = this.#dense(pre ? this.#norm(x, second) : x, `${prefix}.intermediate.dense`, {
      activation: 'gelu',
    });
    x = this.#dense(hidden, `${prefix}.output.dense`, { residual: x });
    if (!pre) x = this.#norm(x, second);
    return { states: x, key, value };
  }

  #final(states: Float64Array): Float64Array {
    return this.#preNorm ? this.#norm(states, 'roberta.encoder.LayerNorm') : states;
  }

  /** `ids` with `<s>` and `</s>`, no padding. */
  encode(ids: Int32Array): ReferenceSource {
    const layers = [];
    let states = this.#embeddings(ids);
    for (let l = 0; l < this.layers; l++) {
      const layer = this.#layer(l, states);
      layers.push({ key: layer.key, value: layer.value });
      states = layer.states;
    }
    return { layers, states: this.#final(states) };
  }

  /** Final states `[L, D]` of a target over its source. */
  targetStates(source: ReferenceSource, ids: Int32Array): Float64Array {
    let states = this.#embeddings(ids);
    source.layers.forEach((cached, l) => (states = this.#layer(l, states, cached).states));
    return this.#final(states);
  }

  /** Raw logits `[rows, V]` of final states. */
  logits(states: Float64Array): Float64Array {
    const hidden = this.#dense(states, 'lm_head.dense', { activation: 'gelu' });
    const input = this.#norm(hidden, 'lm_head.layer_norm');
    const tied = 'roberta.embeddings.word_embeddings.weight';
    const own = 'lm_head.decoder.weight';
    const weight = this.#tensors.get(this.#tensors.has(own) ? own : tied).values;
    const bias = this.#tensors.get('lm_head.bias').values;
    const rows = states.length / this.width;
    return linear({ input, weight, rows, inner: this.width, outer: this.vocabulary, bias });
  }

  /** One logit per class of a sequence classifier: its dense layer and tanh on the state of `<s>`. */
  classLogits(states: Float64Array): Float64Array {
    const hidden = this.#dense(states.subarray(0, this.width), 'classifier.dense');
    return this.#dense(hidden.map(Math.tanh), 'classifier.out_proj');
  }

  /** Logits `[rows, classes]` of a token classifier. */
  tokenLogits(states: Float64Array): Float64Array {
    return this.#dense(states, 'classifier');
  }

  /** One logit per length, or null without a length head. */
  lengthLogits(source: ReferenceSource): Float64Array | null {
    if (!this.#tensors.has('embed_length.weight')) return null;
    const { values: weight, shape } = this.#tensors.get('embed_length.weight');
    const all = Int32Array.of(0, source.states.length / this.width);
    const input = meanRows(source.states, all, this.width);
    return linear({ input, weight, rows: 1, inner: this.width, outer: shape[0]! });
  }

  /** Mask-Predict: tokens and scores after the predictions of each iteration, before re-masking. */
  *decode(source: ReferenceSource, length: number, iterations: number) {
    const mask = this.maskTokenId;
    const tokens = new Int32Array(length).fill(mask);
    tokens[0] = 0;
    tokens[length - 1] = 2;
    const scores = new Float64Array(length);
    const maskable = Uint8Array.from(tokens, (id) => (id === mask ? 1 : 0));
    for (let t = 1; t <= iterations; t++) {
      const logits = this.logits(this.targetStates(source, tokens));
      tokens.forEach((id, i) => {
        if (id !== mask) return;
        const row = logits.subarray(i * this.vocabulary, (i + 1) * this.vocabulary);
        const best = predictRow(row, mask);
        tokens[i] = best.id;
        scores[i] = best.logProb;
      });
      yield { tokens: tokens.slice(), scores: scores.slice() };
      const chosen = lowestScores(scores, maskable, remaskCount(length - 2, t, iterations));
      chosen.forEach((flag, i) => {
        if (flag) tokens[i] = mask;
        if (flag) scores[i] = 0;
      });
    }
  }
}
