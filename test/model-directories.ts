/**
 * Model directories made from test/fixtures/tiny-base with one change each, and the two things tests ask of
 * them: that loading refuses a wrong one, naming the place, and that an unusual but right one gives the
 * same bits as tiny-base.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { Engine } from '../lib/token/engine.js';
import {
  headerText,
  layOut,
  readTensors,
  safetensors,
  safetensorsOf,
  type Header,
  type StoredTensor,
  type Tensors,
} from './safetensors-writer.js';

/** Makes the files when they are asked for: all directories at once would be large. */
export type Files = () => Record<string, NonNullable<Parameters<Test['testdir']>[0]>>;

export const base = fileURLToPath(new URL('fixtures/tiny-base', import.meta.url));
export const baseConfig = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as object;
export const baseTensors = readTensors(readFileSync(join(base, 'model.safetensors')));

export const words = 'roberta.embeddings.word_embeddings.weight';
export const query = 'roberta.encoder.layer.1.attention.self.query.weight';
export const second = 'roberta.encoder.layer.1.output.dense.weight';

export function directory(model: () => Buffer, config: object = baseConfig): Files {
  return () => ({ 'config.json': JSON.stringify(config), 'model.safetensors': model() });
}

/** The config with some fields changed; `undefined` takes a field away. */
export function withConfig(fields: Record<string, unknown>): Files {
  return directory(() => safetensorsOf(baseTensors), { ...baseConfig, ...fields });
}

export function withConfigText(text: string): Files {
  return () => ({ 'config.json': text, 'model.safetensors': safetensorsOf(baseTensors) });
}

export function withTensors(change: (tensors: Tensors) => Tensors | void): Files {
  return directory(() => {
    const tensors = new Map(baseTensors);
    return safetensorsOf(change(tensors) ?? tensors);
  });
}

export function withTensor(name: string, change: Partial<StoredTensor>): Files {
  return withTensors((tensors) => {
    tensors.set(name, { ...get(tensors, name), ...change });
  });
}

export function renamed(rename: (name: string) => string): Files {
  return withTensors(
    (tensors) => new Map([...tensors].map(([name, tensor]) => [rename(name), tensor])),
  );
}

export function get(tensors: Tensors, name: string): StoredTensor {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`tiny-base has no ${name}`);
  return tensor;
}

export function withHeader(change: (header: Header) => Header | void): Files {
  return directory(() => {
    const { header, data } = layOut(baseTensors);
    return safetensors(headerText(change(header) ?? header), data);
  });
}

/** One tensor's entry in the header with some fields changed; `undefined` takes a field away. */
export function withEntry(name: string, fields: Record<string, unknown>): Files {
  return withHeader((header) =>
    header.map(([key, value]) => [key, key === name ? { ...(value as object), ...fields } : value]),
  );
}

export function withHeaderText(change: (text: string) => string | Uint8Array): Files {
  return directory(() => {
    const { header, data } = layOut(baseTensors);
    return safetensors(change(headerText(header)), data);
  });
}

export function withFile(change: (file: Buffer) => Buffer): Files {
  return directory(() => change(safetensorsOf(baseTensors)));
}

interface Shards {
  first: Tensors;
  second: Tensors;
  index: { metadata?: unknown; weight_map?: Record<string, unknown> };
}

/** The tensors of layer 1 in second.safetensors, the others in first.safetensors, and an index. */
export function sharded(change: (shards: Shards) => void = () => {}): Files {
  return () => {
    const shards: Shards = { first: new Map(), second: new Map(), index: { weight_map: {} } };
    for (const [name, tensor] of baseTensors) {
      const shard = name.includes('layer.1.') ? 'second' : 'first';
      shards[shard].set(name, tensor);
      shards.index.weight_map![name] = `${shard}.safetensors`;
    }
    change(shards);
    return {
      'config.json': JSON.stringify(baseConfig),
      'first.safetensors': safetensorsOf(shards.first),
      'second.safetensors': safetensorsOf(shards.second),
      'model.safetensors.index.json': JSON.stringify(shards.index),
    };
  };
}

/** Some files of the directory replaced, others added. */
export function withFiles(files: Files, others: Files): Files {
  return () => ({ ...files(), ...others() });
}

export const oneByte: StoredTensor = { dtype: 'U8', shape: [1], bytes: Buffer.from([7]) };

/** By the fault: the directory, and patterns that the message must match. */
export type Refusals = Record<string, [Files, ...RegExp[]]>;

export async function refusesAt(t: Test, path: string, messages: RegExp[]): Promise<void> {
  const outcome: unknown = await Engine.load(path, { device: 'cpu', threads: 1 }).then(
    async (engine) => {
      await engine.close();
      return 'loaded';
    },
    (error: unknown) => error,
  );
  for (const message of messages) t.match(outcome, { code: 'ERR_MODEL_FORMAT', message });
}

export async function refuses(t: Test, refusals: Refusals): Promise<void> {
  for (const [what, [files, ...messages]] of Object.entries(refusals)) {
    await t.test(what, (t) => refusesAt(t, t.testdir(files()), messages));
  }
}

/** The results of the model in a directory for one source and one target. */
export async function bits(path: string) {
  const engine = await Engine.load(path, { device: 'cpu', threads: 1 });
  try {
    const [source] = await engine.encode([Int32Array.of(0, 17, 301, 88, 2)]);
    const [logits] = await engine.logits([source!.target(5)]);
    return { logits, lengths: source!.lengthLogits };
  } finally {
    await engine.close();
  }
}

export async function accepts(t: Test, directories: Record<string, Files>): Promise<void> {
  const expected = await bits(base);
  for (const [what, files] of Object.entries(directories)) {
    await t.test(what, async (t) => {
      t.same(await bits(t.testdir(files())), expected);
    });
  }
}
