/**
 * The two autoregressive models of bench/autoregressive in double precision, without any cache: all positions of a
 * text are computed anew, each seeing those up to itself. Norms are drawn as 1 and 0, so none has weights here.
 */
import { embed, layerNorm, linear, mixedAttention } from './ops.js';
import { RandomWeights } from './random-weights.js';

export interface AutoregressiveModel {
  architecture: 'decoder-only' | 'encoder-decoder';
  precision: 'fp32' | 'bf16';
  seed: number;
  /** The layers of the encoder-only model of the same size. */
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  vocabulary: number;
  maxPositions: number;
  maskTokenId: number;
  norm: 'pre' | 'post';
}

const epsilon = 1e-5;

export class ReferenceAutoregressive {
  readonly #model: AutoregressiveModel;
  readonly #weights: RandomWeights;
  readonly #matrices = new Map<string, { weight: Float64Array; bias: Float64Array }>();
  readonly #words: Float64Array;
  readonly #positions: Float64Array;
  /** Layers and feed-forward of one stack. */
  readonly #layers: number;
  readonly #feedForward: number;

  constructor(model: AutoregressiveModel) {
    this.#model = model;
    this.#weights = new RandomWeights(model.seed, model.precision);
    const { hidden, vocabulary, maxPositions } = model;
    const embeddings = 'roberta.embeddings';
    this.#words = this.#weights.matrix(`${embeddings}.word_embeddings.weight`, vocabulary, hidden);
    const positions = `${embeddings}.position_embeddings.weight`;
    this.#positions = this.#weights.table(positions, maxPositions, hidden);
    const half = model.architecture === 'encoder-decoder';
    this.#layers = half ? model.layers / 2 : model.layers;
    this.#feedForward = half ? model.feedForward - hidden : model.feedForward;
  }

  #dense(
    input: Float64Array,
    name: string,
    outer: number,
    options: { activation?: 'gelu'; residual?: Float64Array; bias?: string } = {},
  ): Float64Array {
    const { hidden } = this.#model;
    const inner =
      name.endsWith('.output.dense') && !name.includes('attention') ? this.#feedForward : hidden;
    let found = this.#matrices.get(name);
    if (!found) {
      const weight = this.#weights.matrix(`${name}.weight`, outer, inner);
      found = { weight, bias: this.#weights.bias(`${name}.bias`, outer) };
      this.#matrices.set(name, found);
    }
    const { activation, residual } = options;
    return linear({
      input,
      ...found,
      rows: input.length / inner,
      inner,
      outer,
      activation,
      residual,
    });
  }

  #norm(input: Float64Array): Float64Array {
    const { hidden } = this.#model;
    return layerNorm(input, new Float64Array(hidden).fill(1), new Float64Array(hidden), epsilon);
  }

  #embeddings(ids: Int32Array): Float64Array {
    const positions = Int32Array.from(ids, (_, i) => i + 2);
    const states = embed(ids, positions, this.#words, this.#positions, this.#model.hidden);
    return this.#model.norm === 'pre' ? states : this.#norm(states);
  }

  /** Row by row: row i sees the first `sees(i)` rows of keys and values. */
  #attend(
    query: Float64Array,
    key: Float64Array,
    value: Float64Array,
    sees: (row: number) => number,
  ) {
    const { hidden: width, heads } = this.#model;
    const output = new Float64Array(query.length);
    for (let row = 0; row * width < query.length; row++) {
      const seen = mixedAttention({
        heads,
        width,
        query: query.subarray(row * width, (row + 1) * width),
        key,
        value,
        queryOffsets: Int32Array.of(0, 1),
        ownOffsets: Int32Array.of(0, sees(row)),
      });
      output.set(seen, row * width);
    }
    return output;
  }

  /** One block: what it computes from the (normed) states is added to them, and normed where norms come after. */
  #block(
    states: Float64Array,
    body: (input: Float64Array, residual: Float64Array) => Float64Array,
  ): Float64Array {
    const pre = this.#model.norm === 'pre';
    const sum = body(pre ? this.#norm(states) : states, states);
    return pre ? sum : this.#norm(sum);
  }

  /** The layers `first` … `first + layers - 1` over a whole text; `source`: the states it attends to besides. */
  #stack(ids: Int32Array, first: number, causal: boolean, source?: Float64Array): Float64Array {
    const { hidden } = this.#model;
    const rows = ids.length;
    let states = this.#embeddings(ids);
    for (let l = 0; l < this.#layers; l++) {
      const prefix = `roberta.encoder.layer.${first + l}`;
      states = this.#block(states, (input, residual) => {
        const [query, key, value] = ['query', 'key', 'value'].map((name) =>
          this.#dense(input, `${prefix}.attention.self.${name}`, hidden),
        ) as [Float64Array, Float64Array, Float64Array];
        const attended = this.#attend(query, key, value, (row) => (causal ? row + 1 : rows));
        return this.#dense(attended, `${prefix}.attention.output.dense`, hidden, { residual });
      });
      if (source) {
        const cross = `decoder.layer.${l}.cross_attention`;
        states = this.#block(states, (input, residual) => {
          const query = this.#dense(input, `${cross}.query`, hidden);
          const both = this.#dense(source, `${cross}.key_value`, 2 * hidden);
          const part = (from: number) => both.filter((_, i) => Math.floor(i / hidden) % 2 === from);
          const attended = this.#attend(query, part(0), part(1), () => source.length / hidden);
          return this.#dense(attended, `${cross}.output`, hidden, { residual });
        });
      }
      states = this.#block(states, (input, residual) => {
        const wide = this.#dense(input, `${prefix}.intermediate.dense`, this.#feedForward, {
          activation: 'gelu',
        });
        return this.#dense(wide, `${prefix}.output.dense`, hidden, { residual });
      });
    }
    return this.#model.norm === 'pre' ? this.#norm(states) : states;
  }

  /** The logits `[vocabulary]` from which each of `generated` was chosen, given the prompt and those before it. */
  logits(prompt: Int32Array, generated: Int32Array): Float64Array[] {
    const { hidden, vocabulary, architecture } = this.#model;
    const before = generated.subarray(0, -1);
    let states: Float64Array;
    if (architecture === 'decoder-only') {
      const all = this.#stack(Int32Array.of(...prompt, ...before), 0, true);
      states = all.subarray((prompt.length - 1) * hidden);
    } else {
      const source = this.#stack(prompt, 0, false);
      states = this.#stack(Int32Array.of(0, ...before), this.#layers, true, source);
    }
    const input = this.#norm(this.#dense(states, 'lm_head.dense', hidden, { activation: 'gelu' }));
    const bias = this.#weights.bias('lm_head.bias', vocabulary);
    const rows = generated.length;
    const all = linear({
      input,
      weight: this.#words,
      rows,
      inner: hidden,
      outer: vocabulary,
      bias,
    });
    return Array.from(generated, (_, i) => all.slice(i * vocabulary, (i + 1) * vocabulary));
  }
}
