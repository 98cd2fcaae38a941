/** The sizes of a model. */
export interface EngineConfig {
  /** Of config.json, e.g. `'xlm-roberta'`. */
  modelType: string;
  layers: number;
  /** Width of the states. */
  hidden: number;
  heads: number;
  /** Width between the two matrices of a feed-forward block. */
  feedForward: number;
  /** Rows of the embedding, more than there are ids where it is padded. */
  vocabulary: number;
  /** Rows of the position table; a sequence has at most 2 ids less. */
  maxPositions: number;
  /** Classes of the length predictor, 0 without one. */
  lengths: number;
  /** Whether it has a language-model head: without one it can embed texts, but predicts no tokens. */
  head: boolean;
  /** Of its sequence classifier, 0 without one. */
  classes: number;
  /** Of its token classifier, 0 without one. */
  tokenClasses: number;
  maskTokenId: number;
  /** LayerNorm before or after each block. */
  norm: 'pre' | 'post';
  layerNormEpsilon: number;
  /** Whether the head is the word embeddings. */
  tieWordEmbeddings: boolean;
  /** Weights, a tied one counted once. */
  parameters: number;
  /** Weights of the layers' matrices: multiplications for each row that goes through them. */
  bodyWeights: number;
}
