/** The sizes of a model. */
export interface EngineConfig {
  /** Of config.json: `'xlm-roberta'`, `'xlm-roberta-xl'` or `'modernbert'`. */
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
  /** Whether it has a language-model head: without one it can embed texts, but predicts no tokens. */
  head: boolean;
  /** Of its sequence classifier, 0 without one. */
  classes: number;
  /** Of its token classifier, 0 without one. */
  tokenClasses: number;
  maskTokenId: number;
  /** Of `<s>`, `</s>` and `<pad>`, or `[CLS]`, `[SEP]` and `[PAD]`. */
  beginTokenId: number;
  endTokenId: number;
  padTokenId: number;
  /** LayerNorm before or after each block. */
  norm: 'pre' | 'post';
  /** What targets attend to of their source: the option `attention`, or what the model was trained with. */
  attention: 'dynamic' | 'mixed';
  layerNormEpsilon: number;
  /** Whether the head is the word embeddings. */
  tieWordEmbeddings: boolean;
  /** Weights, a tied one counted once. */
  parameters: number;
  /** Weights of the layers' matrices: multiplications for each row that goes through them. */
  bodyWeights: number;
  /** What ModernBERT alone has. */
  modernBert?: {
    /** For each layer, whether a key is seen only from `window` ids before it to `window` after it. */
    localLayers: boolean[];
    window: number;
    globalTheta: number;
    localTheta: number;
    /** Never answered, beside begin, end, padding and the mask. */
    otherSpecialIds: number[];
    /** What a sequence classifier reads: the mean of the final states, or the first one. */
    classifierPooling: 'mean' | 'cls';
    /** Whether its classifier is one of tokens. */
    tokenClassifier: boolean;
  };
}
