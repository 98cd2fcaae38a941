// node examples/embeddings.mjs [MODEL [QUERY TEXT TEXT...]]
//
// Semantic search: texts as vectors, and those nearest to a query first. MODEL is an XLM-R of sentence-transformers, a
// directory or a name on the hub; without one, intfloat/multilingual-e5-base is fetched (1.1 GB, once). Pooling and scaling
// are what the model's own files say. This model wants `query: ` and `passage: ` before its texts; others do not.
import { MaskPredict } from 'mask-predict';

const [name = 'intfloat/multilingual-e5-base', ...given] = process.argv.slice(2);
const [query, ...passages] =
  given.length > 1
    ? given
    : [
        'query: how long is a day on Mars',
        'passage: A Martian day lasts 24 hours and 37 minutes.',
        'passage: Der Mars hat zwei Monde, Phobos und Deimos.',
        'passage: Bread needs flour, water, salt and time.',
      ];

const model = await MaskPredict.load(name);
const [asked, ...vectors] = await model.embed([query, ...passages]);
const ranked = passages
  .map((text, index) => ({ text, similarity: cosine(asked, vectors[index]) }))
  .sort((a, b) => b.similarity - a.similarity);
console.log(`${query}   (${asked.length} dimensions)`);
for (const { text, similarity } of ranked) console.log(`  ${similarity.toFixed(4)}  ${text}`);
await model.close();

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
