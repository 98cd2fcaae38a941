/**
 * ModernBERT in double precision, in plain loops over one sequence or over a source and a target; and, for the tests
 * of the tests, the same with one of its rules broken.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gelu } from './erf.js';
import { layerNorm, linear } from './ops.js';
import { Tensors } from './safetensors.js';

/** Rules that are easily taken for others; a model that breaks one computes something else. */
export const brokenRules = [
  'window one less',
  'window one more',
  'the other half gated',
  'interleaved rotation',
  'layer 0 normed',
  'no embedding norm',
  'one theta for all',
  'all layers global',
  'keys of a target restart',
] as const;
export type BrokenRule = (typeof brokenRules)[number];

interface Config {
  hidden_size: number;
  num_attention_heads: number;
  num_hidden_layers: number;
  intermediate_size: number;
  vocab_size: number;
  global_attn_every_n_layers: number;
  local_attention: number;
  global_rope_theta: number;
  local_rope_theta: number;
  norm_eps: number;
}

/** Turns every head of the rows `[positions, width]` by its position. */
export function rotate(
  rows: Float64Array | Float32Array,
  positions: ArrayLike<number>,
  heads: number,
  size: number,
  theta: number,
  interleaved = false,
): Float64Array {
  const half = size / 2;
  const turned = Float64Array.from(rows);
  for (let row = 0; row < positions.length; row++)
    for (let head = 0; head < heads; head++)
      for (let j = 0; j < half; j++) {
        const first = (row * heads + head) * size;
        const [a, b] = interleaved
          ? [first + 2 * j, first + 2 * j + 1]
          : [first + j, first + j + half];
        const angle = positions[row]! * theta ** ((-2 * j) / size);
        turned[a] = rows[a]! * Math.cos(angle) - rows[b]! * Math.sin(angle);
        turned[b] = rows[b]! * Math.cos(angle) + rows[a]! * Math.sin(angle);
      }
  return turned;
}

export class ModernBertReference {
  readonly config: Config;
  readonly #tensors: Tensors;
  readonly #broken: BrokenRule | undefined;

  constructor(directory: string, broken?: BrokenRule) {
    this.config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Config;
    this.#tensors = Tensors.checkpoint(directory);
    this.#broken = broken;
  }

  #norm(input: Float64Array, name: string): Float64Array {
    const gain = this.#tensors.get(`${name}.weight`).values;
    return layerNorm(input, gain, new Float64Array(gain.length), this.config.norm_eps);
  }

  #dense(input: Float64Array, name: string): Float64Array {
    const { shape, values } = this.#tensors.get(`${name}.weight`);
    const [outer, inner] = shape as [number, number];
    return linear({ input, weight: values, rows: input.length / inner, inner, outer });
  }

  /**
   * Final states of `ids`, of which the first `sourceLength` are a source that sees only itself; the others, if there
   * are any, see everything.
   */
  states(ids: ArrayLike<number>, sourceLength = ids.length): Float64Array {
    const { hidden_size: width, num_hidden_layers: layers } = this.config;
    const words = this.#tensors.get('model.embeddings.tok_embeddings.weight').values;
    let x: Float64Array = new Float64Array(ids.length * width);
    for (let i = 0; i < ids.length; i++)
      x.set(words.subarray(ids[i]! * width, (ids[i]! + 1) * width), i * width);
    if (this.#broken !== 'no embedding norm') x = this.#norm(x, 'model.embeddings.norm');
    for (let layer = 0; layer < layers; layer++) {
      const prefix = `model.layers.${layer}.`;
      const normed =
        layer > 0
          ? this.#norm(x, `${prefix}attn_norm`)
          : this.#broken === 'layer 0 normed'
            ? this.#norm(x, 'model.embeddings.norm')
            : x;
      const attention = this.#attend(normed, layer, sourceLength);
      const added = this.#dense(attention, `${prefix}attn.Wo`);
      x = x.map((value, i) => value + added[i]!);
      const more = this.#feedForward(this.#norm(x, `${prefix}mlp_norm`), prefix);
      x = x.map((value, i) => value + more[i]!);
    }
    return this.#norm(x, 'model.final_norm');
  }

  #attend(input: Float64Array, layer: number, sourceLength: number): Float64Array {
    const { hidden_size: width, num_attention_heads: heads, ...config } = this.config;
    const size = width / heads;
    const rows = input.length / width;
    const local =
      this.#broken !== 'all layers global' && layer % config.global_attn_every_n_layers !== 0;
    const theta =
      local && this.#broken !== 'one theta for all'
        ? config.local_rope_theta
        : config.global_rope_theta;
    const window =
      config.local_attention / 2 +
      (this.#broken === 'window one less' ? -1 : this.#broken === 'window one more' ? 1 : 0);
    const positions = Array.from({ length: rows }, (_, i) =>
      this.#broken === 'keys of a target restart' && i >= sourceLength ? i - sourceLength : i,
    );
    const stacked = this.#dense(input, `model.layers.${layer}.attn.Wqkv`);
    const part = (which: number) => {
      const values = new Float64Array(rows * width);
      for (let row = 0; row < rows; row++) {
        const first = (row * 3 + which) * width;
        values.set(stacked.subarray(first, first + width), row * width);
      }
      return values;
    };
    const turn = (values: Float64Array) =>
      rotate(values, positions, heads, size, theta, this.#broken === 'interleaved rotation');
    const [query, key, value] = [turn(part(0)), turn(part(1)), part(2)];
    const output = new Float64Array(rows * width);
    for (let head = 0; head < heads; head++)
      for (let i = 0; i < rows; i++) {
        const keys: number[] = [];
        for (let j = 0; j < rows; j++)
          if (
            (i >= sourceLength || j < sourceLength) &&
            (!local || Math.abs(positions[i]! - positions[j]!) <= window)
          )
            keys.push(j);
        const scores = keys.map((j) => {
          let sum = 0;
          for (let c = 0; c < size; c++)
            sum += query[i * width + head * size + c]! * key[j * width + head * size + c]!;
          return sum / Math.sqrt(size);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        keys.forEach((j, at) => {
          for (let c = 0; c < size; c++)
            output[i * width + head * size + c]! +=
              (weights[at]! / total) * value[j * width + head * size + c]!;
        });
      }
    return output;
  }

  #feedForward(input: Float64Array, prefix: string): Float64Array {
    const { intermediate_size: inner, hidden_size: width } = this.config;
    const both = this.#dense(input, `${prefix}mlp.Wi`);
    const rows = input.length / width;
    const gated = new Float64Array(rows * inner);
    for (let row = 0; row < rows; row++)
      for (let c = 0; c < inner; c++) {
        const first = both[row * 2 * inner + c]!;
        const second = both[row * 2 * inner + inner + c]!;
        gated[row * inner + c] =
          this.#broken === 'the other half gated' ? first * gelu(second) : gelu(first) * second;
      }
    return this.#dense(gated, `${prefix}mlp.Wo`);
  }

  /** Logits of every row, from final states. */
  logits(states: Float64Array): Float64Array {
    const dense = this.#dense(states, 'head.dense').map(gelu);
    const normed = this.#norm(dense, 'head.norm');
    const words = this.#tensors.get('model.embeddings.tok_embeddings.weight').values;
    const bias = this.#tensors.get('decoder.bias').values;
    const { hidden_size: inner, vocab_size: outer } = this.config;
    return linear({
      input: normed,
      weight: words,
      rows: states.length / inner,
      inner,
      outer,
      bias,
    });
  }
}
