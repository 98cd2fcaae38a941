/** Limits of one request, so that no single one takes the server from the others. */
export interface Limits {
  /** Bytes of a request's body. */
  body: number;
  /** Characters of a prompt or another text. The model reads what its positions allow of it. */
  characters: number;
  /** Texts a request has written: prompts times length candidates; and labels to choose from. */
  texts: number;
  /** Passes over a text. */
  iterations: number;
}

export const defaultLimits: Limits = {
  body: 2 ** 20,
  characters: 20_000,
  texts: 64,
  iterations: 100,
};
