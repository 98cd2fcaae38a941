import type { TargetAttention } from './engine-options.js';

/** The sizes of a model. */
export interface EngineConfig {
  /** The `model_type` of config.json: `'xlm-roberta'`, `'xlm-roberta-xl'` or `'modernbert'`. */
  modelType: string;
  layers: number;
  /** Width of the states. */
  hidden: number;
  heads: number;
  /** Width between the two matrices of a feed-forward block. */
  feedForward: number;
  /** Rows of the embedding, more than there are ids where it is padded. */
  vocabulary: number;
  /** Rows of the position table. */
  maxPositions: number;
  /** The most ids of a sequence: XLM-R's is 2 less than `maxPositions`, ModernBERT's as many, a target's source included. */
  maxIds: number;
  /** Classes of the length predictor, 0 without one. */
  lengths: number;
  /** True if the model has a language-model head. Without one it can embed texts, but predicts no tokens. */
  head: boolean;
  /** Classes of the sequence classifier, 0 without one. */
  classes: number;
  /** Classes of the token classifier, 0 without one. */
  tokenClasses: number;
  maskTokenId: number;
  /** Ids of `<s>`, `</s>` and `<pad>`, or of `[CLS]`, `[SEP]` and `[PAD]`. */
  beginTokenId: number;
  endTokenId: number;
  padTokenId: number;
  /** LayerNorm before or after each block. */
  norm: 'pre' | 'post';
  /** The attention of targets to their source: the option `attention`, or that which the model was trained with. */
  attention: TargetAttention;
  layerNormEpsilon: number;
  /** True if the head shares the matrix of the word embeddings. */
  tieWordEmbeddings: boolean;
  /** Weights, a tied one counted once. */
  parameters: number;
  /** Weights of the layers' matrices: multiplications for each row that goes through them. */
  bodyWeights: number;
  /** Fields that only ModernBERT has. */
  modernBert?: {
    /** For each layer, whether a key is seen only from `window` ids before it to `window` after it. */
    localLayers: boolean[];
    window: number;
    globalTheta: number;
    localTheta: number;
    /** Never answered, beside begin, end, padding and the mask. */
    otherSpecialIds: number[];
    /** The input of a sequence classifier: the mean of the final states, or the first one. */
    classifierPooling: 'mean' | 'cls';
    /** True if its classifier is a token classifier. */
    tokenClassifier: boolean;
  };
}
