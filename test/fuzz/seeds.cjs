'use strict';
// First inputs of the fuzz targets: small right files, from which a fuzzer finds the way to wrong ones.
const fs = require('node:fs');
const path = require('node:path');

const fixtures = path.join(__dirname, '../fixtures');
const read = (...names) => fs.readFileSync(path.join(fixtures, ...names));

/** A safetensors file; `tensors` are [name, dtype, shape] and all their bytes are small normal numbers. */
function safetensors(tensors, metadata) {
  const sizes = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1, F4: 0.5, BOOL: 1 };
  let end = 0;
  const header = metadata ? { __metadata__: metadata } : {};
  for (const [name, dtype, shape] of tensors) {
    const bytes = shape.reduce((product, extent) => product * extent, 1) * sizes[dtype];
    header[name] = { dtype, shape, data_offsets: [end, (end += bytes)] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(end, 0x3c)]);
}

/** A fixture as small as its architecture allows: one layer, hidden size 2, 7 ids. */
function shrunk(fixture, type) {
  const config = JSON.parse(read(fixture, 'config.json').toString());
  const small = {
    ...{ num_hidden_layers: 1, hidden_size: 2, num_attention_heads: 1, intermediate_size: 3 },
    ...{ vocab_size: 7, mask_token_id: 6, max_position_embeddings: 8, length_vocab_size: 4 },
  };
  const extents = new Map(
    ['hidden_size', 'intermediate_size', 'vocab_size', 'max_position_embeddings'].map((name) => [
      config[name],
      small[name],
    ]),
  );
  const file = read(fixture, 'model.safetensors');
  const header = JSON.parse(file.toString('utf8', 8, 8 + Number(file.readBigUInt64LE(0))));
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__' && !/layer\.[1-9]/.test(name))
    .map(([name, { shape }]) => [
      name,
      type,
      name === 'embed_length.weight'
        ? [4, 2]
        : shape.map((extent) => extents.get(extent) ?? extent),
    ]);
  return { config: Buffer.from(JSON.stringify({ ...config, ...small })), tensors };
}

/** A model directory as fuzz/model.cpp reads it; `files` are [number of the name, content]. */
function archive(files) {
  return Buffer.concat(
    files.flatMap(([name, content]) => {
      const prefix = Buffer.alloc(4);
      prefix[0] = name;
      prefix.writeUIntLE(content.length, 1, 3);
      return [prefix, content];
    }),
  );
}

function models() {
  const [config, single, index, first, second] = [0, 1, 2, 3, 4];
  return [
    ['tiny-base', 'F16'],
    ['tiny-xl', 'F32'],
  ].flatMap(([fixture, type]) => {
    const { config: text, tensors } = shrunk(fixture, type);
    const map = tensors.map(([name], i) => [name, i % 2 ? 'a.safetensors' : 'b.safetensors']);
    return [
      archive([
        [config, text],
        [single, safetensors(tensors)],
      ]),
      archive([
        [config, text],
        [index, Buffer.from(JSON.stringify({ weight_map: Object.fromEntries(map) }))],
        [first, safetensors(tensors.filter((_, i) => i % 2))],
        [second, safetensors(tensors.filter((_, i) => i % 2 === 0))],
      ]),
    ];
  });
}

const configs = ['tiny-base', 'tiny-odd', 'tiny-xl', 'tiny-xxl'].map((name) =>
  read(name, 'config.json'),
);

/** Inputs by target. */
exports.seeds = {
  json: () => [
    ...configs,
    Buffer.from(
      '[null,true,false,-0,1e9,-1.5E-3,9223372036854775808,"\\ud83d\\ude00\\u0041ß\\n",{}]',
    ),
    Buffer.from('"\\u0000\\b\\f\\r\\t\\/\\\\\\""'),
  ],
  config: () => configs,
  index: () => [
    Buffer.from(
      '{"metadata":{"total_size":12},"weight_map":{"x":"a.safetensors","roberta.y":"a.safetensors","z":"b.safetensors"}}',
    ),
    Buffer.from('{"weight_map":{"x":"a.safetensors"}}'),
  ],
  safetensors: () => [
    safetensors([]),
    safetensors([['a', 'F32', []]], { format: 'pt', b: 'a' }),
    safetensors([
      ['a', 'F16', [2, 3]],
      ['b', 'I64', [0]],
      ['c', 'F4', [2]],
      ['d', 'BF16', [1, 1, 1]],
    ]),
    safetensors(shrunk('tiny-base', 'F16').tensors),
  ],
  // These begin with the inputs that are kept.
  pickle: () => [],
  torch: () => [],
  model: models,
};

/** Words that a random change would not find. */
exports.words = [
  ...['dtype', 'shape', 'data_offsets', '__metadata__', 'weight_map', 'metadata', 'format', 'pt'],
  ...['F32', 'F16', 'BF16', 'I64', 'U8', 'F4', 'F6_E2M3', 'F8_E4M3FNUZ', 'C64'],
  ...[
    'a.safetensors',
    'b.safetensors',
    '..',
    'roberta.',
    '.gamma',
    '.beta',
    'LayerNorm',
    'decoder',
  ],
  ...['collections', 'OrderedDict', 'torch._utils', '_rebuild_tensor_v2', '_rebuild_parameter'],
  ...['torch', 'Size', 'FloatStorage', 'HalfStorage', 'LongStorage', 'storage', 'cpu', 'data.pkl'],
  ...['args', 'cfg', 'model', 'encoder_attention_heads', 'encoder_normalize_before', '_content'],
  ...['model_type', 'xlm-roberta', 'xlm-roberta-xl', 'hidden_act', 'position_embedding_type'],
  ...['num_hidden_layers', 'hidden_size', 'num_attention_heads', 'intermediate_size', 'vocab_size'],
  ...['max_position_embeddings', 'type_vocab_size', 'length_vocab_size', 'mask_token_id'],
  ...['layer_norm_eps', 'tie_word_embeddings', 'bos_token_id', 'pad_token_id', 'eos_token_id'],
  ...['null', 'true', 'false', '\\ud83d\\ude00', '\\u0000', '1e999', '-0', '0.1', '{}', '[]'],
  ...['9007199254740993', '9223372036854775807', '9223372036854775808', '18446744073709551616'],
  ...['4294967296', '16777216', '1048576', '65536', '1024', '1000'],
];
