/** The safetensors format: every rule about the file and its header, from both sides. */
import t from 'tap';
import {
  accepts,
  baseTensors,
  directory,
  oneByte,
  query,
  refuses,
  withEntry,
  withFile,
  withHeader,
  withHeaderText,
  withTensors,
  words,
} from './model-directories.js';
import { headerText, layOut, safetensors } from './safetensors-writer.js';

const offsetsOf = (name: string): [number, number] => {
  const entry = layOut(baseTensors).header.find(([key]) => key === name);
  return (entry?.[1] as { data_offsets: [number, number] }).data_offsets;
};
const headerLength = headerText(layOut(baseTensors).header).length;
const [queryBegin, queryEnd] = offsetsOf(query);

t.test('a wrong file', (t) =>
  refuses(t, {
    'an empty file': [directory(() => Buffer.alloc(0)), /model\.safetensors/],
    'seven bytes': [directory(() => Buffer.alloc(7)), /model\.safetensors/],
    'a header length beyond the file': [withFile((file) => file.subarray(0, 100)), /truncated/],
    'a header length of one more than the file': [
      directory(() => safetensors('{}', Buffer.alloc(0), 3n)),
      /model\.safetensors.*truncated/,
    ],
    'a header length of 100000001': [
      directory(() => safetensors('{}', Buffer.alloc(0), 100_000_001n)),
      /100000001/,
    ],
    'a header length of 2^64 - 1': [
      directory(() => safetensors('{}', Buffer.alloc(0), 2n ** 64n - 1n)),
      /18446744073709551615/,
    ],
    'a header length of 2^64 - 8': [
      directory(() => safetensors('{}', Buffer.alloc(0), 2n ** 64n - 8n)),
      /model\.safetensors/,
    ],
    'a header cut short': [
      directory(() => safetensors('{"a":1', Buffer.alloc(0))),
      /model\.safetensors.*JSON/,
    ],
    'a Git LFS pointer': [
      directory(() => Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\n')),
      /Git LFS/,
    ],
    'a truncated file': [withFile((file) => file.subarray(0, -1)), /truncated/],
    'a byte after the last tensor': [
      withFile((file) => Buffer.concat([file, Buffer.from([0])])),
      /\b1 bytes/,
    ],
    'no bytes at all behind a right header': [
      directory(() => safetensors(headerText(layOut(baseTensors).header), Buffer.alloc(0))),
      /truncated/,
    ],
  }),
);
t.test('a header that is wrong as JSON', (t) =>
  refuses(t, {
    'an empty header': [directory(() => safetensors('', Buffer.alloc(0))), /\{/],
    'a space before the header': [withHeaderText((text) => ` ${text}`), /begin with \{/],
    'a byte order mark': [withHeaderText((text) => `\ufeff${text}`), /begin with \{/],
    'a header that is an array': [
      directory(() => safetensors('[]', Buffer.alloc(0))),
      /begin with \{/,
    ],
    'two objects': [withHeaderText((text) => `${text}{}`), /JSON/],
    'a zero byte after the header': [withHeaderText((text) => `${text}\0`), /JSON/],
    'a comma too many': [withHeaderText((text) => text.replace(/\}$/, ',}')), /JSON/],
    'a comment': [withHeaderText((text) => `${text}//`), /JSON/],
    'NaN in the header': [withHeaderText((text) => text.replace('[509,', '[NaN,')), /JSON/],
    'a leading zero': [withHeaderText((text) => text.replace('[509,', '[0509,')), /leading zero/],
    'a header that is not UTF-8': [
      withHeaderText((text) =>
        Buffer.from(text.replace('lm_head.bias', 'lm_head.b\xefas'), 'latin1'),
      ),
      /UTF-8/,
    ],
    'an overlong UTF-8 form': [
      withHeaderText((text) => Buffer.from(text.replace('lm_head.', 'lm_head\xc0\xae'), 'latin1')),
      /UTF-8/,
    ],
    'an unpaired surrogate': [
      withHeaderText((text) => text.replace('lm_head.bias', 'lm_head.\\ud800')),
      /surrogate/,
    ],
    'nesting without end': [withHeaderText(() => `{"a":${'['.repeat(100_000)}`), /nested/],
    'a tensor twice': [
      withHeader((header) => header.concat(header.filter(([name]) => name === query))),
      new RegExp(query),
    ],
    'a tensor twice, one spelled with an escape': [
      withHeaderText((text) =>
        text.replace(/^\{/, `{${JSON.stringify(query).replace('q', '\\u0071')}:0,`),
      ),
      new RegExp(query),
    ],
    'a field of a tensor twice': [
      withHeaderText((text) => text.replace('"shape":', '"shape":[],"shape":')),
      /"shape"/,
    ],
    'metadata twice': [
      withHeaderText((text) => text.replace(/^\{/, '{"__metadata__":{},"__metadata__":{},')),
      /__metadata__/,
    ],
    'a key of the metadata twice': [
      withHeaderText((text) => text.replace(/^\{/, '{"__metadata__":{"a":"1","\\u0061":"2"},')),
      /"a"/,
    ],
    'metadata that are a number': [
      withHeader((header) => [['__metadata__', { total: 1 }], ...header]),
      /__metadata__.*total/,
    ],
    'metadata that are nested': [
      withHeader((header) => [['__metadata__', { format: {} }], ...header]),
      /__metadata__.*format/,
    ],
    'metadata that are an array': [
      withHeader((header) => [['__metadata__', []], ...header]),
      /__metadata__/,
    ],
  }),
);
t.test('a wrong entry', (t) =>
  refuses(t, {
    'an entry that is not an object': [
      withHeader((header) => header.concat([['extra', null]])),
      /extra/,
    ],
    'an unknown dtype': [withEntry(query, { dtype: 'Q4_K' }), new RegExp(query), /Q4_K/],
    'a dtype in small letters': [withEntry(query, { dtype: 'f32' }), new RegExp(query), /f32/],
    'a dtype that is a number': [withEntry(query, { dtype: 32 }), new RegExp(query), /dtype/],
    'no dtype': [withEntry(query, { dtype: undefined }), new RegExp(query), /dtype/],
    'no shape': [withEntry(query, { shape: undefined }), new RegExp(query), /shape/],
    'a shape that is a number': [withEntry(query, { shape: 16384 }), new RegExp(query), /shape/],
    'a negative size': [withEntry(query, { shape: [-128, -128] }), new RegExp(query), /-128/],
    'a size with a fraction': [
      withEntry(query, { shape: [128.5, 128] }),
      new RegExp(query),
      /128\.5/,
    ],
    'a size written as text': [
      withEntry(query, { shape: ['128', 128] }),
      new RegExp(query),
      /"128"/,
    ],
    'a shape whose product wraps around to the right size': [
      withEntry(query, { shape: [2 ** 32, 2 ** 32, 2 ** 32] }),
      new RegExp(query),
    ],
    'a shape whose bytes wrap around to zero': [
      withTensors((tensors) => {
        tensors.set('extra', { dtype: 'F32', shape: [2 ** 31, 2 ** 31], bytes: Buffer.alloc(0) });
      }),
      /extra/,
    ],
    'a shape too small for the bytes': [withEntry(query, { shape: [127, 128] }), new RegExp(query)],
    'a shape too large for the bytes': [withEntry(query, { shape: [129, 128] }), new RegExp(query)],
    'a dtype too narrow for the bytes': [withEntry(query, { dtype: 'F16' }), new RegExp(query)],
    'half a byte': [
      withTensors((tensors) => tensors.set('extra', { ...oneByte, dtype: 'F4' })),
      /extra/,
    ],
    'no offsets': [
      withEntry(query, { data_offsets: undefined }),
      new RegExp(query),
      /data_offsets/,
    ],
    'one offset': [
      withEntry(query, { data_offsets: [queryBegin] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'three offsets': [
      withEntry(query, { data_offsets: [queryBegin, queryEnd, queryEnd] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'a negative offset': [
      withEntry(query, { data_offsets: [-1, queryEnd] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'an offset with a fraction': [
      withEntry(query, { data_offsets: [queryBegin + 0.5, queryEnd] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'offsets beyond 64 bits': [
      withEntry(query, { data_offsets: [queryBegin, 1e20] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'offsets beyond the file': [
      withEntry(query, { data_offsets: [2 ** 40, 2 ** 40 + 65536] }),
      new RegExp(query),
      /1099511693312/,
    ],
    'an end before the begin': [
      withEntry(query, { data_offsets: [queryEnd, queryBegin] }),
      new RegExp(query),
      /data_offsets/,
    ],
    'two tensors over the same bytes': [
      withHeader((header) =>
        header.concat([['extra', header.find(([name]) => name === query)![1]]]),
      ),
      /extra|query/,
      /overlap/,
    ],
    'a gap in the middle': [
      withHeader((header) => header.filter(([name]) => name !== query)),
      /gap/,
    ],
    'a gap at the start': [
      withHeader((header) => header.filter(([name]) => name !== words)),
      /position_embeddings/,
      /gap/,
    ],
    'an empty tensor inside another': [
      withHeader((header) =>
        header.concat([['extra', { dtype: 'F32', shape: [0], data_offsets: [4, 4] }]]),
      ),
      /gap|overlap/,
    ],
  }),
);
t.test('unusual and right', (t) =>
  accepts(t, {
    'tensors in another order': withTensors((tensors) => new Map([...tensors].reverse())),
    'header entries in another order than the bytes': withHeader((header) => header.reverse()),
    'white space after the header': withHeaderText((text) => `${text} \n\t\r `),
    ...Object.fromEntries(
      [0, 1, 2, 3].map((padding) => [
        `tensors at addresses ${(headerLength + padding) % 4} modulo 4`,
        withHeaderText((text) => text + ' '.repeat(padding)),
      ]),
    ),
    'names with escapes': withHeaderText((text) => text.replaceAll('query', '\\u0071uery')),
    'unknown fields of a tensor': withEntry(query, { comment: ['kept', { as: null }] }),
    'metadata that mean nothing': withHeader((header) => [
      ['__metadata__', { format: 'pt', [words]: 'no such tensor', __proto__x: '' }],
      ...header,
    ]),
    'tensors nobody asked for': withTensors((tensors) => {
      tensors.set('__proto__', oneByte);
      tensors.set('constructor', { dtype: 'BOOL', shape: [1, 1, 1], bytes: Buffer.from([1]) });
      tensors.set('', { dtype: 'F4', shape: [2], bytes: Buffer.from([0x21]) });
      tensors.set('rank 0', { dtype: 'F64', shape: [], bytes: Buffer.alloc(8) });
      tensors.set('empty', { dtype: 'F32', shape: [3, 0, 2 ** 40], bytes: Buffer.alloc(0) });
      tensors.set('infinite', { dtype: 'F16', shape: [2], bytes: Buffer.from([0, 0x7c, 1, 0x7e]) });
      tensors.set('größe \u{1f600}', { dtype: 'C64', shape: [1], bytes: Buffer.alloc(8) });
      tensors.set('roberta.pooler.dense.bias', {
        dtype: 'F8_E5M2',
        shape: [1],
        bytes: Buffer.alloc(1),
      });
      tensors.set('roberta.embeddings.position_ids', {
        dtype: 'I64',
        shape: [1, 130],
        bytes: Buffer.alloc(130 * 8),
      });
    }),
  }),
);
