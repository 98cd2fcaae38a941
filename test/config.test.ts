/** config.json: what it must say, by itself and about the tensors. */
import t from 'tap';
import {
  accepts,
  baseConfig,
  refuses,
  withConfig,
  withConfigText,
  withTensors,
} from './model-directories.js';

t.test('a wrong config', (t) =>
  refuses(t, {
    'a config that is not JSON': [withConfigText('{"model_type": xlm}'), /config\.json.*JSON/],
    'an empty config': [withConfigText(''), /config\.json/],
    'a config that is an array': [withConfigText('[]'), /config\.json.*array/],
    'a config with a field twice': [
      withConfigText(JSON.stringify(baseConfig).replace('{', '{"vocab_size":1,')),
      /config\.json.*vocab_size/,
    ],
    'no model_type': [
      withConfig({ model_type: undefined }),
      /config\.json.*model_type.*"xlm-roberta".*"xlm-roberta-xl"/,
    ],
    'an unknown model_type': [
      withConfig({ model_type: 'bert' }),
      /config\.json.*model_type.*"bert".*"xlm-roberta".*"xlm-roberta-xl"/,
    ],
    'a model_type that is a number': [withConfig({ model_type: 1 }), /model_type/],
    'the other model_type': [
      withConfig({ model_type: 'xlm-roberta-xl' }),
      /layer\.0|encoder\.LayerNorm/,
    ],
    ...Object.fromEntries(
      [
        'num_hidden_layers',
        'hidden_size',
        'num_attention_heads',
        'intermediate_size',
        'vocab_size',
        'max_position_embeddings',
      ].flatMap((field) =>
        [undefined, null, 0, -1, 2.5, '128', true, 2 ** 31, 1e300].map((value) => [
          `${field} ${JSON.stringify(value) ?? 'missing'}`,
          [withConfig({ [field]: value }), new RegExp(`config\\.json.*${field}`)],
        ]),
      ),
    ),
    'no mask_token_id, and none in the options': [
      withConfig({ mask_token_id: null }),
      /config\.json.*mask_token_id/,
    ],
    ...Object.fromEntries(
      (
        [
          ['hidden_act', 'relu'],
          ['hidden_act', 'gelu_new'],
          ['hidden_act', 1],
          ['position_embedding_type', 'relative_key'],
          ['num_attention_heads', 3],
          ['layer_norm_eps', 0],
          ['layer_norm_eps', -1e-5],
          ['layer_norm_eps', 0.2],
          ['layer_norm_eps', '1e-5'],
          ['tie_word_embeddings', 'no'],
          ['bos_token_id', 101],
          ['pad_token_id', 0],
          ['eos_token_id', 102],
          ['eos_token_id', '2'],
          ['mask_token_id', 509],
          ['mask_token_id', 3],
          ['mask_token_id', -1],
          ['mask_token_id', 250001],
          ['max_position_embeddings', 4],
          ['length_vocab_size', 0],
          ['length_vocab_size', 3],
          ['length_vocab_size', '128'],
          ['type_vocab_size', 0],
        ] as const
      ).map(([field, value]) => [
        `${field} ${JSON.stringify(value)}`,
        [withConfig({ [field]: value }), new RegExp(`config\\.json.*${field}`)],
      ]),
    ),
  }),
);
t.test('a config that contradicts the tensors', (t) =>
  refuses(t, {
    'vocab_size above the rows': [withConfig({ vocab_size: 510 }), /word_embeddings/, /510/],
    'vocab_size below the rows': [
      withConfig({ vocab_size: 500, mask_token_id: 499 }),
      /word_embeddings/,
      /500/,
    ],
    'another hidden_size': [withConfig({ hidden_size: 64 }), /word_embeddings/, /64/],
    'another intermediate_size': [
      withConfig({ intermediate_size: 128 }),
      /layer\.0\.intermediate\.dense/,
      /256/,
    ],
    'another max_position_embeddings': [
      withConfig({ max_position_embeddings: 129 }),
      /position_embeddings/,
      /130/,
    ],
    'more layers than the file': [withConfig({ num_hidden_layers: 4 }), /encoder\.layer\.3\./],
    'fewer layers than the file': [withConfig({ num_hidden_layers: 2 }), /encoder\.layer\.2\./],
    'another length_vocab_size': [withConfig({ length_vocab_size: 64 }), /embed_length/, /64/],
    'another type_vocab_size': [withConfig({ type_vocab_size: 2 }), /token_type_embeddings/],
    'length_vocab_size without the tensor': [
      withTensors((tensors) => void tensors.delete('embed_length.weight')),
      /embed_length/,
    ],
    'untied embeddings without a decoder': [
      withConfig({ tie_word_embeddings: false }),
      /lm_head\.decoder\.weight/,
    ],
  }),
);
t.test('sizes no tensor has take no memory', async (t) => {
  const before = process.resourceUsage().maxRSS;
  await refuses(t, {
    // As float32 these would be 4 and half a GiB.
    type_vocab_size: [withConfig({ type_vocab_size: 2 ** 23 }), /token_type_embeddings/, /8388608/],
    max_position_embeddings: [
      withConfig({ max_position_embeddings: 2 ** 20 }),
      /position_embeddings/,
      /1048576/,
    ],
  });
  const grown = Math.round((process.resourceUsage().maxRSS - before) / 1024);
  t.ok(grown < 200, `${grown} MiB were touched`);
});
t.test('unusual and right', (t) =>
  accepts(t, {
    'a config with unknown fields': withConfig({
      dtype: 'float16',
      torch_dtype: 'float32',
      hidden_dropout_prob: 0.1,
      transformers_version: '5.0.0',
      id2label: { 0: 'LABEL_0' },
      huge: 1e300,
    }),
    'a config with optional fields null': withConfig({
      length_vocab_size: null,
      tie_word_embeddings: null,
      position_embedding_type: null,
      bos_token_id: null,
      hidden_act: null,
      type_vocab_size: null,
    }),
    'a config without optional fields': withConfig({
      length_vocab_size: undefined,
      type_vocab_size: undefined,
      hidden_act: undefined,
      bos_token_id: undefined,
      pad_token_id: undefined,
      eos_token_id: undefined,
      architectures: undefined,
    }),
  }),
);
