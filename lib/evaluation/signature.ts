/** Signatures: how a score was computed, in the form that papers print beside it. */
import { version } from '../version.js';

/** `key:value|…|version:mask-predict-X.Y.Z`; entries that are undefined are left out. */
export function signature(entries: Record<string, string | number | undefined>): string {
  const given = Object.entries(entries).filter(([, value]) => value !== undefined);
  return [...given, ['version', `mask-predict-${version()}`]]
    .map(([key, value]) => `${key}:${value}`)
    .join('|');
}

/** How signatures write a yes or no. */
export function yesOrNo(value: boolean): string {
  return value ? 'yes' : 'no';
}
