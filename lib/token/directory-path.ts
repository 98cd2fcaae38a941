/** The directory a model is loaded from: a path or a `file:` URL, and what it is if it is no model. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { invalidArgument, MaskPredictError, shown } from '../errors.js';

/**
 * @internal The path of a model directory. Throws for what is easily taken for one: a hub cache's top folder, an
 * adapter. What is wrong with a model's own files is said where they are read.
 */
export function directoryPath(given: unknown): string {
  const directory = pathOf(given);
  const has = (name: string) => existsSync(join(directory, name));
  if (has('config.json')) return directory;
  if (has('adapter_config.json')) {
    throw notAModel(
      directory,
      'an adapter of PEFT, not a model; put it into its base model and save that (PEFT: ' +
        'model.merge_and_unload().save_pretrained(directory))',
    );
  }
  if (has('snapshots')) {
    const snapshots = entriesOf(join(directory, 'snapshots'));
    const where =
      snapshots.length === 0
        ? 'it has no snapshot yet; download the model again'
        : `the model is in ${snapshots.map((name) => join(directory, 'snapshots', name)).join(' or ')}`;
    throw notAModel(directory, `the top folder of a model in a hub's cache; ${where}`);
  }
  const cached = entriesOf(directory).find((name) => name.startsWith('models--'));
  if (cached !== undefined) {
    const example = join(directory, cached, 'snapshots');
    throw notAModel(
      directory,
      `a hub's cache of many models; a model is in a folder of ${example}`,
    );
  }
  if (has('tokenizer.json')) {
    throw notAModel(
      directory,
      'a tokenizer (tokenizer.json) without a model; config.json and the weights are missing',
    );
  }
  return directory;
}

function pathOf(given: unknown): string {
  const isUrl = given instanceof URL || (typeof given === 'string' && /^file:/i.test(given));
  if (!isUrl) {
    if (typeof given === 'string') return given;
    throw invalidArgument('the model directory must be a string or a file: URL');
  }
  try {
    return fileURLToPath(given as URL | string);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`the model directory ${shown(String(given))} is no path: ${reason}`);
  }
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // not a directory, or not there: reading it says so
  }
}

function notAModel(directory: string, what: string): MaskPredictError {
  return new MaskPredictError('ERR_MODEL_FORMAT', `${directory} is ${what}`);
}
