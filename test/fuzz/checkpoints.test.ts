/**
 * Mutated model directories through `Engine.load`: each loads, and then works, or gives a documented error
 * within a few seconds.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Engine, MaskPredictError } from '../../lib/index.js';
import { randomInputs } from './effort.js';
import { mutatedCheckpoint } from './mutated-checkpoint.js';

/** Far more than loading a fixture takes (5 ms), also under a sanitizer on a busy machine. */
const longest = 20_000;

/** The outcome of loading and using a directory: `'works'` or the code of a documented error. */
async function outcome(path: string): Promise<string> {
  const load = { device: 'cpu', threads: 1, memoryLimit: 2 ** 28 } as const;
  const signal = AbortSignal.timeout(longest);
  try {
    await using engine = await Engine.load(path, { ...load, signal });
    const [source] = await engine.encode([Int32Array.of(0, 3, 2)], { signal });
    await engine.decode([source!.target(4)], 2, { signal });
    return 'works';
  } catch (error) {
    if (error instanceof MaskPredictError) return error.code;
    return String(error);
  }
}

// A model with a number that is none, or with values that overflow, loads and says so when it is used.
const documented = new Set(['works', 'ERR_MODEL_FORMAT', 'ERR_OUT_OF_MEMORY']);

t.test('mutated checkpoints', async (t) => {
  const counts = new Map<string, number>();
  const directory = t.testdir();
  for (const { random, seed } of randomInputs(t, 300)) {
    // Its name is the input's seed: should the process crash, the directory stays.
    const path = join(directory, String(seed));
    mkdirSync(path);
    for (const [name, bytes] of mutatedCheckpoint(random)) writeFileSync(join(path, name), bytes);
    const result = await outcome(path);
    rmSync(path, { recursive: true });
    counts.set(result, (counts.get(result) ?? 0) + 1);
    if (!documented.has(result)) t.fail(`seed ${seed}: ${result}`);
  }
  t.ok(counts.get('works')! > 0 && counts.get('ERR_MODEL_FORMAT')! > 0);
  t.comment([...counts].map(([result, count]) => `${result}: ${count}`).join(', '));
});
