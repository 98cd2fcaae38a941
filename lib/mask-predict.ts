/**
 * The text level: an instruction in, a text out. Thin: tokens, lengths and the choice among candidates;
 * everything else is the engine's.
 *
 * Here `tokens`, `tokenScores` and lengths do not count `<s>` and `</s>`.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine } from './engine.js';
import type { EngineLoadOptions } from './engine-options.js';
import { invalidArgument, MaskPredictError, shown } from './errors.js';
import { checkOptions, checkSignal, integerOption, seedOption } from './options.js';
import type { Source, Target } from './sequences.js';
import { Tokenizer } from './tokenizer.js';

/** The directory of the small model that comes with the package. */
export const embeddedModel = fileURLToPath(new URL('../models/numbers', import.meta.url));

export interface TextOptions {
  /** Reads `<mask>`, `<s>` and the like inside a text as special tokens; default false: as text. */
  parseSpecial?: boolean;
  /** A text with too many tokens is cut (default; the result says so) or an `ERR_INVALID_ARGUMENT`. */
  overflow?: 'truncate' | 'error';
  /** Rejects the call with the signal's reason. */
  signal?: AbortSignal;
}

/** `'predict'` (default), a number of tokens, or the best of several predicted lengths decoded side by side. */
export type LengthOption = 'predict' | number | { candidates: number };

export interface GenerateOptions extends TextOptions {
  /** T, the number of passes over the target. Default 10. */
  iterations?: number;
  length?: LengthOption;
  /** Draws tokens (temperature 2(1 - (t-1)/T), nucleus 0.9) instead of taking the best ones. */
  sampling?: { seed: number | bigint };
}

export interface Generation {
  text: string;
  /** Ids without `<s>` and `</s>`. */
  tokens: Int32Array;
  /** Log-probability of each token when it was last predicted. */
  tokenScores: Float32Array;
  /** Their mean. */
  score: number;
  /** Number of tokens. */
  length: number;
  /** Passes over the target; fewer than asked where further ones could change nothing. */
  iterations: number;
  /** Whether the instruction was cut to what the model can read. */
  truncated: boolean;
  /** Milliseconds; of a call with several prompts, those of the whole call. */
  timings: { tokenize: number; encode: number; decode: number; total: number };
}

export interface RefinedToken {
  piece: string;
  id: number;
  score: number;
  /** Whether this position is masked again after this pass. */
  masked: boolean;
}

export interface RefinementStep {
  /** 1 … T */
  iteration: number;
  text: string;
  tokens: RefinedToken[];
}

const textOptions = ['parseSpecial', 'overflow', 'signal'];
const generateOptions = [...textOptions, 'iterations', 'length', 'sampling'];

export class MaskPredict {
  /** The token level of this model. Closed with it. */
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;

  private constructor(engine: Engine, tokenizer: Tokenizer) {
    this.engine = engine;
    this.tokenizer = tokenizer;
  }

  /**
   * Loads a model directory ({@link Engine.load}) with its `sentencepiece.bpe.model`; without one, the
   * small model that comes with the package.
   */
  static async load(
    directory: string = embeddedModel,
    options: EngineLoadOptions = {},
  ): Promise<MaskPredict> {
    if (typeof directory !== 'string')
      throw invalidArgument('the model directory must be a string');
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
      throw new MaskPredictError('ERR_MODEL_FORMAT', `there is no model directory ${directory}`);
    }
    const tokenizer = await Tokenizer.load(join(directory, 'sentencepiece.bpe.model'), {
      ...(options.maskTokenId !== undefined && { maskTokenId: options.maskTokenId }),
    });
    const engine = await Engine.load(directory, { ...options, maskTokenId: tokenizer.maskTokenId });
    if (engine.config.vocabulary <= tokenizer.maskTokenId) {
      await engine.close();
      throw new MaskPredictError(
        'ERR_MODEL_FORMAT',
        `${directory}: the tokenizer has ids up to ${tokenizer.maskTokenId}, the model only ` +
          `${engine.config.vocabulary}`,
      );
    }
    return new MaskPredict(engine, tokenizer);
  }

  /**
   * Answers one instruction, or many at once (order kept). A prompt that is not valid rejects the call
   * before any work, naming its index.
   */
  generate(prompt: string, options?: GenerateOptions): Promise<Generation>;
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<Generation[]>;
  async generate(
    prompts: string | readonly string[],
    options: GenerateOptions = {},
  ): Promise<Generation | Generation[]> {
    const begun = performance.now();
    checkOptions('generate()', options, generateOptions);
    const iterations = integerOption('iterations', options.iterations, 10, 1, 100000);
    const sampling = readSampling(options.sampling);
    const length = this.#length(options.length === undefined ? 'predict' : options.length);
    const { signal } = options;
    checkSignal(signal);
    const list = typeof prompts === 'string' ? [prompts] : prompts;
    if (!Array.isArray(list))
      throw invalidArgument('the prompt must be a string or an array of them');
    const numbered = typeof prompts !== 'string';
    // Array.from, not map: a hole is no prompt either.
    const encodings = Array.from(list, (prompt, index) =>
      this.#tokenize(prompt, options, numbered ? index : undefined),
    );
    const tokenized = performance.now();

    const call = signal ? { signal } : {};
    const sources = await this.engine.encode(
      encodings.map((encoding) => encoding.ids),
      call,
    );
    try {
      const encoded = performance.now();
      const candidates = sources.map((source) => targetsOf(source, length));
      const targets = candidates.flat();
      const passes = await this.engine.decode(targets, iterations, {
        ...call,
        ...(sampling && { sampling }),
      });
      const decoded = performance.now();
      const passesOf = new Map(targets.map((target, index) => [target, passes[index]!]));
      const timings = {
        tokenize: tokenized - begun,
        encode: encoded - tokenized,
        decode: decoded - encoded,
        total: decoded - begun,
      };
      const results = candidates.map((targets, index) => {
        const best = targets.reduce((a, b) => (meanScore(b) > meanScore(a) ? b : a));
        return this.#result(best, passesOf.get(best)!, encodings[index]!.truncated, timings);
      });
      return numbered ? results : results[0]!;
    } finally {
      for (const source of sources) source.dispose();
    }
  }

  /**
   * The same as {@link generate} for one prompt and one length, yielding the text after every pass. The
   * generator's return value is what `generate` would give.
   */
  async *refine(
    prompt: string,
    options: GenerateOptions = {},
  ): AsyncGenerator<RefinementStep, Generation, void> {
    const begun = performance.now();
    checkOptions('refine()', options, generateOptions);
    const iterations = integerOption('iterations', options.iterations, 10, 1, 100000);
    const sampling = readSampling(options.sampling);
    const length = this.#length(options.length === undefined ? 'predict' : options.length);
    if (typeof length === 'object') {
      throw invalidArgument('refine() follows one target: length must be a number or "predict"');
    }
    const { signal } = options;
    checkSignal(signal);
    const encoding = this.#tokenize(prompt, options);
    const tokenized = performance.now();
    const call = signal ? { signal } : {};
    const [source] = await this.engine.encode([encoding.ids], call);
    try {
      const encoded = performance.now();
      const [target] = targetsOf(source!, length) as [Target];
      let decoding = 0;
      let passes = 0;
      for (let count = target.maskable; count > 0 || passes === 0;) {
        const started = performance.now();
        passes++;
        await this.engine.predict([target], {
          ...call,
          ...(sampling && { sampling: { ...sampling, iterations, iteration: passes } }),
        });
        const { tokens, scores } = target;
        count = Math.floor((target.maskable * (iterations - passes)) / iterations);
        await this.engine.remask([target], [count], call);
        decoding += performance.now() - started;
        yield this.#step(passes, tokens, scores, target.masked);
      }
      const total = tokenized - begun + (encoded - tokenized) + decoding;
      return this.#result(target, passes, encoding.truncated, {
        tokenize: tokenized - begun,
        encode: encoded - tokenized,
        decode: decoding,
        total,
      });
    } finally {
      source!.dispose();
    }
  }

  /**
   * Which of several labels answers the prompt (section 5.1): one all-masked target, each label scored by
   * the sum of its tokens' log-probabilities. Labels of different token lengths are an error, because the
   * length alone would decide.
   */
  async choose(
    prompt: string,
    labels: readonly string[],
    options: TextOptions = {},
  ): Promise<{ label: string; index: number; logProbs: number[] }> {
    checkOptions('choose()', options, textOptions);
    if (!Array.isArray(labels) || labels.length === 0) {
      throw invalidArgument('choose() needs an array with at least one label');
    }
    const { ids } = this.#tokenize(prompt, options);
    const encoded = labels.map((label, index) => this.#target(label, options, `label ${index}`));
    const lengths = encoded.map((label) => label.length - 2);
    if (lengths.some((length) => length !== lengths[0])) {
      const list = labels.map((label, index) => `${shown(label)} has ${lengths[index]}`).join(', ');
      throw invalidArgument(
        `labels must have the same number of tokens, or their length alone decides: ${list}`,
      );
    }
    const call = options.signal ? { signal: options.signal } : {};
    const [source] = await this.engine.encode([ids], call);
    try {
      const target = source!.target(encoded[0]!.length);
      const [scores] = await this.engine.logProbs([target], [encoded], call);
      const logProbs = scores!.map((values) => sum(values));
      const index = logProbs.reduce((best, value, i) => (value > logProbs[best]! ? i : best), 0);
      return { label: labels[index]!, index, logProbs };
    } finally {
      source!.dispose();
    }
  }

  /**
   * Pseudo-log-likelihood of a given answer (eq. 2-4): each token's log-probability with that one masked
   * and the others given.
   */
  async score(
    prompt: string,
    text: string,
    options: TextOptions = {},
  ): Promise<{ mean: number; sum: number; tokenScores: Float32Array }> {
    checkOptions('score()', options, textOptions);
    const { ids } = this.#tokenize(prompt, options);
    const given = this.#target(text, options, 'the text to score');
    const call = options.signal ? { signal: options.signal } : {};
    const [source] = await this.engine.encode([ids], call);
    try {
      const targets = Array.from({ length: given.length - 2 }, (_, index) => {
        const masked = given.slice();
        masked[index + 1] = this.engine.maskTokenId;
        return source!.target(masked);
      });
      const all = await this.engine.logProbs(
        targets,
        targets.map(() => [given]),
        call,
      );
      const tokenScores = Float32Array.from(all, (values, index) => values[0]![index + 1]!);
      const total = sum(tokenScores);
      return { mean: total / tokenScores.length, sum: total, tokenScores };
    } finally {
      source!.dispose();
    }
  }

  /** The `count` most probable answer lengths in tokens, best first. */
  async predictLength(
    prompt: string,
    count = 1,
    options: TextOptions = {},
  ): Promise<{ length: number; logProb: number }[]> {
    checkOptions('predictLength()', options, textOptions);
    const { ids } = this.#tokenize(prompt, options);
    const [source] = await this.engine.encode(
      [ids],
      options.signal ? { signal: options.signal } : {},
    );
    try {
      return source!
        .predictLengths(count)
        .map(({ length, logProb }) => ({ length: length - 2, logProb }));
    } finally {
      source!.dispose();
    }
  }

  /** Frees everything at once; calls in flight reject with `ERR_DISPOSED`. May be called again. */
  close(): Promise<void> {
    return this.engine.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #length(length: unknown): LengthOption {
    if (length === 'predict') return length;
    const most = this.engine.config.maxPositions - 4;
    if (typeof length === 'number') return integerOption('length', length, 0, 1, most);
    if (typeof length === 'object' && length !== null) {
      checkOptions('length', length, ['candidates']);
      const { candidates } = length as { candidates?: unknown };
      return { candidates: integerOption('length.candidates', candidates ?? NaN, NaN, 1, most) };
    }
    throw invalidArgument(
      `length must be 'predict', a number of tokens or { candidates: number }, not ${shown(length)}`,
    );
  }

  #tokenize(prompt: string, options: TextOptions, index?: number) {
    if (typeof prompt !== 'string') {
      throw invalidArgument(`prompt${index === undefined ? '' : ` ${index}`} must be a string`);
    }
    try {
      return this.tokenizer.encode(prompt, {
        maxIds: this.engine.config.maxPositions - 2,
        parseSpecial: options.parseSpecial ?? false,
        overflow: options.overflow ?? 'truncate',
      });
    } catch (error) {
      if (index === undefined || !(error instanceof MaskPredictError)) throw error;
      throw new MaskPredictError(error.code, `prompt ${index}: ${error.message}`, { cause: error });
    }
  }

  /** The ids of a given answer: never truncated, because its score would be another text's. */
  #target(text: string, options: TextOptions, name: string): Int32Array {
    if (typeof text !== 'string') throw invalidArgument(`${name} must be a string`);
    const { ids } = this.tokenizer.encode(text, {
      maxIds: this.engine.config.maxPositions - 2,
      parseSpecial: options.parseSpecial ?? false,
      overflow: 'error',
    });
    if (ids.length < 3) throw invalidArgument(`${name} has no tokens`);
    return ids;
  }

  #step(
    iteration: number,
    ids: Int32Array,
    scores: Float32Array,
    masked: Uint8Array,
  ): RefinementStep {
    const inner = ids.subarray(1, -1);
    const tokens = Array.from(inner, (id, index) => ({
      piece: this.tokenizer.piece(id),
      id,
      score: scores[index + 1]!,
      masked: masked[index + 1] === 1,
    }));
    return { iteration, text: this.tokenizer.decode(inner), tokens };
  }

  #result(
    target: Target,
    iterations: number,
    truncated: boolean,
    timings: Generation['timings'],
  ): Generation {
    const tokens = target.tokens.slice(1, -1);
    return {
      text: this.tokenizer.decode(tokens),
      tokens,
      tokenScores: target.scores.slice(1, -1),
      score: meanScore(target),
      length: tokens.length,
      iterations,
      truncated,
      timings,
    };
  }
}

function readSampling(sampling: unknown): { seed: bigint } | undefined {
  if (sampling === undefined) return undefined;
  checkOptions('sampling', sampling, ['seed']);
  return { seed: seedOption('sampling.seed', (sampling as { seed: unknown }).seed) };
}

/** The targets of one source: one, or one per length candidate, numbered apart for sampling. */
function targetsOf(source: Source, length: LengthOption): Target[] {
  if (typeof length === 'number') return [source.target(length + 2)];
  const count = length === 'predict' ? 1 : length.candidates;
  return source
    .predictLengths(count)
    .map((candidate, sequence) => source.target(candidate.length, { sequence }));
}

/** Mean log-probability over the inner tokens. */
function meanScore(target: Target): number {
  return sum(target.scores) / (target.length - 2);
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
