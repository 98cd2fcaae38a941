/** Weights as torch.save wrote them: the same bits as from safetensors, and nothing in a file is ever called. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Engine } from '../lib/token/engine.js';
import {
  accepts,
  base,
  baseConfig,
  baseTensors,
  bits,
  get,
  query,
  refuses,
  refusesAt,
  withFiles,
  words,
  type Files,
} from './model-directories.js';
import { readFixture } from './reference/fixtures.js';
import type { StoredTensor, Tensors } from './safetensors-writer.js';
import {
  Global,
  legacyTorchFile,
  Made,
  Opcodes,
  rowMajor,
  stateOf,
  Storage,
  storageOf,
  torchEntries,
  torchFile,
  torchTensor,
  tuple,
  view,
  zip,
  type Pickled,
  type ZipEntry,
} from './torch-writer.js';

const config = JSON.stringify(baseConfig);
const fixtures = fileURLToPath(new URL('fixtures/torch', import.meta.url));
const shared = fileURLToPath(new URL('../../shared/fixtures/torch', import.meta.url));

const directory =
  (file: () => Buffer): Files =>
  () => ({
    'config.json': config,
    'pytorch_model.bin': file(),
  });
const withState = (change: (state: Map<string, Pickled>) => void): Files =>
  directory(() => {
    const state = stateOf(baseTensors);
    change(state);
    return torchFile(state);
  });
const withEntries = (change: (entries: ZipEntry[]) => ZipEntry[] | void): Files =>
  directory(() => {
    const entries = torchEntries(stateOf(baseTensors));
    return zip(change(entries) ?? entries);
  });
const changed = (change: (file: Buffer) => Buffer): Files =>
  directory(() => change(torchFile(stateOf(baseTensors))));

/** Every token of a decode over a fixture's sources. */
async function decodes(path: string): Promise<number[][]> {
  const { cases } = readFixture('tiny-base');
  const engine = await Engine.load(path, { device: 'cpu', threads: 1, precision: 'auto' });
  try {
    const sources = await engine.encode(cases.map(({ sourceIds }) => sourceIds));
    const targets = sources.map((source, i) => source.target(cases[i]!.decodeLength));
    await engine.decode(targets, 4);
    return targets.map(({ tokens }) => [...tokens]);
  } finally {
    await engine.close();
  }
}

const expectedTokens = readFixture('tiny-base').cases.map(({ decodes }) => [
  ...decodes.get(4)!.at(-1)!.tokens,
]);

t.test('files that torch wrote', async (t) => {
  t.same(await decodes(join(fixtures, 'bin-half')), expectedTokens, 'half precision');
  for (const name of ['bin-zip', 'bin-legacy', 'bin-sharded', 'bin-half']) {
    const path = join(shared, name);
    if (!existsSync(path)) {
      t.comment(`${name} is not there`);
      continue;
    }
    t.same(await decodes(path), expectedTokens, name);
    if (name !== 'bin-half') t.same(await bits(path), await bits(base), `${name}: the same bits`);
  }
});

t.test('a pickle that wants to run a command', async (t) => {
  const path = join(fixtures, 'hostile-reduce');
  const file = readFileSync(join(path, 'pytorch_model.bin'));
  t.ok(file.includes('touch pwned'), 'which would make a file');
  await refusesAt(t, path, [/posix\.system.*not called/]);
  t.notOk(existsSync('pwned'), 'and does not');
});

t.test('unusual and right', (t) => {
  const transposed = ({ dtype, shape, bytes }: StoredTensor) => {
    const [rows, columns] = shape as [number, number];
    const width = bytes.length / (rows * columns);
    const from = Buffer.from(bytes);
    const other = Buffer.alloc(bytes.length);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        from.copy(
          other,
          (column * rows + row) * width,
          (row * columns + column) * width,
          (row * columns + column + 1) * width,
        );
    return view(storageOf({ dtype, shape, bytes: other }), 0, shape, [1, rows]);
  };
  const inOneStorage = (names: string[], tensors: Tensors): [string, Pickled][] => {
    const parts = names.map((name) => get(tensors, name));
    const storage = storageOf({ ...parts[0]!, bytes: Buffer.concat(parts.map((p) => p.bytes)) });
    let offset = 0;
    return names.map((name, i) => {
      const { shape, bytes } = parts[i]!;
      const entry: [string, Pickled] = [name, view(storage, offset, shape, rowMajor(shape))];
      offset += bytes.length / 4;
      return entry;
    });
  };
  return accepts(t, {
    'a zip archive': directory(() => torchFile(stateOf(baseTensors))),
    'a zip archive with zip64 sizes': directory(() =>
      zip(torchEntries(stateOf(baseTensors)), { large: true }),
    ),
    'the older format': directory(() => legacyTorchFile(stateOf(baseTensors))),
    'an OrderedDict with metadata': directory(() => {
      const ordered = new Made(new Global('collections', 'OrderedDict'), tuple());
      const metadata = new Map<string, Pickled>([['_metadata', new Map()]]);
      return torchFile(new Made(ordered.callable, ordered.args, metadata, stateOf(baseTensors)));
    }),
    parameters: withState((state) => {
      for (const [name, tensor] of state)
        state.set(
          name,
          new Made(
            new Global('torch._utils', '_rebuild_parameter'),
            tuple(tensor, true, new Map()),
          ),
        );
    }),
    'torch.Size as a shape': withState((state) => {
      const tensor = get(baseTensors, query);
      const { callable, args } = torchTensor(tensor);
      const items = [...(args as ReturnType<typeof tuple>).items];
      items[2] = new Made(new Global('torch', 'Size'), tuple(items[2]!));
      state.set(query, new Made(callable, tuple(...items)));
    }),
    'the first form of a tensor': withState((state) => {
      const tensor = get(baseTensors, query);
      const args = tuple(
        storageOf(tensor),
        0,
        tuple(...tensor.shape),
        tuple(...rowMajor(tensor.shape)),
      );
      state.set(query, new Made(new Global('torch._utils', '_rebuild_tensor'), args));
    }),
    'tensors that share a storage': withState((state) => {
      const names = [query, query.replace('query', 'key'), query.replace('query', 'value')];
      for (const [name, tensor] of inOneStorage(names, baseTensors)) state.set(name, tensor);
    }),
    'a tied decoder': withState((state) => state.set('lm_head.decoder.weight', state.get(words)!)),
    'a transposed matrix': withState((state) =>
      state.set(query, transposed(get(baseTensors, query))),
    ),
    'a bias of every second value': withState((state) => {
      const { shape, bytes } = get(baseTensors, 'lm_head.bias');
      const wide = Buffer.alloc(2 * bytes.length);
      for (let at = 0; at < bytes.length; at += 4) wide.set(bytes.subarray(at, at + 4), 2 * at);
      state.set('lm_head.bias', view(new Storage('FloatStorage', wide, 4), 0, shape, [2]));
    }),
    'extents of one with any stride': withState((state) => {
      const name = 'roberta.embeddings.token_type_embeddings.weight';
      const { shape } = get(baseTensors, name);
      state.set(name, view(storageOf(get(baseTensors, name)), 0, shape, [999, 1]));
    }),
    shards: () => {
      const first: Tensors = new Map();
      const second: Tensors = new Map();
      const map: Record<string, string> = {};
      for (const [name, tensor] of baseTensors) {
        const shard = name.includes('layer.1.') ? second : first;
        shard.set(name, tensor);
        map[name] = shard === second ? 'b.bin' : 'a.bin';
      }
      return {
        'config.json': config,
        'a.bin': torchFile(stateOf(first)),
        'b.bin': legacyTorchFile(stateOf(second)),
        'pytorch_model.bin.index.json': JSON.stringify({ weight_map: map }),
      };
    },
    'safetensors beside a wrong .bin': () => ({
      'config.json': config,
      'model.safetensors': t.fixture('symlink', join(base, 'model.safetensors')),
      'pytorch_model.bin': 'PK',
    }),
  });
});

const opcodes = (text: string) => new Opcodes(Buffer.from(text, 'latin1'));

t.test('a wrong pickle', (t) => {
  const pickled = (value: Pickled, ...messages: RegExp[]): [Files, ...RegExp[]] => [
    directory(() => torchFile(value)),
    /pytorch_model\.bin/,
    ...messages,
  ];
  const withValue = (value: Pickled, ...messages: RegExp[]): [Files, ...RegExp[]] => [
    withState((state) => state.set('extra', value)),
    /pytorch_model\.bin/,
    ...messages,
  ];
  const storage = storageOf(get(baseTensors, query));
  return refuses(t, {
    'a list': pickled([], /list/),
    'a number': pickled(1, /number/),
    'a checkpoint of fairseq': pickled(
      new Map([['model', stateOf(baseTensors)]]),
      /fairseq/,
      /convert/,
    ),
    'a call of eval': withValue(
      new Made(new Global('builtins', 'eval'), tuple('1')),
      /builtins\.eval/,
      /"extra"/,
    ),
    'a call of a storage': withValue(new Made(storage, tuple()), /"extra"/),
    'an entry that is a number': withValue(7, /"extra".*number/),
    'an entry that is None': withValue(null, /"extra".*None/),
    'an entry that is a name': withValue(new Global('os', 'system'), /os\.system/),
    'the opcode INST': withValue(opcodes('(ios\nsystem\n'), /opcode 105/),
    'the opcode OBJ': withValue(opcodes('(cos\nsystem\no'), /opcode 111/),
    'the opcode EXT1': withValue(opcodes('\x82\x01'), /opcode 130/),
    'the opcode PERSID': withValue(opcodes('P0\n'), /opcode 80/),
    'the opcode INT': withValue(opcodes('I1\n'), /opcode 73/),
    'the opcode NEWOBJ_EX': withValue(opcodes('\x92'), /opcode 146/),
    'the opcode BYTEARRAY8': withValue(opcodes('\x96'), /opcode 150/),
    'a persistent id that is no storage': withValue(opcodes('K\x01Q'), /no storage/),
    'a value that was never remembered': withValue(opcodes('h\xff'), /value 255/),
    'a text that reaches beyond the end': withValue(opcodes('X\xff\xff\xff\x7f'), /truncated/),
    'a text of 2^64 - 1 bytes': withValue(opcodes('\x8d' + '\xff'.repeat(8)), /truncated/),
    'a frame beyond the end': withValue(opcodes('\x95' + '\x7f'.repeat(8)), /truncated/),
    'a tuple of what is not there': pickled(opcodes('\x87'), /needs 3 values/),
    'items without a mark': pickled(opcodes('}u'), /mark/),
    'items for a number': pickled(opcodes('K\x01(K\x01K\x02u'), /number/),
    'a key without a value': pickled(opcodes('}(K\x01u'), /key/),
    'a name that is a number': pickled(opcodes('}(K\x01K\x02u'), /name is a number/),
    'protocol 6': pickled(opcodes('\x80\x06}'), /protocol 6/),
    'an end without a value': pickled(opcodes('N0'), /needs a value/),
    'a state for a number': pickled(opcodes('K\x01}b'), /state/),
    'two million values': pickled(opcodes('N'.repeat(2 ** 21)), /1048576/),
    'two million marks': pickled(opcodes('('.repeat(2 ** 21)), /1048576/),
    'a list that holds itself': pickled(opcodes(']q\x00h\x00a'), /list/),
    'a tensor of what is no storage': withValue(view(1, 0, [1], [1]), /storage is a number/),
    'a tensor without strides': withValue(
      new Made(new Global('torch._utils', '_rebuild_tensor_v2'), tuple(storage)),
      /"extra"/,
    ),
    'an unknown storage': withValue(
      view(new Storage('ComplexFloatStorage', Buffer.alloc(8), 8), 0, [1], [1]),
      /ComplexFloatStorage/,
    ),
    'a negative offset': withValue(view(storage, -1, [1], [1]), /offset/),
    'an offset beyond the storage': withValue(view(storage, 128 * 128, [1], [1]), /out of/),
    'an offset of 2^63 - 1': withValue(view(storage, 2n ** 63n - 1n, [1], [1]), /out of/),
    'a negative extent': withValue(view(storage, 0, [-1], [1]), /shape/),
    'extents beyond 64 bits': withValue(view(storage, 0, [2 ** 40, 2 ** 40], [1, 1]), /64 bits/),
    'more values than the storage': withValue(
      view(storage, 0, [128 * 128 + 1], [0]),
      /more values/,
    ),
    'a stride that leads out': withValue(view(storage, 0, [128, 128], [129, 1]), /out of/),
    'a stride of 2^62': withValue(view(storage, 0, [9, 2], [2n ** 62n, 1]), /64 bits|out of/),
    'a negative stride': withValue(view(storage, 128, [128], [-1]), /strides/),
    'fewer strides than extents': withValue(view(storage, 0, [2, 2], [1]), /stride/),
    'a shape that is a list': withValue(
      new Made(
        new Global('torch._utils', '_rebuild_tensor_v2'),
        tuple(storage, 0, [1], tuple(1), false, null),
      ),
      /shape is a list/,
    ),
    'a name twice': [
      withState((state) => {
        // Takes its own key away, remembers the tensor before it, and gives it that one's name again.
        state.set('a', state.get('lm_head.bias')!);
        state.set('b', opcodes('0q\x05X\x01\x00\x00\x00ah\x05'));
      }),
      /pytorch_model\.bin/,
      /two tensors "a"/,
    ],
    'weights of type F64': [
      withState((state) => {
        const bytes = Buffer.alloc(128 * 128 * 8);
        state.set(query, torchTensor({ dtype: 'F64', shape: [128, 128], bytes }));
      }),
      /F64/,
    ],
  });
});

t.test('a wrong archive', (t) => {
  const without = (suffix: string) =>
    withEntries((entries) => entries.filter(({ name }) => !name.endsWith(suffix)));
  const put = (entry: ZipEntry) => withEntries((entries) => [...entries, entry]);
  const little = (order: string) => put({ name: 'archive/byteorder', content: Buffer.from(order) });
  /** The bytes of the directory's entry number `index` changed. */
  const inDirectory = (index: number, offset: number, bytes: number[]) =>
    changed((file) => {
      let at = file.lastIndexOf('PK\x05\x06', undefined, 'latin1');
      at = file.readUInt32LE(at + 16);
      for (let i = 0; i < index; i++)
        at += 46 + file.readUInt16LE(at + 28) + file.readUInt16LE(at + 30);
      Buffer.from(bytes).copy(file, at + offset);
      return file;
    });
  const atEnd = (offset: number, bytes: number[]) =>
    changed((file) => {
      Buffer.from(bytes).copy(file, file.length - 22 + offset);
      return file;
    });
  return refuses(t, {
    'an empty file': [directory(() => Buffer.alloc(0)), /not a file that torch\.save wrote/],
    'two bytes': [directory(() => Buffer.from('PK')), /truncated/],
    'a text': [directory(() => Buffer.from('hello')), /not a file that torch\.save wrote/],
    'a Git LFS pointer': [
      directory(() => Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')),
      /LFS pointer.*git lfs pull/,
    ],
    'a truncated archive': [changed((file) => file.subarray(0, -1000)), /truncated/],
    'an archive without its end': [changed((file) => file.subarray(0, -1)), /truncated/],
    'no data.pkl': [without('data.pkl'), /data\.pkl/],
    'two data.pkl': [put({ name: 'other/data.pkl', content: Buffer.from('N.') }), /two/],
    'a TorchScript program': [
      put({ name: 'archive/constants.pkl', content: Buffer.from('N.') }),
      /TorchScript/,
    ],
    'a storage that is missing': [without('data/3'), /storage "3".*not in the archive/],
    'a storage that is too short': [
      withEntries((entries) =>
        entries.map((entry) =>
          entry.name.endsWith('data/3')
            ? { ...entry, content: entry.content.subarray(0, -4) }
            : entry,
        ),
      ),
      /storage "3"/,
    ],
    'an entry twice': [
      put({ name: 'archive/data/3', content: Buffer.alloc(0) }),
      /two entries.*data\/3/,
    ],
    'a compressed entry': [
      put({ name: 'archive/x', content: Buffer.alloc(0), method: 8 }),
      /compressed/,
    ],
    'an encrypted entry': [
      put({ name: 'archive/x', content: Buffer.alloc(0), flags: 1 }),
      /encrypted/,
    ],
    'a big-endian file': [little('big'), /byte order/],
    'bytes behind the pickle': [
      withEntries((entries) =>
        entries.map((entry, i) =>
          i === 0 ? { ...entry, content: Buffer.concat([entry.content, Buffer.from('.')]) } : entry,
        ),
      ),
      /bytes follow/,
    ],
    'an entry that is elsewhere': [inDirectory(2, 42, [1]), /not where/],
    'an entry of another name': [inDirectory(2, 46, [0x41]), /another name/],
    'an entry beyond the file': [
      inDirectory(2, 20, [0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]),
      /beyond the file/,
    ],
    'an entry without its zip64 sizes': [
      inDirectory(2, 20, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      /beyond the file|zip64/,
    ],
    'a directory outside the file': [atEnd(16, [0xff, 0xff, 0xff, 0x7f]), /outside/],
    'more entries than there are': [atEnd(8, [0xff, 0x7f, 0xff, 0x7f]), /truncated/],
    'fewer entries than there are': [atEnd(8, [1, 0, 1, 0]), /more bytes than entries/],
    'several disks': [atEnd(4, [1, 0]), /disks/],
    'zip64 without its end': [atEnd(16, [0xff, 0xff, 0xff, 0xff]), /zip64/],
  });
});

t.test('a wrong file of the older format', (t) => {
  const older = (change: Parameters<typeof legacyTorchFile>[1]): Files =>
    directory(() => legacyTorchFile(stateOf(baseTensors), change));
  const machine = (little: Pickled): Pickled => new Map([['little_endian', little]]);
  const cut = (bytes: number): Files =>
    directory(() => legacyTorchFile(stateOf(baseTensors)).subarray(0, bytes));
  return refuses(t, {
    'another magic number': [older({ magic: 5 }), /not one of torch\.save/],
    'another version': [older({ version: 1000 }), /1001/],
    'a big-endian machine': [older({ machine: machine(false) }), /little-endian/],
    'no byte order': [older({ machine: new Map() }), /little-endian/],
    'a storage that is not listed': [older({ keys: ['0'] }), /is not in the file/],
    'a storage that nobody names': [older({ keys: ['0', 'x'] }), /do not name/],
    'a storage twice': [older({ keys: ['0', '0'] }), /twice/],
    'bytes behind the storages': [older({ rest: Buffer.alloc(3) }), /3 bytes follow/],
    'a file cut in a storage': [cut(-100), /truncated/],
    'a file cut in its pickle': [cut(2000), /truncated/],
    'a file cut in its magic number': [cut(5), /truncated/],
    'a list of keys that is a number': [
      withFiles(
        directory(() => Buffer.alloc(0)),
        () => ({
          'pytorch_model.bin': legacyTorchFile(new Map(), { keys: 3 as unknown as Pickled[] }),
        }),
      ),
      /list of storages/,
    ],
  });
});
