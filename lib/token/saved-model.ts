/** The directory a model is saved to: what may be there before, and its config.json. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import type { EngineConfig } from './engine-config.js';

/** Throws unless `directory` is not there, is empty, or may be written over. */
export async function checkFree(directory: unknown, overwrite: unknown): Promise<void> {
  if (typeof directory !== 'string' || directory === '') {
    throw invalidArgument('the directory to save to must be a string');
  }
  if (overwrite !== undefined && typeof overwrite !== 'boolean') {
    throw invalidArgument(`overwrite must be true or false, not ${shown(overwrite)}`);
  }
  const files = await written(directory, () =>
    readdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    }),
  );
  if (files.length > 0 && overwrite !== true) {
    throw invalidArgument(
      `${directory} is not empty (it has ${files[0]}); name another directory, or overwrite it on purpose`,
    );
  }
}

/** The fields of Hugging Face's config.json that loading reads, and a note. */
export async function writeConfig(
  directory: string,
  config: EngineConfig,
  precision: string,
): Promise<void> {
  const fields = {
    model_type: config.modelType,
    ...modernBertFields(config),
    quantization: precision,
    num_hidden_layers: config.layers,
    hidden_size: config.hidden,
    num_attention_heads: config.heads,
    intermediate_size: config.feedForward,
    hidden_act: 'gelu',
    vocab_size: config.vocabulary,
    max_position_embeddings: config.maxPositions,
    ...(config.lengths > 0 && { length_vocab_size: config.lengths }),
    mask_token_id: config.maskTokenId,
    layer_norm_eps: config.layerNormEpsilon,
    tie_word_embeddings: config.tieWordEmbeddings,
    ...attentionField(config),
  };
  const path = join(directory, 'config.json');
  await written(path, () => writeFile(path, `${JSON.stringify(fields, undefined, 2)}\n`));
}

/** A word in config.json on the attention that a model was trained with, where it is not the usual one. */
export function attentionField({ attention }: EngineConfig): { mask_predict_attention?: string } {
  return attention === 'dynamic' ? {} : { mask_predict_attention: attention };
}

/** Fields of ModernBERT's config.json that XLM-R's does not have. */
function modernBertFields(config: EngineConfig): Record<string, unknown> {
  const { modernBert, beginTokenId, endTokenId, padTokenId } = config;
  if (!modernBert) return {};
  const [bos = beginTokenId, eos = endTokenId] = modernBert.otherSpecialIds;
  const theta = (rope_theta: number) => ({ rope_type: 'default', rope_theta });
  return {
    architectures: [
      config.head
        ? 'ModernBertForMaskedLM'
        : modernBert.tokenClassifier
          ? 'ModernBertForTokenClassification'
          : config.classes > 0
            ? 'ModernBertForSequenceClassification'
            : 'ModernBertModel',
    ],
    layer_types: modernBert.localLayers.map((local) =>
      local ? 'sliding_attention' : 'full_attention',
    ),
    local_attention: 2 * modernBert.window,
    rope_parameters: {
      full_attention: theta(modernBert.globalTheta),
      sliding_attention: theta(modernBert.localTheta),
    },
    cls_token_id: beginTokenId,
    sep_token_id: endTokenId,
    bos_token_id: bos,
    eos_token_id: eos,
    pad_token_id: padTokenId,
    classifier_pooling: modernBert.classifierPooling,
  };
}

/** Returns the result of `work`; an error of the file system then names its path. */
export async function written<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MaskPredictError('ERR_INVALID_ARGUMENT', `${path} cannot be written: ${reason}`, {
      cause,
    });
  }
}
