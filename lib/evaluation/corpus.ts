/** Reads the two arguments that every comparison of texts begins with, and says which of them is wrong. */
import { invalidArgument, shown } from '../errors.js';

/**
 * The texts a measure compares with: one list per reference set, each with a text for every hypothesis. `null` stands
 * where a set has none; every hypothesis needs one in some set.
 */
export type References = readonly (readonly (string | null)[])[];

/** @internal */
export interface Corpus {
  readonly hypotheses: readonly string[];
  /** The references of each hypothesis, those that are `null` left out; at least one. */
  readonly references: readonly (readonly string[])[];
  /** How many references a hypothesis has, or `'var'` where they differ. */
  readonly referenceCount: number | 'var';
}

/** @internal Checks both arguments and turns the sets into a list for each hypothesis. */
export function readCorpus(hypotheses: unknown, references: unknown): Corpus {
  checkTexts('hypotheses', hypotheses);
  if (hypotheses.length === 0) throw invalidArgument('hypotheses must hold at least one text');
  checkReferences(references, hypotheses.length);
  const bySentence = hypotheses.map((_, i) => {
    const own = references.map((set) => set[i]!).filter((text) => text !== null);
    if (own.length > 0) return own;
    throw invalidArgument(
      `references[…][${i}] is null in every set: hypothesis ${i} needs a reference`,
    );
  });
  const counts = new Set(bySentence.map((own) => own.length));
  const [count] = counts;
  return { hypotheses, references: bySentence, referenceCount: counts.size === 1 ? count! : 'var' };
}

/** @internal Throws unless `value` is an array of strings. */
export function checkTexts(name: string, value: unknown): asserts value is readonly string[] {
  checkArray(name, value, 'texts');
  for (let i = 0; i < value.length; i++) {
    if (typeof value[i] !== 'string') {
      throw invalidArgument(`${name}[${i}] must be a string, not ${shown(value[i])}`);
    }
  }
}

/** @internal Throws unless `value` is an array. */
export function checkArray(
  name: string,
  value: unknown,
  content: string,
): asserts value is readonly unknown[] {
  if (!Array.isArray(value)) {
    throw invalidArgument(`${name} must be an array of ${content}, not ${shown(value)}`);
  }
}

function checkReferences(value: unknown, sentences: number): asserts value is References {
  checkArray('references', value, 'reference sets');
  if (value.length === 0) throw invalidArgument('references must hold at least one reference set');
  for (let s = 0; s < value.length; s++) checkReferenceSet(`references[${s}]`, value[s], sentences);
}

function checkReferenceSet(name: string, set: unknown, sentences: number): void {
  if (typeof set === 'string') {
    throw invalidArgument(
      `${name} must be a reference set, an array of texts, not a string; with one set pass [references]`,
    );
  }
  checkArray(name, set, 'texts');
  if (set.length !== sentences) {
    throw invalidArgument(
      `${name} must hold a text or null for each of the ${sentences} hypotheses, not ${set.length}`,
    );
  }
  for (let i = 0; i < set.length; i++) {
    if (typeof set[i] !== 'string' && set[i] !== null) {
      throw invalidArgument(`${name}[${i}] must be a string or null, not ${shown(set[i])}`);
    }
  }
}
