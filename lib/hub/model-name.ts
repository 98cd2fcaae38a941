/**
 * Reading a model's name: the path of a directory, one that comes with the package, or a model of the hub, `owner/name`.
 *
 * A directory that exists always wins. A name that begins with `.`, `/`, `\`, `~` or a drive, or whose first part is a
 * folder here, is only ever a path: a slip in a path must never ask the network. Everything else of the form
 * `owner/name` is of the hub, and what is left is a path.
 */
import { statSync } from 'node:fs';
import { bundledModels } from '../bundled-models.js';

export type ModelName = { directory: string } | { repository: string };

export function readModelName(name: string): ModelName {
  if (Object.hasOwn(bundledModels, name) && !isDirectory(name)) {
    return { directory: bundledModels[name as keyof typeof bundledModels] };
  }
  const path = isDirectory(name) || beginsAsPath(name) || !isRepository(name);
  return path ? { directory: name } : { repository: name };
}

function beginsAsPath(name: string): boolean {
  return /^(?:[./\\~]|[a-z]:|file:)/i.test(name) || isDirectory(name.split(/[/\\]/, 1)[0]!);
}

/** `owner/name` as the hub allows it: letters, digits, `-`, `_` and `.`, at most 96 characters, and no `--` or `..`. */
function isRepository(name: string): boolean {
  const part = '[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?';
  return (
    new RegExp(`^${part}/${part}$`).test(name) && name.length <= 96 && !/--|\.\.|\.git$/.test(name)
  );
}

function isDirectory(path: string): boolean {
  try {
    return path !== '' && statSync(path).isDirectory();
  } catch {
    return false;
  }
}
