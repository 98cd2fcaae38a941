/** The embedded model on a test hub, with an empty cache. */
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import { embeddedModel } from '../../lib/bundled-models.js';
import { sha256, TestHub, type Asked, type Fault } from './test-hub.js';

export const repository = 'mask-predict/numbers';
const files = Object.fromEntries(
  ['README.md', 'config.json', 'model.safetensors', 'sentencepiece.bpe.model'].map((name) => [
    name,
    readFileSync(join(embeddedModel, name)),
  ]),
);
export const weights = files['model.safetensors']!;

export const generate = [
  'generate',
  '--model',
  repository,
  'Write the number 21 in English words.',
];
export const answered = { code: 0, stdout: 'twenty-one\n', stderr: '' };

export async function numbersOnHub(t: Test) {
  const hub = await TestHub.start(t);
  hub.commit(repository, files, ['model.safetensors', 'sentencepiece.bpe.model']);
  const home = t.testdir({});
  const environment: Record<string, string> = { HF_ENDPOINT: hub.url, HF_HOME: home };
  return { hub, environment, home, cache: join(home, 'hub') };
}

export function isWeights({ url }: Asked): boolean {
  return url.startsWith(`/blob/${sha256(weights)}`);
}

/** Sends the weights slowly: a piece every so many milliseconds. */
export function slowly(milliseconds: number, bytes: number): Fault {
  return async (asked: Asked, response: ServerResponse) => {
    if (!isWeights(asked)) return false;
    const { range } = asked;
    const first = Number(/\d+/.exec(range ?? '')?.[0] ?? 0);
    response.writeHead(range ? 206 : 200, {
      'content-length': weights.length - first,
      ...(range && { 'content-range': `bytes ${first}-${weights.length - 1}/${weights.length}` }),
    });
    for (let at = first; at < weights.length && !response.destroyed; at += bytes) {
      response.write(weights.subarray(at, at + bytes));
      await wait(milliseconds);
    }
    response.end();
    return true;
  };
}
