/** Model directories made from a fixture with a few random changes of its structure, its bytes or both. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Random } from '../reference/random.js';
import { layOut, readTensors, safetensors, type Header } from '../safetensors-writer.js';
import { edgeNumber, jsonText, mutateBytes } from './mutation.js';

type Fields = Record<string, unknown>;

interface Shard {
  header: Header;
  data: Buffer;
  /** The length of the header that the file states; undefined: the true one. */
  length?: bigint;
}

interface Checkpoint {
  config: Fields;
  index?: { weight_map: Fields };
  shards: Map<string, Shard>;
}

export type Files = Map<string, Buffer>;

const single = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';

function readFixture(name: string): Checkpoint {
  const folder = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  const json = (file: string) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as unknown;
  const shard = (file: string) => layOut(readTensors(readFileSync(join(folder, file))));
  const config = json('config.json') as Fields;
  if (!existsSync(join(folder, indexFile))) {
    return { config, shards: new Map([[single, shard(single)]]) };
  }
  const index = json(indexFile) as { weight_map: Record<string, string> };
  const files = new Set(Object.values(index.weight_map));
  return { config, index, shards: new Map([...files].map((file) => [file, shard(file)])) };
}

// One file and post-LN; two files with an index, pre-LN and a decoder of its own.
const fixtures = ['tiny-base', 'tiny-odd'].map(readFixture);

const types = ['F32', 'F16', 'BF16', 'I64', 'U8', 'F4', 'F64', 'BOOL', 'f32', ''];
const strings = [
  '',
  'xlm-roberta',
  'xlm-roberta-xl',
  'gelu',
  'relu',
  'absolute',
  '\0',
  '\ud83d',
  'x',
];

/** Anything JSON can say. */
function anything(random: Random): unknown {
  return random.choice<() => unknown>([
    () => edgeNumber(random),
    () => Number(edgeNumber(random)) / 3,
    () => random.choice(strings),
    () => random.choice([null, null, true, false]),
    () => random.choice([[], {}, [1], { x: 1 }, [[[]]]]),
  ])();
}

function changeConfig(random: Random, { config }: Checkpoint): void {
  const name = random.choice(Object.keys(config).concat('tie_word_embeddings'));
  if (random.uniform() < 0.15) delete config[name];
  else config[name] = random.uniform() < 0.5 ? edgeNumber(random) : anything(random);
}

function rename(random: Random, name: string): string {
  return random.choice([
    () => name.replace('roberta.', ''),
    () => name.replace('.weight', '.gamma').replace('.bias', '.beta'),
    () => name.replace('layer.1', 'layer.0'),
    () => name.replace(/\d/, (digit) => String(Number(digit) + 1)),
    () => `${name}\0`,
    () =>
      random.choice(['__metadata__', '', 'lm_head.bias', 'embed_length.weight', 'x'.repeat(9999)]),
  ])();
}

function changeEntry(random: Random, description: Fields): void {
  // Neither needs to be a list any more: an earlier change may have made anything of it.
  const shape: unknown[] = Array.isArray(description.shape) ? [...description.shape] : [];
  const offsets: unknown[] = Array.isArray(description.data_offsets)
    ? [...description.data_offsets]
    : [];
  const at = random.integer(0, Math.max(shape.length - 1, 0));
  const shift = random.choice([-4, -2, -1, 1, 2, 4, 64, 512]);
  random.choice<() => void>([
    () => (description.dtype = random.choice(types)),
    () => (shape[at] = edgeNumber(random)),
    () => (shape[at] = Number(shape[at]) + shift),
    () => shape.splice(at, 1),
    () =>
      shape.splice(at, 0, random.choice<unknown>([1, 0, 2, edgeNumber(random), anything(random)])),
    () => shape.reverse(),
    () => (offsets[random.integer(0, 1)] = edgeNumber(random)),
    () => (offsets[1] = Number(offsets[1]) + shift),
    () => (offsets[0] = Number(offsets[0]) + shift),
    () => offsets.reverse(),
    () => offsets.push(anything(random)),
    () => (description[random.choice(['dtype', 'shape', 'data_offsets'])] = anything(random)),
    () => delete description[random.choice(['dtype', 'shape', 'data_offsets'])],
  ])();
  if (Array.isArray(description.shape)) description.shape = shape;
  if (Array.isArray(description.data_offsets)) description.data_offsets = offsets;
}

function changeHeader(random: Random, shard: Shard): void {
  const { header } = shard;
  const at = random.integer(0, header.length - 1);
  const other = random.integer(0, header.length - 1);
  const [name, value] = header[at]!;
  random.choice<() => void>([
    () => (header[at] = [rename(random, name), value]),
    () => (header[at] = [header[other]![0], value]),
    () => header.splice(at, 1),
    () => header.splice(other, 0, [random.choice([name, `${name}2`]), value]),
    () =>
      header.push([
        '__metadata__',
        random.choice([{ [name]: 'x' }, { format: 'pt' }, anything(random)]),
      ]),
    () => (header[at] = [name, anything(random)]),
    () => (shard.length = edgeNumber(random) & (2n ** 64n - 1n)),
  ])();
}

const wrong = Buffer.from(Float32Array.of(NaN, Infinity, 3e38).buffer);

function changeData(random: Random, shard: Shard): void {
  const data = Buffer.from(shard.data);
  const at = random.integer(0, data.length - 1);
  random.choice<() => void>([
    () => (shard.data = data.subarray(0, at)),
    () => (shard.data = Buffer.concat([data, data.subarray(at)])),
    () => (shard.data = data.fill(random.choice([0xff, 0x7f, 0, 0x80]), at)),
    () => (shard.data = data.fill(wrong, at - (at % 4), Math.min(at + 999, data.length))),
  ])();
}

function changeIndex(random: Random, checkpoint: Checkpoint): void {
  const map = checkpoint.index?.weight_map;
  if (map === undefined) return changeConfig(random, checkpoint);
  const name = random.choice(Object.keys(map));
  const files = [
    ...checkpoint.shards.keys(),
    '../x',
    '/dev/zero',
    '.',
    'config.json',
    '',
    'a\0b',
    'x'.repeat(300),
  ];
  random.choice<() => void>([
    () => (map[name] = random.choice<unknown>([...files, anything(random)])),
    () => delete map[name],
    () => (map[rename(random, name)] = map[name]),
    () => checkpoint.shards.delete(random.choice([...checkpoint.shards.keys()])),
    () => checkpoint.shards.set(single, [...checkpoint.shards.values()][0]!),
  ])();
}

/** The files of a fixture with one to three changes. */
export function mutatedCheckpoint(random: Random): Files {
  const original = random.choice(fixtures);
  const checkpoint: Checkpoint = {
    config: structuredClone(original.config),
    ...(original.index && { index: structuredClone(original.index) }),
    shards: new Map(
      [...original.shards].map(([name, { header, data }]) => [
        name,
        { header: structuredClone(header), data },
      ]),
    ),
  };
  for (let changes = random.choice([1, 1, 1, 2, 3]); changes > 0; changes--) {
    const shards = [...checkpoint.shards.values()];
    if (shards.length === 0) break;
    const shard = random.choice(shards);
    const entry = random.choice(shard.header.length > 0 ? shard.header : [['', {}] as const]);
    random.choice<() => void>([
      () => changeConfig(random, checkpoint),
      () => typeof entry[1] === 'object' && entry[1] && changeEntry(random, entry[1] as Fields),
      () => typeof entry[1] === 'object' && entry[1] && changeEntry(random, entry[1] as Fields),
      () => shard.header.length > 0 && changeHeader(random, shard),
      () => shard.data.length > 0 && changeData(random, shard),
      () => changeIndex(random, checkpoint),
    ])();
  }
  return written(random, checkpoint);
}

function written(random: Random, { config, index, shards }: Checkpoint): Files {
  const files: Files = new Map();
  const text = (value: unknown) => {
    const bytes = Buffer.from(jsonText(value));
    return random.uniform() < 0.03 ? mutateBytes(random, bytes) : bytes;
  };
  files.set('config.json', text(config));
  if (index) files.set(indexFile, text(index));
  for (const [name, { header, data, length }] of shards) {
    const members = header.map(([key, value]) => `${JSON.stringify(key)}:${jsonText(value)}`);
    const bytes = Buffer.from(`{${members.join(',')}}`);
    const damaged = random.uniform() < 0.05 ? mutateBytes(random, bytes) : bytes;
    files.set(name, safetensors(damaged, data, length));
  }
  return files;
}
