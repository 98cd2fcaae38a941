/** The contents that a model directory must have: tensors, shards and their index, files. */
import { join } from 'node:path';
import t from 'tap';
import {
  accepts,
  base,
  baseConfig,
  baseTensors,
  directory,
  get,
  oneByte,
  query,
  refuses,
  type Refusals,
  refusesAt,
  renamed,
  second,
  sharded,
  withFiles,
  withHeader,
  withTensor,
  withTensors,
  words,
} from './model-directories.js';
import { headerText, layOut, safetensors, safetensorsOf } from './safetensors-writer.js';

const config = JSON.stringify(baseConfig);
const index = 'model.safetensors.index.json';

t.test('a wrong tensor', (t) =>
  refuses(t, {
    'no tensor at all': [
      directory(() => safetensors('{}', Buffer.alloc(0))),
      /word_embeddings|embed_length/,
    ],
    'a head without its dense layer': [
      withTensors(
        (tensors) => new Map([...tensors].filter(([name]) => !name.startsWith('lm_head.dense'))),
      ),
      /lm_head\.dense\.weight/,
    ],
    'a classifier of another width': [
      withTensors(
        (tensors) => void tensors.set('classifier.out_proj.weight', get(tensors, second)),
      ),
      /classifier\.out_proj\.weight.*128, 256/,
    ],
    'a classifier without its dense layer': [
      withTensors((tensors) => void tensors.set('classifier.out_proj.weight', get(tensors, query))),
      /classifier\.dense\.weight/,
    ],
    ...Object.fromEntries(
      [words, query, second, 'lm_head.bias', 'roberta.embeddings.LayerNorm.bias'].map((name) => [
        `no ${name}`,
        [
          withTensors((tensors) => void tensors.delete(name)),
          new RegExp(name.replace('roberta.', '')),
        ],
      ]),
    ),
    'a matrix the other way round': [
      withTensor(second, { shape: [256, 128] }),
      new RegExp(second),
      /256.*128/,
    ],
    'a matrix as a vector': [withTensor(query, { shape: [16384] }), new RegExp(query), /16384/],
    'a bias as a matrix': [
      withTensor('lm_head.dense.bias', { shape: [1, 128] }),
      /lm_head\.dense\.bias/,
    ],
    'a matrix of the right size and wrong width': [
      withTensor(words, { shape: [128, 509] }),
      new RegExp(words),
    ],
    'weights of type I32': [withTensor(query, { dtype: 'I32' }), new RegExp(query), /I32/],
    'weights of type U16': [
      withTensor(query, { dtype: 'U16', bytes: Buffer.alloc(128 * 128 * 2) }),
      new RegExp(query),
      /U16/,
    ],
    'weights of type F64': [
      withTensor(query, { dtype: 'F64', bytes: Buffer.alloc(128 * 128 * 8) }),
      new RegExp(query),
      /F64/,
    ],
    'weights of type I64': [
      withTensor(query, { dtype: 'I64', bytes: Buffer.alloc(128 * 128 * 8) }),
      new RegExp(query),
      /I64/,
    ],
    'weights of type F8_E4M3': [
      withTensor(query, { dtype: 'F8_E4M3', bytes: Buffer.alloc(128 * 128) }),
      new RegExp(query),
      /F8_E4M3/,
    ],
    'a bias of type I32': [withTensor('lm_head.bias', { dtype: 'I32' }), /lm_head\.bias/, /I32/],
    'a length predictor with rows of no width': [
      withFiles(
        withTensors((tensors) => {
          tensors.set('embed_length.weight', {
            dtype: 'F32',
            shape: [2 ** 52, 0],
            bytes: Buffer.alloc(0),
          });
        }),
        () => ({ 'config.json': JSON.stringify({ ...baseConfig, length_vocab_size: undefined }) }),
      ),
      /embed_length\.weight/,
    ],
    'a length predictor without a class for one token': [
      withFiles(
        withTensor('embed_length.weight', { shape: [3, 128], bytes: Buffer.alloc(3 * 128 * 4) }),
        () => ({ 'config.json': JSON.stringify({ ...baseConfig, length_vocab_size: undefined }) }),
      ),
      /embed_length\.weight/,
    ],
    'a name with and without prefix': [
      withTensors((tensors) => tensors.set(query.replace('roberta.', ''), get(tensors, query))),
      new RegExp(query),
    ],
    'a name in its old and its new spelling': [
      withTensors((tensors) =>
        tensors.set(
          'roberta.embeddings.LayerNorm.gamma',
          get(tensors, 'roberta.embeddings.LayerNorm.weight'),
        ),
      ),
      /LayerNorm\.gamma/,
    ],
    'neither of the tied names': [
      withTensors((tensors) => void tensors.delete(words)),
      /word_embeddings/,
      /there are \d+ tensors: "embed_length\.weight"/,
    ],
    'an untied decoder without the embeddings': [
      withFiles(
        withTensors((tensors) => {
          tensors.set('lm_head.decoder.weight', get(tensors, words));
          tensors.delete(words);
        }),
        () => ({ 'config.json': JSON.stringify({ ...baseConfig, tie_word_embeddings: false }) }),
      ),
      /word_embeddings/,
    ],
    'a prefix that not all tensors have': [
      withTensors(
        (tensors) =>
          new Map(
            [...tensors].map(([name, tensor]) => [
              name === query ? name : `module.${name}`,
              tensor,
            ]),
          ),
      ),
      /word_embeddings/,
      /"module\.embed_length\.weight"/,
    ],
    'adapters that are not merged': [
      withTensors((tensors) => {
        tensors.set(query.replace('weight', 'lora_A.default.weight'), get(tensors, query));
      }),
      /lora_A/,
      /merge/,
    ],
  }),
);
t.test('a wrong index', (t) =>
  refuses(t, {
    'an index that is not JSON': [
      withFiles(sharded(), () => ({ [index]: '{' })),
      /index\.json.*JSON/,
    ],
    'an index that is an array': [
      withFiles(sharded(), () => ({ [index]: '[]' })),
      /index\.json.*weight_map/,
    ],
    'an index without weight_map': [
      sharded(({ index }) => delete index.weight_map),
      /index\.json.*weight_map/,
    ],
    'an empty weight_map': [sharded(({ index }) => (index.weight_map = {})), /weight_map/],
    'a tensor twice in the weight_map': [
      withFiles(sharded(), () => ({
        [index]: '{"weight_map":{"a":"first.safetensors","\\u0061":"x"}}',
      })),
      /index\.json.*"a"/,
    ],
    'a shard that is a number': [
      sharded(({ index }) => (index.weight_map![query] = 1)),
      new RegExp(query),
    ],
    ...Object.fromEntries(
      [
        '../second.safetensors',
        './second.safetensors',
        '/etc/passwd',
        'a\\second.safetensors',
        '..',
        '.',
        '',
        'second.safetensors\0',
        'C:second.safetensors',
      ].map((name) => [
        `the shard ${JSON.stringify(name)}`,
        [sharded(({ index }) => (index.weight_map![query] = name)), new RegExp(query), /bare name/],
      ]),
    ),
    'a shard that is not there': [
      sharded(({ index }) => (index.weight_map![query] = 'third.safetensors')),
      /index\.json.*third\.safetensors/,
    ],
    'a tensor that is not in its shard': [
      sharded(({ index }) => (index.weight_map![query] = 'first.safetensors')),
      new RegExp(query),
      /first\.safetensors/,
    ],
    'a tensor of the index that is nowhere': [
      sharded(({ index }) => (index.weight_map!['nowhere'] = 'first.safetensors')),
      /nowhere/,
    ],
    'a tensor in two shards': [
      sharded(({ first, second }) => first.set(query, get(second, query))),
      new RegExp(query),
      /first\.safetensors/,
      /second\.safetensors/,
    ],
    'a truncated shard': [
      withFiles(sharded(), () => ({
        'second.safetensors': (sharded()()['second.safetensors'] as Buffer).subarray(0, -4),
      })),
      /second\.safetensors.*truncated/,
    ],
  }),
);
t.test('a file that is missing', (t) =>
  refuses(t, {
    'an empty directory': [() => ({}), /config\.json/],
    'no config.json': [() => ({ 'model.safetensors': safetensorsOf(baseTensors) }), /config\.json/],
    'no weights': [
      () => ({ 'config.json': config }),
      /model\.safetensors/,
      /model\.safetensors\.index\.json/,
    ],
    'a fairseq checkpoint only': [
      () => ({ 'config.json': config, 'model.pt': 'PK' }),
      /model\.pt/,
      /mask-predict convert/,
    ],
    'no weights at all names every form': [
      () => ({ 'config.json': config }),
      /pytorch_model\.bin,? and pytorch_model\.bin\.index\.json/,
    ],
    'a config.json that is a directory': [
      () => ({ 'config.json': {} }),
      /config\.json.*directory/i,
    ],
    'a model.safetensors that is a directory': [
      () => ({ 'config.json': config, 'model.safetensors': {} }),
      /model\.safetensors.*directory/i,
    ],
    // On Windows only an administrator may make links.
    ...(process.platform !== 'win32' && {
      'a model.safetensors that is a link to nowhere': [
        () => ({ 'config.json': config, 'model.safetensors': t.fixture('symlink', 'blob') }),
        /model\.safetensors.*no such/i,
      ] as Refusals[string],
    }),
  }),
);

t.test('a path that is no directory', async (t) => {
  const path = t.testdir({ model: 'x' });
  await refusesAt(t, join(path, 'nowhere'), [/nowhere.*no such/]);
  await refusesAt(t, join(path, 'model'), [/model.*not a directory/]);
  await refusesAt(t, '', [/no such directory/]);
});

t.test('unusual and right', (t) =>
  accepts(t, {
    'names without prefix': renamed((name) => name.replace('roberta.', '')),
    'the old names of LayerNorm': renamed((name) =>
      name
        .replace(/(LayerNorm|layer_norm)\.weight$/, '$1.gamma')
        .replace(/(Norm|norm)\.bias$/, '$1.beta'),
    ),
    'the decoder written out': withTensors((tensors) => {
      tensors.set('lm_head.decoder.weight', get(tensors, words));
      tensors.set('lm_head.decoder.bias', get(tensors, 'lm_head.bias'));
    }),
    'an untied decoder that is an alias': withFiles(
      withHeader((header) => [['__metadata__', { 'lm_head.decoder.weight': words }], ...header]),
      () => ({ 'config.json': JSON.stringify({ ...baseConfig, tie_word_embeddings: false }) }),
    ),
    'word embeddings that are an alias': directory(() => {
      const tensors = new Map(baseTensors);
      tensors.set('lm_head.decoder.weight', get(tensors, words));
      tensors.delete(words);
      const { header, data } = layOut(tensors);
      header.unshift(['__metadata__', { [words]: 'lm_head.decoder.weight' }]);
      return safetensors(headerText(header), data);
    }),
    'the decoder instead of the embeddings': withTensors((tensors) => {
      tensors.set('lm_head.decoder.weight', get(tensors, words));
      tensors.delete(words);
    }),
    "the decoder's bias instead of the head's": renamed((name) =>
      name.replace('lm_head.bias', 'lm_head.decoder.bias'),
    ),
    ...Object.fromEntries(
      ['module.', 'model.', '_orig_mod.', 'base_model.model.', 'module._orig_mod.model.'].map(
        (prefix) => [`the prefix ${prefix}`, renamed((name) => prefix + name)],
      ),
    ),
    'a prefix before names without their own': renamed(
      (name) => `module.${name.replace('roberta.', '')}`,
    ),
    shards: sharded(),
    'shards with metadata and a total_size that is wrong': sharded(
      ({ index }) => (index.metadata = { total_size: 1, total_parameters: null }),
    ),
    'a tensor of a shard that the index leaves out': sharded(({ second }) =>
      second.set('extra', oneByte),
    ),
    'model.safetensors beside an index that is wrong': withFiles(
      directory(() => safetensorsOf(baseTensors)),
      () => ({ [index]: '{' }),
    ),
    'links to files elsewhere': () => ({
      'config.json': t.fixture('symlink', join(base, 'config.json')),
      'model.safetensors': t.fixture('symlink', join(base, 'model.safetensors')),
    }),
  }),
);
