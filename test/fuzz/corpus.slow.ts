/**
 * The inputs that the coverage-guided fuzzer found interesting, through `Engine.load`: each is one file of a
 * model directory, or a whole one, and loads or is `ERR_MODEL_FORMAT`.
 */
import { createRequire } from 'node:module';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Engine, MaskPredictError } from '../../lib/index.js';
import { base, baseConfig } from '../model-directories.js';

const { read } = createRequire(import.meta.url)('./corpus.cjs') as {
  read: (target: string) => Buffer[];
};

/** By name: the content, or the path of the file to link to. */
type Files = Record<string, Buffer | string>;

const names = ['config.json', 'model.safetensors', 'model.safetensors.index.json']
  // as in native/fuzz/model.cpp
  .concat(['a.safetensors', 'b.safetensors']);

/** The files of an input of the target `model`, which fuzz/model.cpp describes. */
function unpacked(input: Buffer): Files {
  const files: Files = {};
  for (let at = 0; at + 4 <= input.length;) {
    const end = Math.min(at + 4 + input.readUIntLE(at + 1, 3), input.length);
    files[names[input[at]! % names.length]!] = input.subarray(at + 4, end);
    at = end;
  }
  return files;
}

const config = Buffer.from(JSON.stringify(baseConfig));
const model = join(base, 'model.safetensors');
const directories: Record<string, (input: Buffer) => Files> = {
  json: (input) => ({ 'config.json': input, 'model.safetensors': model }),
  config: (input) => ({ 'config.json': input, 'model.safetensors': model }),
  index: (input) => ({
    'config.json': config,
    'model.safetensors.index.json': input,
    'a.safetensors': model,
    'b.safetensors': model,
  }),
  safetensors: (input) => ({ 'config.json': config, 'model.safetensors': input }),
  model: unpacked,
};

for (const [target, files] of Object.entries(directories)) {
  t.test(target, async (t) => {
    const path = t.testdir();
    const inputs = read(target);
    for (const [i, input] of inputs.entries()) {
      const directory = join(path, String(i));
      mkdirSync(directory);
      for (const [name, bytes] of Object.entries(files(input))) {
        const path = join(directory, name);
        if (typeof bytes === 'string') symlinkSync(bytes, path);
        else writeFileSync(path, bytes);
      }
      const load = { device: 'cpu', threads: 1, memoryLimit: 2 ** 26 } as const;
      try {
        await using engine = await Engine.load(directory, load);
        const [source] = await engine.encode([Int32Array.of(0, 3, 2)]);
        await engine.decode([source!.target(3)], 2);
      } catch (error) {
        const known = error instanceof MaskPredictError ? error.code : undefined;
        const documented = known === 'ERR_MODEL_FORMAT' || known === 'ERR_OUT_OF_MEMORY';
        if (!documented) t.fail(`input ${i}: ${String(error)}`);
      }
      rmSync(directory, { recursive: true });
    }
    t.ok(inputs.length > 0, `${inputs.length} inputs`);
  });
}
