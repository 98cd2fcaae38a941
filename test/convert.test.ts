/** `convert`: every form of fairseq's checkpoints, and Hugging Face's, become a directory that gives the same bits. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { convert, Engine } from '../lib/index.js';
import { run } from '../lib/cli/run.js';
import { base, baseConfig, baseTensors, bits, get } from './model-directories.js';
import { roundedToBf16, toBf16 } from './reference/stored.js';
import {
  readTensors,
  safetensorsOf,
  type StoredTensor,
  type Tensors,
} from './safetensors-writer.js';
import { composed, ordinaryPieces, piece, specialPieces } from './sentencepiece-writer.js';
import {
  Global,
  legacyTorchFile,
  Made,
  stateOf,
  torchFile,
  torchTensor,
  tuple,
  type Pickled,
} from './torch-writer.js';

const fixtures = fileURLToPath(new URL('fixtures', import.meta.url));
const shared = fileURLToPath(new URL('../../shared/fixtures/torch', import.meta.url));
const expected = await bits(base);

const floats = ({ bytes }: StoredTensor) =>
  new Float32Array(Uint8Array.from(bytes).buffer, 0, bytes.length / 4);
const stored = (shape: number[], values: Float32Array): StoredTensor => ({
  dtype: 'F32',
  shape,
  bytes: Buffer.from(values.buffer, values.byteOffset, values.byteLength),
});

const words = 'roberta.embeddings.word_embeddings.weight';
const types = 'roberta.embeddings.token_type_embeddings.weight';

/** A fixture's tensors under fairseq's names, after `prefix`; the token types are inside the positions. */
function fairseqTensors(tensors: Tensors, prefix: string): Tensors {
  const pre = ![...tensors.keys()].some((name) => name.endsWith('embeddings.LayerNorm.weight'));
  const renames: [string, string][] = [
    ['roberta.embeddings.word_embeddings', 'embed_tokens'],
    ['roberta.embeddings.position_embeddings', 'embed_positions'],
    ['roberta.embeddings.LayerNorm', 'layernorm_embedding'],
    ['roberta.encoder.LayerNorm', 'layer_norm'],
    ['roberta.encoder.layer.', 'layers.'],
    ['attention.self.query', 'self_attn.q_proj'],
    ['attention.self.key', 'self_attn.k_proj'],
    ['attention.self.value', 'self_attn.v_proj'],
    ['attention.output.dense', 'self_attn.out_proj'],
    ['attention.output.LayerNorm', 'self_attn_layer_norm'],
    ['attention.self_attn_layer_norm', 'self_attn_layer_norm'],
    ['intermediate.dense', 'fc1'],
    ...(pre ? [] : ([['output.LayerNorm', 'final_layer_norm']] as [string, string][])),
    ['output.dense', 'fc2'],
  ];
  const result: Tensors = new Map();
  for (const [name, tensor] of tensors) {
    if (name === types || name === 'lm_head.decoder.weight') continue;
    let core = name;
    for (const [ours, theirs] of renames) core = core.replace(ours, theirs);
    if (pre) core = core.replace(/^(layers\.\d+)\.LayerNorm/, '$1.final_layer_norm');
    result.set(core, tensor);
  }
  const row = floats(get(tensors, types));
  const positions = get(tensors, 'roberta.embeddings.position_embeddings.weight');
  const sums = floats(positions).map((value, i) => Math.fround(value + row[i % row.length]!));
  result.set('embed_positions.weight', stored(positions.shape, sums));
  result.set('lm_head.weight', get(tensors, words));
  return new Map([...result].map(([core, tensor]) => [prefix + core, tensor]));
}

const namespace = (fields: Record<string, Pickled>) =>
  new Made(new Global('argparse', 'Namespace'), tuple(), new Map(Object.entries(fields)));
const args = namespace({ encoder_attention_heads: 2, activation_fn: 'gelu' });

const checkpoint = (model: Map<string, Pickled>, others: Record<string, Pickled> = { args }) =>
  new Map<string, Pickled>([...Object.entries(others), ['model', model]]);
const state = (prefix = 'decoder.') => stateOf(fairseqTensors(baseTensors, prefix));
const plain = torchFile(checkpoint(state()));

type Inputs = Record<string, string | Buffer>;

/** Converts files to a directory beside them. */
async function converted(t: Test, files: Inputs, options = {}, name = '') {
  const directory = t.testdir({ in: files });
  const out = join(directory, 'out');
  return { out, ...(await convert(join(directory, 'in', name), out, options)) };
}

t.test('what fairseq wrote', async (t) => {
  for (const [name, path] of [
    ['fairseq-instruct', join(fixtures, 'torch/fairseq-instruct')],
    ...['2019', 'instruct', 'pretrained', 'parts'].map((form) => [
      `shared fairseq-${form}`,
      join(shared, `fairseq-${form}`),
    ]),
  ] as [string, string][]) {
    if (!existsSync(path)) {
      t.comment(`${name} is not there`);
      continue;
    }
    const out = join(t.testdir(), 'out');
    const { config, leftOut } = await convert(path, out);
    t.same(leftOut, [], `${name}: nothing is left out`);
    t.match(config, { mask_token_id: 508, num_attention_heads: 2, length_vocab_size: 128 });
    t.equal(config.vocab_size, name.endsWith('parts') ? 510 : 509);
    const { logits, lengths } = await bits(out);
    const rows = config.vocab_size as number;
    const real = logits!.filter((_, i) => i % rows < 509);
    t.same(real, expected.logits, `${name}: the same bits`);
    t.same(lengths, expected.lengths, `${name}: the same lengths`);
  }
});

t.test('forms of names and settings', async (t) => {
  const joined = (tensors: Tensors): Tensors => {
    const result: Tensors = new Map();
    for (const [name, tensor] of tensors) {
      if (!/self_attn\.[qkv]_proj/.test(name)) result.set(name, tensor);
      if (!name.includes('q_proj')) continue;
      const parts = [...'qkv'].map((letter) =>
        get(tensors, name.replace('q_proj', `${letter}_proj`)),
      );
      const [rows, ...rest] = tensor.shape as [number, ...number[]];
      result.set(name.replace('q_proj.', 'in_proj_'), {
        dtype: 'F32',
        shape: [3 * rows, ...rest],
        bytes: Buffer.concat(parts.map(({ bytes }) => bytes)),
      });
    }
    return result;
  };
  const renamed = (change: (name: string) => string) =>
    new Map([...state()].map(([name, tensor]) => [change(name), tensor]));
  const forms: Record<string, [Pickled, object?]> = {
    'pretrained names': [checkpoint(state('encoder.sentence_encoder.'))],
    'names of 2019': [checkpoint(state('decoder.sentence_encoder.'))],
    'one matrix for query, key and value': [
      checkpoint(stateOf(joined(fairseqTensors(baseTensors, 'decoder.')))),
    ],
    'the old name of the embedding norm': [
      checkpoint(renamed((name) => name.replace('layernorm_embedding', 'emb_layer_norm'))),
    ],
    'the embedding norm under the name of the last one': [
      checkpoint(
        renamed((name) => name.replace('layernorm_embedding', 'layer_norm')),
        {
          args: namespace({ encoder_attention_heads: 2, encoder_normalize_before: false }),
        },
      ),
    ],
    'a module in front': [checkpoint(renamed((name) => `module.${name}`))],
    'no separate copy of the head': [
      checkpoint(new Map([...state()].filter(([name]) => !name.endsWith('lm_head.weight')))),
    ],
    'a classifier and versions': [
      checkpoint(
        new Map([
          ...state(),
          ['encoder.version', torchTensor(stored([1], Float32Array.of(3)))],
          ['decoder.embed_positions._float_tensor', torchTensor(stored([1], Float32Array.of(3)))],
          [
            'encoder.classification_heads.x.dense.weight',
            torchTensor(stored([1], Float32Array.of(3))),
          ],
        ]),
      ),
    ],
    'cfg with a dictionary': [
      checkpoint(state(), {
        args: null,
        cfg: new Map<string, Pickled>([['model', new Map([['encoder_attention_heads', 2]])]]),
      }),
    ],
    'cfg with a Namespace': [checkpoint(state(), { cfg: new Map([['model', args]]) })],
    "cfg as OmegaConf's objects": [
      checkpoint(state(), {
        cfg: new Made(
          new Global('omegaconf.dictconfig', 'DictConfig'),
          tuple(),
          new Map([
            [
              '_content',
              new Map([
                [
                  'model',
                  new Made(
                    new Global('omegaconf.dictconfig', 'DictConfig'),
                    tuple(),
                    new Map([
                      [
                        '_content',
                        new Map([
                          [
                            'encoder_attention_heads',
                            new Made(
                              new Global('omegaconf.nodes', 'AnyNode'),
                              tuple(),
                              new Map([['_val', 2]]),
                            ),
                          ],
                        ]),
                      ],
                    ]),
                  ),
                ],
              ]),
            ],
          ]),
        ),
      }),
    ],
    'no settings': [checkpoint(state(), {}), { heads: 2 }],
    'an optimizer of any kind': [
      checkpoint(state(), {
        args,
        last_optimizer_state: new Made(new Global('os', 'system'), tuple('false')),
      }),
    ],
  };
  for (const [what, [value, options]] of Object.entries(forms)) {
    await t.test(what, async (t) => {
      const { out, leftOut } = await converted(t, { 'model.pt': torchFile(value) }, options);
      t.same(leftOut, []);
      t.same(await bits(out), expected);
    });
  }
  await t.test('the older format', async (t) => {
    const { out } = await converted(t, {
      'checkpoint_best.pt': legacyTorchFile(checkpoint(state())),
    });
    t.same(await bits(out), expected);
  });
});

t.test('norms before the blocks', async (t) => {
  const directory = join(fixtures, 'tiny-xl');
  const tensors = readTensors(readFileSync(join(directory, 'model.safetensors')));
  const { num_attention_heads: heads } = JSON.parse(
    readFileSync(join(directory, 'config.json'), 'utf8'),
  ) as { num_attention_heads: number };
  const model = stateOf(fairseqTensors(tensors, 'encoder.sentence_encoder.'));
  const settings = namespace({ encoder_attention_heads: heads, encoder_normalize_before: true });
  const { out, config } = await converted(t, {
    'model.pt': torchFile(checkpoint(model, { args: settings })),
  });
  t.equal(config.model_type, 'xlm-roberta-xl');
  t.same(await bits(out), await bits(directory));
});

/** The rows or columns of a matrix that device `part` of `count` has. */
function cut(name: string, tensor: StoredTensor, part: number, count: number): StoredTensor {
  const rowsCut =
    /(embed_tokens|[qkv]_proj|fc1|lm_head\.dense|embed_length)\.(weight|bias)$|lm_head\.weight$/;
  const columnsCut = /(out_proj|fc2)\.weight$/;
  const values = floats(tensor);
  if (rowsCut.test(name)) {
    const rows = tensor.shape[0]! / count;
    const width = values.length / tensor.shape[0]!;
    const shape = [rows, ...tensor.shape.slice(1)];
    return stored(shape, values.slice(part * rows * width, (part + 1) * rows * width));
  }
  if (!columnsCut.test(name)) return tensor;
  const [rows, width] = tensor.shape as [number, number];
  const columns = width / count;
  const own = values.filter((_, i) => Math.floor((i % width) / columns) === part);
  return stored([rows, columns], own);
}

/** Parts of two devices; the vocabulary is padded by a row of zeros to an even number. */
function parts(change: (part: number, tensors: Tensors) => void = () => {}): Inputs {
  const whole = fairseqTensors(baseTensors, 'decoder.');
  for (const name of ['embed_tokens.weight', 'lm_head.weight', 'lm_head.bias']) {
    const { shape, bytes } = get(whole, `decoder.${name}`);
    const row = Buffer.alloc(bytes.length / shape[0]!);
    const padded = {
      dtype: 'F32',
      shape: [510, ...shape.slice(1)],
      bytes: Buffer.concat([bytes, row]),
    };
    whole.set(`decoder.${name}`, padded);
  }
  const files: Inputs = {};
  for (const part of [0, 1]) {
    const tensors: Tensors = new Map(
      [...whole].map(([name, tensor]) => [name, cut(name, tensor, part, 2)]),
    );
    change(part, tensors);
    files[`checkpoint_last-model_part-${part}.pt`] = torchFile(checkpoint(stateOf(tensors)));
  }
  return files;
}

t.test('parts of several devices', async (t) => {
  for (const name of ['', 'checkpoint_last-model_part-1.pt']) {
    const { out, config } = await converted(t, parts(), {}, name);
    t.match(config, { vocab_size: 510, mask_token_id: 508 });
    const { logits } = await bits(out);
    t.same(
      logits!.filter((_, i) => i % 510 !== 509),
      expected.logits,
      name || 'the directory',
    );
  }
});

t.test('the id of <mask>', async (t) => {
  const dictionary = (pieces: number) =>
    Array.from({ length: pieces - 3 }, (_, i) => `piece${i} 1\n`).join('');
  const config = (mask: unknown) => JSON.stringify({ mask_token_id: mask });
  const tokenizer = (pieces: number) => {
    const others = Array.from({ length: pieces - 6 }, (_, i) => piece(`x${i}`));
    return composed({ pieces: [...specialPieces, ...ordinaryPieces, ...others] });
  };
  const ids: Record<string, [Inputs, number]> = {
    'from the last row': [{}, 508],
    'from dict.txt': [{ 'dict.txt': dictionary(500) }, 501],
    'from config.json': [{ 'config.json': config(77) }, 77],
    'from the tokenizer': [{ 'sentencepiece.bpe.model': tokenizer(400) }, 401],
    'from all of them': [
      {
        'sentencepiece.bpe.model': tokenizer(400),
        'dict.txt': dictionary(400),
        'config.json': config(401),
      },
      401,
    ],
  };
  for (const [what, [files, id]] of Object.entries(ids)) {
    await t.test(what, async (t) => {
      const { out, config } = await converted(t, { 'model.pt': plain, ...files });
      t.equal(config.mask_token_id, id);
      await using engine = await Engine.load(out, { device: 'cpu', threads: 1 });
      t.equal(engine.maskTokenId, id);
      const copy = join(out, 'sentencepiece.bpe.model');
      t.equal(existsSync(copy), 'sentencepiece.bpe.model' in files, 'the tokenizer is copied');
    });
  }
  await t.test('from a tokenizer elsewhere', async (t) => {
    const directory = t.testdir({ 'model.pt': plain, spm: tokenizer(300) });
    const out = join(directory, 'out');
    const { config } = await convert(directory, out, { tokenizer: join(directory, 'spm') });
    t.equal(config.mask_token_id, 301);
    t.ok(readFileSync(join(out, 'sentencepiece.bpe.model')).equals(tokenizer(300)));
  });
  const disagree: Record<string, Inputs> = {
    'a tokenizer and dict.txt': {
      'sentencepiece.bpe.model': tokenizer(400),
      'dict.txt': dictionary(401),
    },
    'dict.txt and config.json': { 'dict.txt': dictionary(400), 'config.json': config(400) },
  };
  for (const [what, files] of Object.entries(disagree)) {
    await t.test(what, async (t) => {
      await t.rejects(converted(t, { 'model.pt': plain, ...files }), {
        code: 'ERR_MODEL_FORMAT',
        message: /<mask> is 40\d according to .*40\d according to/,
      });
    });
  }
  await t.test('beyond the rows', async (t) => {
    await t.rejects(converted(t, { 'model.pt': plain, 'dict.txt': dictionary(600) }), {
      code: 'ERR_MODEL_FORMAT',
      message: /dict\.txt.*508/,
    });
  });
});

t.test("Hugging Face's files", async (t) => {
  const config = JSON.stringify({ ...baseConfig, vocab_size: 1, extra: { kept: true } });
  const files: Record<string, Inputs> = {
    'a .bin': { 'pytorch_model.bin': torchFile(stateOf(baseTensors)) },
    'a .bin without the embeddings': {
      'pytorch_model.bin': torchFile(
        new Map(
          [...stateOf(baseTensors)].map(([name, tensor]) => [
            name === words ? 'lm_head.decoder.weight' : name,
            tensor,
          ]),
        ),
      ),
    },
    'safetensors without prefix': {
      'model.safetensors': safetensorsOf(
        new Map([...baseTensors].map(([name, tensor]) => [name.replace('roberta.', ''), tensor])),
      ),
    },
  };
  for (const [what, weights] of Object.entries(files)) {
    await t.test(what, async (t) => {
      const { out, config: written } = await converted(t, {
        ...weights,
        'config.json': `\ufeff${config}`,
      });
      t.match(written, { vocab_size: 509, mask_token_id: 508, extra: { kept: true } });
      t.same(
        [...readTensors(readFileSync(join(out, 'model.safetensors'))).keys()].sort(),
        [...baseTensors.keys()].filter((name) => name !== 'lm_head.decoder.weight').sort(),
        'under their full names',
      );
      t.same(await bits(out), expected);
    });
  }
});

t.test('to bfloat16', async (t) => {
  const { out, config } = await converted(t, { 'model.pt': plain }, { to: 'bf16' });
  t.equal(config.torch_dtype, 'bfloat16');
  const tensors = readTensors(readFileSync(join(out, 'model.safetensors')));
  t.ok([...tensors.values()].every(({ dtype }) => dtype === 'BF16'));
  const rounded = Uint16Array.from(roundedToBf16(floats(get(baseTensors, words))), toBf16);
  t.ok(
    Buffer.from(rounded.buffer).equals(get(tensors, words).bytes),
    'each is rounded to the nearest',
  );
  await using engine = await Engine.load(out, { device: 'cpu', threads: 1 });
  t.equal(engine.precision, 'bf16');
});

t.test('what cannot be converted', async (t) => {
  const without = (name: string) =>
    torchFile(checkpoint(new Map([...state()].filter(([key]) => key !== `decoder.${name}`))));
  const withEntry = (name: string, value: Pickled) =>
    torchFile(checkpoint(new Map([...state(), [name, value]])));
  const small = torchTensor(stored([2], Float32Array.of(1, 2)));
  const onePart = parts();
  delete onePart['checkpoint_last-model_part-0.pt'];
  const wrong: Record<string, [Inputs, object, RegExp]> = {
    'an empty directory': [{ 'x.txt': '' }, {}, /none of .*model\.pt/],
    'two models': [{ 'a.pt': plain, 'b.pt': plain }, {}, /several models.*a\.pt, b\.pt/],
    'no heads': [
      { 'model.pt': torchFile(checkpoint(state(), {})) },
      {},
      /attention heads.*--heads/,
    ],
    'other heads': [{ 'model.pt': plain }, { heads: 4 }, /heads is 4.*says 2/],
    'heads that do not divide': [
      { 'model.pt': torchFile(checkpoint(state(), {})) },
      { heads: 3 },
      /3 heads do not divide 128/,
    ],
    'another activation': [
      {
        'model.pt': torchFile(checkpoint(state(), { args: namespace({ activation_fn: 'relu' }) })),
      },
      {},
      /activation_fn is "relu"/,
    ],
    'no embeddings': [{ 'model.pt': without('embed_tokens.weight') }, {}, /word_embeddings/],
    'no bias': [
      { 'model.pt': without('layers.1.fc1.bias') },
      {},
      /layer\.1\.intermediate\.dense\.bias/,
    ],
    'two spellings': [
      { 'model.pt': withEntry('encoder.sentence_encoder.layers.1.fc1.bias', small) },
      {},
      /two spellings/,
    ],
    'norms of both kinds': [
      { 'model.pt': withEntry('decoder.layer_norm.weight', small) },
      {},
      /layernorm_embedding and layer_norm/,
    ],
    'a command in the model': [
      {
        'model.pt': withEntry('x', new Made(new Global('posix', 'system'), tuple('touch pwned'))),
      },
      {},
      /posix\.system/,
    ],
    'a part that is missing': [onePart, {}, /model_part-0\.pt is missing/],
    'a tensor that one part has not': [
      parts((part, tensors) => part === 1 && tensors.delete('decoder.layers.2.fc2.bias')),
      {},
      /part-1\.pt.*no tensor "decoder\.layers\.2\.fc2\.bias"/,
    ],
    'a tensor of another shape in one part': [
      parts((part, tensors) => {
        if (part === 1)
          tensors.set('decoder.layers.2.fc1.bias', stored([2], Float32Array.of(1, 2)));
      }),
      {},
      /another type or shape/,
    ],
    'a .bin without config.json': [
      { 'pytorch_model.bin': torchFile(stateOf(baseTensors)) },
      {},
      /config\.json is missing/,
    ],
    'an unknown target': [{ 'model.pt': plain }, { to: 'int4' }, /to must be 'bf16'/],
    'a tokenizer that is none': [
      { 'model.pt': plain, 'sentencepiece.bpe.model': 'x' },
      {},
      /sentencepiece/,
    ],
  };
  for (const [what, [files, options, message]] of Object.entries(wrong)) {
    await t.test(what, async (t) => {
      await t.rejects(converted(t, files, options), { message });
      t.notOk(existsSync('pwned'));
    });
  }
  await t.test('a tensor without a place is named', async (t) => {
    const file = withEntry('decoder.embed_segments.weight', small);
    t.same((await converted(t, { 'model.pt': file })).leftOut, ['decoder.embed_segments.weight']);
  });
});

t.test('progress, an end before time, and files that are there', async (t) => {
  const directory = t.testdir({ 'model.pt': plain, full: { file: '' } });
  const seen: number[] = [];
  await convert(directory, join(directory, 'out'), {
    onProgress: (value) => void seen.push(value),
  });
  t.ok(seen.length > 10 && seen.at(-1) === 1);
  t.same(
    seen,
    [...seen].sort((a, b) => a - b),
    'it only rises',
  );

  const full = join(directory, 'full');
  await t.rejects(convert(directory, full), { code: 'ERR_INVALID_ARGUMENT', message: /not empty/ });
  await t.rejects(convert(directory, directory, { overwrite: true }), /the model itself/);
  await convert(directory, full, { overwrite: true });
  t.same(await bits(full), expected);

  const reason = new Error('enough');
  const stopped = join(directory, 'stopped');
  await t.rejects(convert(directory, stopped, { signal: AbortSignal.abort(reason) }), reason);
  t.notOk(existsSync(stopped));
  const controller = new AbortController();
  const onProgress = () => controller.abort(reason);
  const late = convert(directory, stopped, { signal: controller.signal, onProgress });
  await t.rejects(late, reason);
  const own = new Error('own');
  const failing = () => {
    throw own;
  };
  const failed = join(directory, 'failed');
  await t.rejects(convert(directory, failed, { onProgress: failing }), own);
  for (const out of [stopped, failed]) {
    t.notOk(existsSync(join(out, 'config.json')), 'what is not whole has no config.json');
  }
});

t.test('the command', async (t) => {
  const directory = t.testdir({ 'model.pt': torchFile(checkpoint(state(), {})) });
  const out = join(directory, 'out');
  const call = async (...given: string[]) => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const surroundings = { stdin: process.stdin, stdout, stderr, environment: {} };
    const { signal } = new AbortController();
    const code = await run(['convert', ...given], { ...surroundings, signal });
    stdout.end();
    stderr.end();
    return { code, stdout: await readAll(stdout), stderr: await readAll(stderr) };
  };
  t.match(await call(directory, out), { code: 1, stderr: /--heads/ });
  t.match(await call('--heads', '2', '--to', 'bf16', directory, out), {
    code: 0,
    stdout: /out: 1\.0 MiB, 509 ids, <mask> is 508/,
  });
  t.match(await call('--to', 'int8', directory, out), { code: 2, stderr: /--to takes bf16/ });
  t.match(await call(directory), { code: 2, stderr: /convert takes/ });
  writeFileSync(join(directory, 'x'), '');
  t.match(await call(join(directory, 'x'), out, '--overwrite'), {
    code: 1,
    stderr: /none of \.pt/,
  });
});
