/**
 * Which files of a repository are fetched: the configuration, the tokenizer, what sentence-transformers says of pooling,
 * and the weights, as safetensors or, only where there are none, as PyTorch's files. Nothing else, however large the
 * repository is.
 */
import { MaskPredictError } from '../errors.js';

const small = ['config.json', 'modules.json', 'sentence_bert_config.json'];
const sentencePiece = 'sentencepiece.bpe.model';
/** Beside a SentencePiece model: tokens that were added to it. */
const addedTokens = ['tokenizer_config.json', 'added_tokens.json', 'special_tokens_map.json'];
/** Where there is no SentencePiece model. */
const otherTokenizer = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'];
/** Weights in the order they are preferred; an index names the files that have them. */
const weights = ['model.safetensors', 'model.safetensors.index.json'];
const torchWeights = ['pytorch_model.bin', 'pytorch_model.bin.index.json'];

export interface NeededFiles {
  files: string[];
  /** One of `files`, which says what else is needed: {@link shardsOf}. */
  index: string | undefined;
}

/**
 * The files that a model needs from a repository with these files. Throws `ERR_MODEL_FORMAT` if it has no configuration
 * or weights.
 */
export function neededFiles(names: Iterable<string>): NeededFiles {
  const there = new Set(names);
  const weight = [...weights, ...torchWeights].find((name) => there.has(name));
  if (!there.has('config.json') || weight === undefined) {
    throw new MaskPredictError(
      'ERR_MODEL_FORMAT',
      `it has no ${there.has('config.json') ? 'model.safetensors or pytorch_model.bin' : 'config.json'}, ` +
        `so it is not a model as Hugging Face's transformers save it; it has ${listed(there)}`,
    );
  }
  const tokenizer = there.has(sentencePiece) ? [sentencePiece, ...addedTokens] : otherTokenizer;
  const pooling = [...there].filter((name) => /^[^/]*pooling[^/]*\/config\.json$/i.test(name));
  const files = [...small, ...tokenizer, ...pooling, weight].filter((name) => there.has(name));
  return { files, index: weight.endsWith('.index.json') ? weight : undefined };
}

/** The files that an index of weights names. They are the repository's own words, so they are checked here. */
export function shardsOf(index: string, text: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(text) as { weight_map?: unknown }).weight_map;
  } catch {
    map = undefined;
  }
  if (typeof map !== 'object' || map === null) {
    throw new MaskPredictError('ERR_MODEL_FORMAT', `its ${index} is damaged: it has no weight_map`);
  }
  const names = [...new Set(Object.values(map) as unknown[])];
  for (const name of names) checkInside(name, index);
  return (names as string[]).sort();
}

/** Throws unless a name stays inside the folder it is put in, by the rules of every system. */
function checkInside(name: unknown, index: string): void {
  const parts = typeof name === 'string' ? name.split('/') : [''];
  const inside = parts.every(
    (part) => !['', '.', '..'].includes(part) && !/[\\:\p{Cc}]/u.test(part),
  );
  if (inside) return;
  throw new MaskPredictError(
    'ERR_HUB_CONTENT',
    `its ${index} names a file ${JSON.stringify(name)}, which may lie outside the model; ` +
      `nothing of it was fetched`,
  );
}

function listed(names: Set<string>): string {
  const some = [...names].sort().slice(0, 8);
  if (some.length === 0) return 'no files at all';
  return (
    some.join(', ') + (names.size > some.length ? ` and ${names.size - some.length} more` : '')
  );
}
