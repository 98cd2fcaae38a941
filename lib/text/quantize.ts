/** A checkpoint becomes a directory of int8 weights that loading maps instead of reading. */
import { existsSync, realpathSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../token/engine.js';
import type { EngineLoadOptions, SaveOptions } from '../token/engine-options.js';
import { invalidArgument } from '../errors.js';
import { checkOptions } from '../options.js';
import { checkFree, written } from '../token/saved-model.js';
import { directoryPath } from '../token/directory-path.js';
import { copyTextFiles } from './model-files.js';
import { byteLevelFiles, loadTokenizer, tokenizerFile } from './loading.js';

export type QuantizeOptions = SaveOptions &
  Pick<EngineLoadOptions, 'maskTokenId' | 'threads' | 'memoryLimit' | 'onProgress'>;

const optionNames = ['overwrite', 'maskTokenId', 'threads', 'memoryLimit', 'onProgress', 'signal'];

/**
 * Rounds the weights of a model directory to int8, as `precision: 'int8'` does at load, and writes them with
 * `config.json` and the tokenizer to the directory `out`, which {@link Engine.load} and `MaskPredict.load` read
 * at once and with the same bits. `out` must be empty or not there, unless `overwrite` is set.
 */
export async function quantize(
  model: string | URL,
  out: string,
  options: QuantizeOptions = {},
): Promise<void> {
  checkOptions('quantize()', options, optionNames);
  const { overwrite, ...loading } = options;
  const directory = directoryPath(model);
  await checkFree(out, overwrite);
  if (existsSync(out) && existsSync(directory) && realpathSync(out) === realpathSync(directory)) {
    throw invalidArgument(
      `${out} is the model itself; name another directory for the int8 weights`,
    );
  }
  const files = [tokenizerFile, ...byteLevelFiles].filter((name) =>
    existsSync(join(directory, name)),
  );
  if (files.includes(tokenizerFile)) {
    const tokenizer = await loadTokenizer(directory, loading.maskTokenId);
    loading.maskTokenId = tokenizer.maskTokenId;
  }
  const engine = await Engine.load(directory, { ...loading, device: 'cpu', precision: 'int8' });
  try {
    await engine.save(out, {
      overwrite: overwrite ?? false,
      ...(options.signal && { signal: options.signal }),
    });
    for (const name of files) {
      if (name !== tokenizerFile && !engine.config.modernBert) continue;
      const copy = join(out, name);
      await written(copy, () => copyFile(join(directory, name), copy));
    }
    await written(out, () => copyTextFiles(directory, out));
  } finally {
    await engine.close();
  }
}
