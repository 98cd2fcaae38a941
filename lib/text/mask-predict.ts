/**
 * The text level: an instruction in, a text out. Thin: tokens, lengths and the choice among candidates;
 * everything else is the engine's. All calls of a model go through its scheduler, which lets those that run at the
 * same time share passes.
 *
 * Here `tokens`, `tokenScores` and lengths do not count `<s>` and `</s>`.
 */
import { embeddedModel } from '../bundled-models.js';
import type { Engine } from '../token/engine.js';
import { invalidArgument, MaskPredictError, withCaller } from '../errors.js';
import {
  predictsLength,
  readGenerateOptions,
  Writing,
  type GenerateOptions,
  type Generation,
  type RefinementStep,
  type Written,
} from './generation.js';
import { mapWithPauses } from '../pauses.js';
import { checkOptions, checkSignal } from '../options.js';
import { endedIfDropped, type Held } from '../scheduling/abandoned.js';
import type { PacedView, Sequence } from '../scheduling/call.js';
import { traced, tracedReading, type RequestEvent } from '../scheduling/diagnostics.js';
import { readQueueOptions } from '../scheduling/options.js';
import type { Scheduling, ScheduledOptions } from '../scheduling/scheduler.js';
import type { ModelStatistics } from '../scheduling/statistics.js';
import { Classifier, type Classification, type ClassifyInput } from './classification.js';
import { Embedder, embedOptions, type EmbedOptions } from './embedding.js';
import {
  fillOptions,
  MaskFiller,
  type FillLabelsOptions,
  type FillMaskOptions,
  type LabelCandidate,
  type MaskCandidate,
} from './fill-mask.js';
import { loadModel, type LoadedModel, type ModelOptions } from './loading.js';
import {
  likelihoodOptions,
  PseudoLogLikelihoods,
  type LikelihoodOptions,
} from './pseudo-log-likelihood.js';
import { askOptions, MultipleChoice, type Answer, type AskOptions } from './multiple-choice.js';
import { checkHead, listOf, type Reading } from './reading.js';
import { Choice, LengthPrediction, Scoring, type TextScore } from './scoring.js';
import { TextReader, textOptions, type TextOptions } from './text.js';
import type { Encoding, Tokenizer } from './tokenizer.js';

export type {
  Generation,
  GenerateOptions,
  LengthCandidate,
  LengthCandidates,
  LengthOption,
  RefinedToken,
  RefinementStep,
} from './generation.js';
export type { TextOptions } from './text.js';

export class MaskPredict {
  /** The token level of this model; with several devices that of the first. Closed with it. */
  readonly engine: Engine;
  /** One for each of the option `devices`, in their order; without it the one engine. */
  readonly engines: readonly Engine[];
  readonly tokenizer: Tokenizer;
  readonly #texts: TextReader;
  readonly #scheduler: Scheduling;
  readonly #filler: MaskFiller;
  readonly #questions: MultipleChoice;
  readonly #embedder: Embedder;
  readonly #classifier: Classifier;
  /** Tokens of the longest answer. */
  readonly #longest: number;

  private constructor({ engines, tokenizer, scheduler, embedding, classes }: LoadedModel) {
    this.engines = engines;
    this.engine = engines[0]!;
    this.tokenizer = tokenizer;
    const { config } = this.engine;
    this.#texts = new TextReader(tokenizer, config);
    this.#filler = new MaskFiller(this.#texts, tokenizer);
    this.#questions = new MultipleChoice(this.#texts, tokenizer);
    this.#embedder = new Embedder(this.#texts, embedding);
    this.#classifier = new Classifier(this.#texts, classes, config);
    this.#longest = config.maxIds - 2;
    this.#scheduler = scheduler;
  }

  /**
   * Loads a model directory ({@link Engine.load}) with its `sentencepiece.bpe.model` (ModernBERT: `tokenizer.json`), or a model of the hub that is named
   * `owner/name` and fetched where the cache does not have it ({@link modelDirectory}), or one of the package
   * ({@link bundledModels}): `numbers`, which is also what is loaded without a name, or `translate`.
   */
  static async load(
    model: string | URL = embeddedModel,
    options: ModelOptions = {},
  ): Promise<MaskPredict> {
    return new MaskPredict(await loadModel(model, options));
  }

  /**
   * Answers one instruction, or many at once (order kept). A prompt that is not valid rejects the call
   * before any work, naming its index.
   */
  generate(prompt: string, options?: GenerateOptions): Promise<Generation>;
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<Generation[]>;
  generate(
    prompts: string | readonly string[],
    options: GenerateOptions = {},
  ): Promise<Generation | Generation[]> {
    const count = Array.isArray(prompts) ? prompts.length : 1;
    return traced(event('generate', count, options), () => this.#generate(prompts, options));
  }

  async #generate(
    prompts: string | readonly string[],
    options: GenerateOptions,
  ): Promise<Generation | Generation[]> {
    const begun = performance.now();
    const plan = readGenerateOptions('generate()', options, this.#longest);
    checkHead('generate()', this.engine.config);
    const queued = readQueueing(options);
    if (typeof prompts !== 'string' && !Array.isArray(prompts))
      throw invalidArgument('the prompt must be a string or an array of them');
    const list = listOf(prompts as string | string[]); // a copy: the caller may change the array while texts are read
    const numbered = typeof prompts !== 'string';
    const reading = mapWithPauses(
      list,
      (prompt, index) => this.#texts.prompt(prompt, options, numbered ? index : undefined),
      queued.signal,
    );
    const encodings = Array.isArray(reading) ? reading : await reading;
    const tokenized = performance.now();
    if (numbered) this.#checkMemory(encodings, predictsLength(plan));
    const written = await this.#schedule(
      encodings.map(({ ids }) => new Writing(ids, plan)),
      queued,
    );
    const done = performance.now();
    const joined = written.reduce((least, { moments }) => Math.min(least, moments.joined), done);
    const encoded = written.reduce((most, { moments }) => Math.max(most, moments.encoded), joined);
    const timings = {
      tokenize: tokenized - begun,
      queue: joined - tokenized,
      encode: encoded - joined,
      decode: done - encoded,
      total: done - begun,
    };
    const results = await mapWithPauses(written, (result, index) =>
      this.#result(result, encodings[index]!.truncated, timings),
    );
    return numbered ? results : results[0]!;
  }

  /**
   * The same as {@link generate} for one prompt and one length, yielding the text after every pass. The generator's
   * return value is what `generate` would give. A pass runs when its step is asked for. A paused reader keeps its
   * encoded source in memory but does not block other calls; the source of a dropped generator stays until the
   * generator is collected.
   */
  refine(
    prompt: string,
    options: GenerateOptions = {},
  ): AsyncGenerator<RefinementStep, Generation, void> {
    const steps = endedIfDropped((held) => this.#refine(prompt, options, held));
    return tracedReading(event('refine', 1, options), steps);
  }

  async *#refine(
    prompt: string,
    options: GenerateOptions,
    held: Held,
  ): AsyncGenerator<RefinementStep, Generation, void> {
    const begun = performance.now();
    const plan = readGenerateOptions('refine()', options, this.#longest);
    if (typeof plan.length === 'object') {
      throw invalidArgument('refine() follows one target: length must be a number or "predict"');
    }
    checkHead('refine()', this.engine.config);
    const queued = readQueueing(options);
    const encoding = this.#texts.prompt(prompt, options);
    const tokenized = performance.now();
    const call = this.#scheduler.paced(new Writing(encoding.ids, plan), queued);
    held.end = call.end;
    let asked = tokenized;
    let waited = 0;
    try {
      for (;;) {
        const view = await call.next();
        waited += performance.now() - asked;
        if (!view) break;
        yield this.#step(view);
        asked = performance.now();
      }
      const written = await call.result;
      const { joined, encoded } = written.moments;
      const tokenize = tokenized - begun;
      const queue = joined - tokenized;
      const encode = encoded - joined;
      const decode = waited - queue - encode;
      const timings = { tokenize, queue, encode, decode, total: tokenize + waited };
      return this.#result(written, encoding.truncated, timings);
    } catch (error) {
      throw withCaller(error);
    } finally {
      call.end();
    }
  }

  /**
   * Which of several labels answers the prompt (section 5.1): one all-masked target, each label scored by
   * the sum of its tokens' log-probabilities. Labels of different token lengths are an error, because the
   * length alone would decide.
   */
  choose(
    prompt: string,
    labels: readonly string[],
    options: TextOptions = {},
  ): Promise<{ label: string; index: number; logProbs: number[] }> {
    return traced(event('choose', 1, options), async () => {
      checkOptions('choose()', options, textOptions);
      checkHead('choose()', this.engine.config);
      return this.#run(new Choice(this.#texts, prompt, labels, options), options);
    });
  }

  /**
   * Which of some choices answers a question, by a model that was trained on such questions: ModernBERT-Large-Instruct.
   * `ERR_INVALID_ARGUMENT` for a tokenizer without `[unused0]`, and for a question that is too long.
   */
  ask(question: string, choices: readonly string[], options: AskOptions = {}): Promise<Answer> {
    return traced(event('ask', 1, options), async () => {
      checkOptions('ask()', options, askOptions);
      checkHead('ask()', this.engine.config);
      return this.#run(this.#questions.reading(question, choices, options), options);
    });
  }

  /**
   * Pseudo-log-likelihood of a given answer (eq. (2)-(4)): each token's log-probability with that one masked and the
   * others given.
   */
  score(
    prompt: string,
    text: string,
    options: TextOptions = {},
  ): Promise<{ mean: number; sum: number; tokenScores: Float32Array }> {
    return traced(event('score', 1, options), async () => {
      checkOptions('score()', options, textOptions);
      checkHead('score()', this.engine.config);
      const { maskTokenId } = this.engine;
      return this.#run(new Scoring(this.#texts, prompt, text, maskTokenId, options), options);
    });
  }

  /** The `count` most probable answer lengths in tokens, best first. */
  predictLength(
    prompt: string,
    count = 1,
    options: TextOptions = {},
  ): Promise<{ length: number; logProb: number }[]> {
    return traced(event('predictLength', 1, options), async () => {
      checkOptions('predictLength()', options, textOptions);
      return this.#run(new LengthPrediction(this.#texts, prompt, count, options), options);
    });
  }

  /**
   * Fills each `<mask>` (ModernBERT: `[MASK]`) of a text that is read by itself, as these models were trained: an array
   * of pieces for each mask, best first. With `labels`, ranks the labels for the text's one `<mask>`, best first (cloze
   * classification). `<mask>` and other special tokens in the text are read as Hugging Face's tokenizers read them. A
   * text with too many tokens is cut, but never a mask: that is `ERR_INVALID_ARGUMENT`.
   */
  fillMask(text: string, options: FillLabelsOptions): Promise<LabelCandidate[]>;
  fillMask(text: string, options?: FillMaskOptions): Promise<MaskCandidate[][]>;
  fillMask(texts: readonly string[], options: FillLabelsOptions): Promise<LabelCandidate[][]>;
  fillMask(texts: readonly string[], options?: FillMaskOptions): Promise<MaskCandidate[][][]>;
  fillMask(
    texts: string | readonly string[],
    options: FillMaskOptions | FillLabelsOptions = {},
  ): Promise<unknown> {
    const labels = (options as Partial<FillLabelsOptions> | null)?.labels;
    const allowed = [...fillOptions, labels === undefined ? 'count' : 'labels'];
    return this.#read<string, unknown>('fillMask', texts, options, allowed, (text, name) => {
      checkHead('fillMask()', this.engine.config);
      return labels === undefined
        ? this.#filler.pieces(text, options as FillMaskOptions, name)
        : this.#filler.labels(text, { ...options, labels }, name);
    });
  }

  /**
   * Pseudo-log-likelihood of a text by itself (eq. (2)-(4)): each token's log-probability with that one masked and the
   * others given. A text with n tokens takes n passes over it, which share passes with one another and with those of
   * the other texts.
   */
  pseudoLogLikelihood(text: string, options?: LikelihoodOptions): Promise<TextScore>;
  pseudoLogLikelihood(texts: readonly string[], options?: LikelihoodOptions): Promise<TextScore[]>;
  pseudoLogLikelihood(
    given: string | readonly string[],
    options: LikelihoodOptions = {},
  ): Promise<TextScore | TextScore[]> {
    const count = Array.isArray(given) ? given.length : 1;
    return traced(event('pseudoLogLikelihood', count, options), async () => {
      const list = listOf(given);
      checkOptions('pseudoLogLikelihood()', options, likelihoodOptions);
      checkHead('pseudoLogLikelihood()', this.engine.config);
      const names = namesOf(given, 'text');
      const likelihoods = new PseudoLogLikelihoods(this.#texts, list, names, options);
      const logProbs = await this.#scheduler.run(likelihoods.readings, readQueueing(options));
      const results = likelihoods.results(logProbs);
      return Array.isArray(given) ? results : results[0]!;
    });
  }

  /** One vector of `engine.config.hidden` values for each text, made of its final states. */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  embed(
    texts: string | readonly string[],
    options: EmbedOptions = {},
  ): Promise<Float32Array | Float32Array[]> {
    return this.#read('embed', texts, options, embedOptions, (text, name) =>
      this.#embedder.embedding(text, options, name),
    );
  }

  /**
   * Which class each text, or pair of texts, is of, by the checkpoint's sequence classifier
   * (`XLMRobertaForSequenceClassification`). `ERR_INVALID_ARGUMENT` for a model without one.
   */
  classify(input: ClassifyInput, options?: TextOptions): Promise<Classification>;
  classify(inputs: readonly ClassifyInput[], options?: TextOptions): Promise<Classification[]>;
  classify(
    inputs: ClassifyInput | readonly ClassifyInput[],
    options: TextOptions = {},
  ): Promise<Classification | Classification[]> {
    return this.#read<ClassifyInput, Classification>(
      'classify',
      inputs,
      options,
      textOptions,
      (input, name) => this.#classifier.classification(input, options, name),
    );
  }

  /** Labels of the sequence classifier's classes, in the order of {@link Classification.scores}; empty without one. */
  get classLabels(): string[] {
    return this.#classifier.labels;
  }

  /** How busy the model is, and what it has done since it was loaded. */
  stats(): ModelStatistics {
    return this.#scheduler.statistics();
  }

  /** Frees everything at once; calls in flight reject with `ERR_DISPOSED`. May be called again. */
  async close(): Promise<void> {
    this.#scheduler.close();
    await Promise.all(this.engines.map((engine) => engine.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One result for each text, or for one text its result: all are checked before any work. */
  #read<T, R>(
    call: RequestEvent['call'],
    given: T | readonly T[],
    options: TextOptions,
    allowed: readonly string[],
    reading: (text: T, name: string) => Reading<R>,
  ): Promise<R | R[]> {
    const count = Array.isArray(given) ? given.length : 1;
    return traced(event(call, count, options), async () => {
      checkOptions(`${call}()`, options, allowed);
      const list = listOf(given);
      const names = namesOf(given, 'text');
      const queued = readQueueing(options);
      const making = mapWithPauses(
        list,
        (text, index) => reading(text, names[index]!),
        queued.signal,
      );
      const readings = Array.isArray(making) ? making : await making;
      const results = await this.#scheduler.run(readings, queued);
      return Array.isArray(given) ? results : results[0]!;
    });
  }

  async #run<R>(sequence: Sequence<R>, options: TextOptions): Promise<R> {
    const [result] = await this.#schedule([sequence], readQueueing(options));
    return result!;
  }

  async #schedule<R>(sequences: Sequence<R>[], queued: ScheduledOptions): Promise<R[]> {
    try {
      return await this.#scheduler.run(sequences, queued);
    } catch (error) {
      throw withCaller(error);
    }
  }

  /**
   * Throws if one of many prompts would not fit into memory, however little else is there: now, and not when the others
   * have been answered. Together they need not fit; they take turns. Of several devices any may get it.
   */
  #checkMemory(encodings: readonly Encoding[], states: boolean): void {
    const memories = this.engines.map((engine) => engine.memory());
    const { weights, limit, perSourceId, perSourceIdWithoutStates } = memories.reduce((a, b) =>
      b.limit - b.weights < a.limit - a.weights ? b : a,
    );
    const perId = states ? perSourceId : perSourceIdWithoutStates;
    const index = encodings.findIndex(({ ids }) => ids.length * perId > limit - weights);
    if (index === -1) return;
    const bytes = encodings[index]!.ids.length * perId;
    const mebibytes = (value: number) => `${(value / 2 ** 20).toFixed(1)} MiB`;
    throw new MaskPredictError(
      'ERR_OUT_OF_MEMORY',
      `prompt ${index} takes ${mebibytes(bytes)} when encoded, but the memory limit leaves ` +
        `${mebibytes(limit - weights)} beside the weights: give a shorter one, or raise memoryLimit`,
    );
  }

  #step({ iteration, tokens: ids, scores, masked }: PacedView): RefinementStep {
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
    { target, scores, score, iterations, candidates }: Written,
    truncated: boolean,
    timings: Generation['timings'],
  ): Generation {
    const tokens = target.tokens.slice(1, -1);
    return {
      text: this.tokenizer.decode(tokens),
      tokens,
      tokenScores: scores.slice(1, -1),
      score,
      length: tokens.length,
      ...(candidates && { candidates }),
      iterations,
      truncated,
      timings,
    };
  }
}

/** Names for the texts of a call, for error messages. */
function namesOf(given: unknown, noun: string): string[] {
  return Array.isArray(given)
    ? Array.from(given, (_, index) => `${noun} ${index}`)
    : [`the ${noun}`];
}

function readQueueing(options: TextOptions): ScheduledOptions {
  checkSignal(options.signal);
  return { ...readQueueOptions(options), signal: options.signal };
}

function event(
  call: RequestEvent['call'],
  prompts: number,
  options: TextOptions | null,
): () => RequestEvent {
  return () => ({ call, prompts, priority: options?.priority, deadline: options?.deadline });
}
