/** Where programs keep what they can fetch or make again: `$XDG_CACHE_HOME`, or `~/.cache`. */
import { homedir } from 'node:os';
import { sep } from 'node:path';

/** Bundlers copy every file of a path that they can work out: no `join` here, or they would copy the builder's caches. */
export function userCache(environment: Readonly<Record<string, string | undefined>>): string {
  return environment['XDG_CACHE_HOME'] || [homedir(), '.cache'].join(sep);
}
