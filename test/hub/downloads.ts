/** A hub with one model, a cache of its own and downloads that do not wait between two tries. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { snapshotOf } from '../../lib/hub/model-directory.js';
import { readHubSettings, type ModelDirectoryOptions } from '../../lib/hub/settings.js';
import { TestHub } from './test-hub.js';

export const repository = 'owner/some-model_1.0';
export const folder = 'models--owner--some-model_1.0';

export interface Scene {
  hub: TestHub;
  cache: string;
  weights: Buffer;
  commit: string;
  /** Downloads with these options and variables. */
  download(options?: ModelDirectoryOptions, environment?: Record<string, string>): Promise<string>;
  /** The names in a folder of the cached repository, sorted; none if it is not there. */
  names(...path: string[]): string[];
}

export async function scene(t: Test, size = 300_000): Promise<Scene> {
  const hub = await TestHub.start(t);
  const cache = join(t.testdir({}), 'cache');
  const weights = randomBytes(size);
  const commit = hub.commit(
    repository,
    {
      'README.md': '# A model',
      'config.json': '{"model_type": "xlm-roberta"}',
      'sentencepiece.bpe.model': 'pieces',
      'tokenizer.json': '{}',
      'model.safetensors': weights,
      'pytorch_model.bin': randomBytes(50),
      'onnx/model.onnx': randomBytes(50),
      '1_Pooling/config.json': '{"pooling_mode_mean_tokens": true}',
      'modules.json': '[]',
    },
    ['model.safetensors', 'pytorch_model.bin', 'onnx/model.onnx'],
  );
  const environment = { HF_ENDPOINT: hub.url, HF_TOKEN_PATH: join(cache, 'no-token') };
  return {
    hub,
    cache,
    weights,
    commit,
    download: async (options = {}, more = {}) => {
      const settings = readHubSettings({ cache, ...options }, { ...environment, ...more });
      return snapshotOf(repository, { ...settings, pause: 1 }, options);
    },
    names: (...path) => {
      const directory = join(cache, folder, ...path);
      return existsSync(directory) ? readdirSync(directory).sort() : [];
    },
  };
}

/** The files of a directory with their contents, through links. */
export function contents(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    names.map((name) => [name.slice(directory.length + 1), readFileSync(name, 'latin1')]),
  );
}
