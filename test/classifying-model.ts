/** The embedded model as the checkpoint of a sequence classifier: its encoder, without a head, and random classes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { embeddedModel } from '../lib/bundled-models.js';
import { Random } from './reference/random.js';
import { readTensors, safetensorsOf, type Tensors } from './safetensors-writer.js';

const file = (name: string) => readFileSync(join(embeddedModel, name));

/** Replaces the head by a classifier. */
export function addClassifier(tensors: Tensors, classes: number): void {
  const random = new Random(9);
  const put = (name: string, shape: number[]) => {
    const count = shape.reduce((product, n) => product * n, 1);
    const bytes = new Uint8Array(Float32Array.from(random.normals(count, 0.2)).buffer);
    tensors.set(name, { dtype: 'F32', shape, bytes });
  };
  put('classifier.dense.weight', [128, 128]);
  put('classifier.dense.bias', [128]);
  put('classifier.out_proj.weight', [classes, 128]);
  put('classifier.out_proj.bias', [classes]);
  for (const name of [...tensors.keys()]) if (name.startsWith('lm_head')) tensors.delete(name);
}

/** The files of a directory. */
export function classifyingModel(labels: string[]) {
  const tensors = readTensors(file('model.safetensors'));
  addClassifier(tensors, labels.length);
  const config = JSON.parse(file('config.json').toString()) as object;
  return {
    'config.json': JSON.stringify({ ...config, id2label: { ...labels } }),
    'model.safetensors': safetensorsOf(tensors),
    'sentencepiece.bpe.model': file('sentencepiece.bpe.model'),
  };
}
