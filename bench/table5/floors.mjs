// The floors that the machine's own limits set: milliseconds that no program on it can beat, for the dense products and
// the reading of weights and key/value caches; attention's arithmetic, norms and everything else are not in it.

import { peakOf } from '../machine.mjs';

const activationBytes = 4; // caches are float32 on the CPU

/**
 * `shape`: of the encoder-only model (Engine.config); `baseline`: what the process of an autoregressive model says of
 * itself; `limits` as bench/machine.mjs measures them. Each function takes a cell `{ length, batch }`.
 */
export function floorsOf({ shape, precision, source, limits }) {
  const { layers, hidden, feedForward, maskTokenId } = shape;
  const weightBytes = { fp32: 4, bf16: 2, fp16: 2, int8: 1 }[precision];
  const operations = peakOf(limits, precision);

  /** `products`: pairs of rows and weights that run one after the other; the slower of arithmetic and reading. */
  const pass = (products, cachedKeys = 0, cachingLayers = 0) => {
    const work = products.reduce((sum, [rows, weights]) => sum + 2 * rows * weights, 0);
    const bytes = products.reduce((sum, [, weights]) => sum + weights * weightBytes, 0);
    const cached = cachedKeys * cachingLayers * 2 * hidden * activationBytes;
    return Math.max(work / operations, (bytes + cached) / limits.gbs) / 1e6;
  };

  const head = hidden * hidden + hidden * (maskTokenId + 1);
  const layer = 4 * hidden * hidden + 2 * hidden * feedForward;
  // In the last layer, rows whose result nobody asks for end as keys and values.
  const keysValues = 2 * hidden * hidden;
  const body = (rows, wanted) => [
    [rows, (layers - 1) * layer + keysValues],
    [wanted, layer - keysValues],
  ];

  return {
    maskPredict:
      (iterations) =>
      ({ length, batch }) => {
        let sum = pass([[batch * source, (layers - 1) * layer + keysValues]]);
        for (let t = 1; t <= iterations; t++) {
          const masked = Math.floor((length * (iterations - t + 1)) / iterations);
          if (masked === 0) break;
          sum += pass(body(batch * (length + 2), batch * masked), batch * source, layers);
          sum += pass([[batch * masked, head]]);
        }
        return sum;
      },
    decoderOnly: ({ length, batch }) => {
      let sum = pass(body(batch * source, batch)) + pass([[batch, head]]);
      for (let token = 1; token < length; token++)
        sum += step(batch, layers * layer, batch * (source + token), layers);
      return sum;
    },
    encoderDecoder:
      ({ encoderBody, decoderBody, decoderLayers }) =>
      ({ length, batch }) => {
        let sum = pass([[batch * source, encoderBody]]);
        for (let token = 0; token < length; token++)
          sum += step(batch, decoderBody, batch * (source + token + 1), decoderLayers);
        return sum;
      },
    // Reading the weights of a decoder and of the head once, as every generated token must.
    reading: (decoderBody) => ((decoderBody + head) * weightBytes) / limits.gbs / 1e6,
  };

  function step(batch, decoderBody, cachedKeys, cachingLayers) {
    return pass([[batch, decoderBody]], cachedKeys, cachingLayers) + pass([[batch, head]]);
  }
}
