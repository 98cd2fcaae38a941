/** The mean of models: every value against sums in double precision, in every stored type, and what is refused. */
import { readFileSync, symlinkSync, writeFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { run } from '../../lib/cli/run.js';
import { MaskPredict } from '../../lib/text/mask-predict.js';
import { embeddedModel } from '../../lib/bundled-models.js';
import { averageModels } from '../../lib/training/average-models.js';
import { Trainer } from '../../lib/training/trainer.js';
import { Random } from '../reference/random.js';
import { Tensors } from '../reference/safetensors.js';
import { directoryOf, tinyModel, tinyPart, type TinyShape } from './tiny.js';

const shape: TinyShape = {
  layers: 1,
  hidden: 8,
  heads: 2,
  feedForward: 12,
  norm: 'pre',
  vocabulary: 40,
  positions: 12,
  lengths: 10,
};

/** Models of one training, saved after each of `count` steps. */
async function models(t: Test, count: number, precision: 'fp32' | 'fp16' | 'bf16') {
  const root = t.testdir();
  const trainer = await Trainer.load(directoryOf(t, shape, tinyModel(shape, 1)), {
    learningRate: 1e-2,
  });
  t.teardown(() => trainer.close());
  const directories: string[] = [];
  for (let i = 0; i < count; i++) {
    await trainer.step(tinyPart(new Random(i), shape));
    directories.push(join(root, `model-${i}`));
    await trainer.save(directories[i]!, { precision });
  }
  return { root, directories };
}

/** Half a step of a type, relative to a value or, for the smallest ones, absolute. */
const halfSteps = { fp32: [2 ** -24, 2 ** -149], fp16: [2 ** -11, 2 ** -25], bf16: [2 ** -8, 0] };

for (const from of ['fp32', 'fp16', 'bf16'] as const) {
  for (const to of [undefined, 'fp32', 'fp16', 'bf16'] as const) {
    t.test(`${from} to ${to ?? 'the same'}`, async (t) => {
      const { root, directories } = await models(t, 3, from);
      const out = join(root, 'mean');
      await averageModels(directories, out, to && { precision: to });
      const read = directories.map((directory) => Tensors.checkpoint(directory));
      const mean = Tensors.checkpoint(out);
      const [relative, absolute] = halfSteps[to ?? from] as [number, number];
      for (const name of tinyModel(shape, 1).weights.keys()) {
        const { values } = mean.get(name);
        const all = read.map((tensors) => tensors.get(name).values);
        const off = values.findIndex((value, i) => {
          const expected = all.reduce((sum, one) => sum + one[i]!, 0) / all.length;
          // The mean itself is rounded once in double precision.
          return !(
            Math.abs(value - expected) <=
            relative * (1 + 1e-9) * Math.abs(expected) + absolute
          );
        });
        t.equal(off, -1, name);
      }
      t.same(readdirSync(out).sort(), ['config.json', 'model.safetensors'], 'and nothing else');
      const trainer = await Trainer.load(out);
      await trainer.close();
    });
  }
}

t.test('a model with itself is itself, bit for bit, and answers', async (t) => {
  const root = t.testdir();
  const [copy, out] = [join(root, 'copy'), join(root, 'mean')];
  symlinkSync(embeddedModel, copy);
  await averageModels([embeddedModel, copy, embeddedModel], out);
  const before = Tensors.checkpoint(embeddedModel);
  const after = Tensors.checkpoint(out);
  for (const name of ['lm_head.bias', 'roberta.embeddings.word_embeddings.weight'])
    t.same(after.get(name).values, before.get(name).values);
  const model = await MaskPredict.load(out);
  t.teardown(() => model.close());
  t.equal((await model.generate('Write the number 3 in English words.')).text, 'three');
});

t.test('added tokens stay, and must be the same', async (t) => {
  const { root, directories } = await models(t, 2, 'fp16');
  const out = join(root, 'mean');
  const name = 'tokenizer_config.json';
  for (const directory of directories)
    writeFileSync(join(directory, name), '{"added_tokens_decoder":{}}');
  await averageModels(directories, out);
  t.equal(readFileSync(join(out, name), 'utf8'), '{"added_tokens_decoder":{}}');
  writeFileSync(join(directories[1]!, name), '{}');
  await t.rejects(averageModels(directories, out), {
    message: /tokenizer_config\.json is not the one/,
  });
});

t.test('the command', async (t) => {
  const { root, directories } = await models(t, 2, 'fp32');
  const call = async (...list: string[]) => {
    const [stdin, stdout, stderr] = [new PassThrough().end(), new PassThrough(), new PassThrough()];
    const { signal } = new AbortController();
    const code = await run(['average', ...list], {
      stdin,
      stdout,
      stderr,
      environment: {},
      signal,
    });
    const texts = [stdout, stderr].map((stream) => readAll(stream.end()));
    const [out, messages] = await Promise.all(texts);
    return { code, stdout: out, stderr: messages };
  };
  const out = join(root, 'mean');
  t.match(await call(...directories, '--out', out, '--save-precision=fp16'), {
    code: 0,
    stdout: `${out}\n`,
  });
  t.match(await call(directories[0]!, '--out', out), { code: 2, stderr: /at least two/ });
  t.match(await call(...directories), { code: 2, stderr: /needs --out/ });
  t.match(await call(...directories, '--out', directories[1]!), {
    code: 1,
    stderr: /is one of the models/,
  });
});

t.test('what has no average', async (t) => {
  const { root, directories } = await models(t, 2, 'fp32');
  const out = join(root, 'mean');
  const refused = (list: string[], message: RegExp, code = 'ERR_MODEL_FORMAT') =>
    t.rejects(averageModels(list, out), { code, message });
  await refused([directories[0]!], /at least two/, 'ERR_INVALID_ARGUMENT');
  await refused([directories[0]!, join(root, 'nothing')], /config\.json is not the one of/);
  const config = readFileSync(join(directories[1]!, 'config.json'));
  const weights = readFileSync(join(directories[1]!, 'model.safetensors'));
  writeFileSync(join(directories[1]!, 'config.json'), `${config} `);
  await refused(directories, /model-1\/config\.json is not the one of .*model-0/);
  writeFileSync(join(directories[1]!, 'config.json'), config);
  const header = (text: string) => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, Buffer.from(text)]);
  };
  for (const [bytes, message] of [
    [weights.subarray(0, 4), /is no safetensors file/],
    [weights.subarray(0, weights.length - 1), /does not lie in the file/],
    [Buffer.concat([weights.subarray(0, 8), Buffer.from('x'), weights.subarray(9)]), /not JSON/],
    [header('[]'), /no JSON object/],
    [header('{"lm_head.bias":null}'), /of undefined/],
    [header('{"lm_head.bias":{"dtype":"F32","shape":"1","data_offsets":[0,4]}}'), /not lie in/],
    [Buffer.from(weights.toString('latin1').replace('"F32"', '"F64"'), 'latin1'), /of F64/],
    [
      Buffer.from(weights.toString('latin1').replace('lm_head.bias', 'lm_head.bibs'), 'latin1'),
      /has not the tensor "lm_head\.bi/,
    ],
  ] as const) {
    writeFileSync(join(directories[1]!, 'model.safetensors'), bytes);
    await refused(directories, message);
  }
  writeFileSync(join(directories[1]!, 'model.safetensors'), weights);
  await t.rejects(averageModels(directories, out, { signal: AbortSignal.abort() }), {
    name: 'AbortError',
  });
  t.notOk(readdirSync(root).includes('mean'), 'nothing is left behind');
});
