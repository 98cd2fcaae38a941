// Builds the program of this folder into build/autoregressive. CMake itself finds out what is out of date, headers and
// the package's own sources included: with nothing changed this takes a fraction of a second.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('.', import.meta.url));
const folder = fileURLToPath(new URL('../../build/autoregressive', import.meta.url));

function cmake(...args) {
  const { status, stdout, stderr, error } = spawnSync('cmake', args, { encoding: 'utf8' });
  if (error)
    throw new Error(`the autoregressive models need CMake and a C++20 compiler: ${error.message}`);
  if (status !== 0)
    throw new Error(`the autoregressive models could not be built:\n${stdout}${stderr}`);
}

/** The path of the program, built if need be. Throws an Error with the compiler's words if it cannot be. */
export function autoregressiveProgram() {
  cmake('-S', source, '-B', folder, '-DCMAKE_BUILD_TYPE=Release');
  cmake('--build', folder, '--parallel', String(availableParallelism()));
  return `${folder}/autoregressive`;
}
