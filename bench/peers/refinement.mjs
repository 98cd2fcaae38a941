// Mask-Predict as a user of a bare runtime writes it: the tokens and scores of a batch of targets, what is masked,
// and what a pass's predictions change.

export class Refinement {
  #iterations;
  #maskTokenId;
  #length;
  #pass = 1;

  /** `batch` targets of `length` ids, all inner positions masked. */
  constructor(batch, length, iterations, maskTokenId) {
    this.#iterations = iterations;
    this.#maskTokenId = maskTokenId;
    this.#length = length;
    this.ids = new Int32Array(batch * length).fill(maskTokenId);
    this.scores = new Float64Array(batch * length);
    for (let first = 0; first < this.ids.length; first += length) {
      this.ids[first] = 0;
      this.ids[first + length - 1] = 2;
    }
  }

  /** The masked rows of `[batch * length]`. */
  maskedRows() {
    const rows = [];
    for (let row = 0; row < this.ids.length; row++)
      if (this.ids[row] === this.#maskTokenId) rows.push(row);
    return rows;
  }

  fill(row, id, logProb) {
    this.ids[row] = id;
    this.scores[row] = logProb;
  }

  /** Masks each target's least certain positions for the next pass; false if that was the last one. */
  remask() {
    const maskable = this.#length - 2;
    const count = Math.floor((maskable * (this.#iterations - this.#pass)) / this.#iterations);
    if (++this.#pass > this.#iterations) return false;
    for (let first = 0; first < this.ids.length; first += this.#length) {
      const rows = Array.from({ length: maskable }, (_, i) => first + 1 + i);
      rows.sort((a, b) => this.scores[a] - this.scores[b] || a - b);
      for (const row of rows.slice(0, count)) this.fill(row, this.#maskTokenId, 0);
    }
    return true;
  }

  /** `[batch][length]` */
  tokens() {
    return Array.from({ length: this.ids.length / this.#length }, (_, b) =>
      this.ids.subarray(b * this.#length, (b + 1) * this.#length),
    );
  }
}

/** The best id and its log-probability in `logits[first ... first + count)`. */
export function best(logits, first, count) {
  let largest = -Infinity;
  let id = 0;
  for (let i = 0; i < count; i++) {
    if (logits[first + i] > largest) {
      largest = logits[first + i];
      id = i;
    }
  }
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp(logits[first + i] - largest);
  return { id, logProb: -Math.log(sum) };
}

/** Ids of several rows as the int64 that ONNX graphs want. */
export function int64(ids) {
  return BigInt64Array.from(ids, BigInt);
}
