/**
 * The package as `tsc` built it into dist/, for code that cannot load TypeScript: child processes and worker
 * threads. They test what dist/ holds, so build it (`npx tsc`) after a change in lib/.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const entry = new URL('../dist/index.js', import.meta.url);
if (!existsSync(entry)) {
  throw new Error(`${fileURLToPath(entry)} is missing: run 'npx tsc' (npm install does) and again`);
}

/** The URL to import instead of 'mask-predict'. */
export const built = entry.href;

export interface Ended {
  code: number | null;
  /** Not null where a signal ended the process: a crash. */
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** From start to end, Node's own start included (about 50 ms). */
  milliseconds: number;
}

/**
 * Runs an ES module in a Node process of its own, with everything of the package as `maskPredict`. It is
 * killed (`signal` is SIGKILL then) if it has not ended after a minute.
 */
export async function runScript(
  script: string,
  environment: Record<string, string> = {},
): Promise<Ended> {
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const source = `import * as maskPredict from ${JSON.stringify(built)};\n${script}`;
  const begun = performance.now();
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    // On purpose: a build with CUDA kernels on a machine without a GPU would say that it took the CPU.
    env: { MASK_PREDICT_DEVICE: 'cpu', ...inherited, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
    (resolve, reject) => {
      child.on('error', reject);
      child.on('close', (...ended) => resolve(ended));
    },
  );
  return { code, signal, stdout, stderr, milliseconds: performance.now() - begun };
}
