/**
 * Which class a text or a pair of texts is of, by a checkpoint's sequence classifier: labels and the kind of problem are
 * those of its `config.json` (`id2label`, `problem_type`).
 */
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { isObject, readOptionalObject } from '../json-files.js';
import { checkOptions } from '../options.js';
import type { EngineConfig } from '../token/engine-config.js';
import { Reading } from './reading.js';
import type { TextOptions, TextReader } from './text.js';

/** A text, or two that are read as one sequence: `<s> text </s></s> pair </s>` or `[CLS] text [SEP] pair [SEP]`. */
export type ClassifyInput = string | { text: string; pair: string };

export interface Classification {
  /** The label of the class with the highest score. */
  label: string;
  index: number;
  /**
   * The score of every class: probabilities that add up to 1; for `multi_label_classification` an independent
   * probability for each class; raw logits for a regression, or for a model of a single class, which ranks texts.
   */
  scores: number[];
}

/** The settings of the classes in config.json. @internal */
export interface ClassSettings {
  directory: string;
  id2label: unknown;
  problemType: unknown;
}

/** @internal */
export function readClassSettings(directory: string): ClassSettings {
  const config = readOptionalObject(directory, 'config.json') ?? {};
  return { directory, id2label: config['id2label'], problemType: config['problem_type'] };
}

/** @internal */
export class Classifier {
  readonly #texts: TextReader;
  readonly #settings: ClassSettings;
  readonly #classes: number;
  readonly #tensors: string;

  constructor(texts: TextReader, settings: ClassSettings, { classes, modelType }: EngineConfig) {
    this.#texts = texts;
    this.#settings = settings;
    this.#classes = classes;
    this.#tensors =
      modelType === 'modernbert'
        ? 'head.* and classifier.*'
        : 'classifier.dense.* and classifier.out_proj.*';
  }

  /** The labels of the classes in their order: `LABEL_0` and so on where the model has no names. */
  get labels(): string[] {
    const { id2label, directory } = this.#settings;
    const names = Array.from({ length: this.#classes }, (_, index) => `LABEL_${index}`);
    if (id2label === undefined || id2label === null || names.length === 0) return names;
    const given = isObject(id2label) ? id2label : {};
    const labels = names.map((_, index) => given[index]);
    const complete = Object.keys(given).length === names.length;
    if (complete && labels.every((label) => typeof label === 'string')) return labels as string[];
    throw new MaskPredictError(
      'ERR_MODEL_FORMAT',
      `${directory}/config.json: id2label must have a label for each of the ${names.length} classes of the ` +
        `classifier, 0 to ${names.length - 1}, and no others`,
    );
  }

  classification(
    input: ClassifyInput,
    options: TextOptions,
    name: string,
  ): Reading<Classification> {
    if (this.#classes === 0) {
      throw invalidArgument(
        `this model has no sequence classifier (tensors ${this.#tensors}), so it ` +
          'cannot classify; choose() and fillMask() with labels need none',
      );
    }
    const labels = this.labels;
    const scores = this.#scoring();
    return new Reading(this.#ids(input, options, name), { kind: 'classes' }, ({ values }) => {
      const index = values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
      return { label: labels[index]!, index, scores: scores(Array.from(values)) };
    });
  }

  #ids(input: ClassifyInput, options: TextOptions, name: string): Int32Array {
    if (typeof input === 'string') return this.#texts.text(input, options, name).ids;
    if (!isObject(input)) {
      throw invalidArgument(`${name} must be a string or { text, pair }, not ${shown(input)}`);
    }
    checkOptions(name, input, ['text', 'pair']);
    return this.#texts.pair(input.text, input.pair, options, name);
  }

  #scoring(): (logits: number[]) => number[] {
    const { problemType, directory } = this.#settings;
    switch (problemType) {
      case undefined:
      case null:
      case 'single_label_classification':
        return this.#classes === 1 ? (logits) => logits : softmax;
      case 'multi_label_classification':
        return (logits) => logits.map((logit) => 1 / (1 + Math.exp(-logit)));
      case 'regression':
        return (logits) => logits;
      default:
        throw new MaskPredictError(
          'ERR_MODEL_FORMAT',
          `${directory}/config.json: problem_type is ${shown(problemType)}, must be single_label_classification, ` +
            `multi_label_classification or regression`,
        );
    }
  }
}

function softmax(logits: number[]): number[] {
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}
