// node llama.mjs --model FILE.gguf --threads N
//
// Greedy generation by node-llama-cpp with the decoder of export/write_gguf.py: a prompt as long as the source, then
// as many tokens as a target has ids, one after the other. A batch is as many sequences of one context at once.
import { parseArgs } from 'node:util';
import { serve } from '../serve.mjs';
import { sourceIds, sourceLength, targetLength } from '../workload.mjs';
import { importPeer } from './packages.mjs';

const { values: options } = parseArgs({
  options: { model: { type: 'string' }, threads: { type: 'string' } },
});
const threads = Number(options.threads);
const firstPiece = 259; // before it: unknown, begin, end, and the bytes
const { getLlama, LlamaLogLevel } = await importPeer('llama');

const begun = performance.now();
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: threads,
  logLevel: LlamaLogLevel.error,
  progressLogs: false,
});
const model = await llama.loadModel({ modelPath: options.model, gpuLayers: 0, useMmap: true });
const loadMs = performance.now() - begun;

let sequences = [];

/** One context for the whole benchmark: its batch does not change. */
async function sequencesFor(batch) {
  if (sequences.length === batch) return sequences;
  const context = await model.createContext({
    sequences: batch,
    contextSize: sourceLength + targetLength + 32,
    batchSize: 512,
    threads,
  });
  sequences = Array.from({ length: batch }, () => context.getSequence());
  return sequences;
}

async function generate(sequence, prompt) {
  await sequence.clearHistory();
  const tokens = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    tokens.push(token);
    if (tokens.length === targetLength) break;
  }
  return tokens;
}

async function job({ batch }) {
  const all = await sequencesFor(batch);
  const vocabulary = model.fileInfo.metadata.llama.vocab_size;
  const prompts = sourceIds(batch, sourceLength, vocabulary - firstPiece).map((ids) =>
    Array.from(ids, (id, i) => (i === 0 ? 1 : firstPiece + id)),
  );
  return async () => {
    const tokens = await Promise.all(all.map((sequence, b) => generate(sequence, prompts[b])));
    if (tokens.some(({ length }) => length !== targetLength))
      throw new Error('generation ended early');
    return { tokens };
  };
}

await serve({ loadMs }, job);
await llama.dispose();
process.exit();
