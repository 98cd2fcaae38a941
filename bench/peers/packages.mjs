// The peers' packages: each in a folder of its own under build/peers, so that none of them is a dependency of this
// package, and one that cannot be installed takes no other with it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const folder = fileURLToPath(new URL('../../build/peers', import.meta.url));

const packages = {
  onnxruntime: { name: 'onnxruntime-node', version: '1.30.0' },
  transformers: { name: '@huggingface/transformers', version: '4.3.1' },
  llama: {
    name: 'node-llama-cpp',
    version: '3.22.1',
    // its optional packages are the binaries of every platform and GPU: take this machine's CPU alone
    binary: `@node-llama-cpp/${process.platform}-${process.arch}`,
  },
};

/** Name and version, for the reader. */
export const versionOf = (peer) => `${packages[peer].name} ${packages[peer].version}`;

const home = (peer) => join(folder, peer, 'package.json');

/**
 * Installs a peer if its version is not there yet. Without install scripts: that of onnxruntime-node fetches CUDA
 * files that the CPU does not need. Throws with npm's own reason.
 */
export function install(peer) {
  const { name, version, binary } = packages[peer];
  const directory = join(folder, peer);
  const manifest = join(directory, 'node_modules', name, 'package.json');
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === version)
    return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(home(peer), JSON.stringify({ private: true }));
  const wanted = binary ? ['--omit=optional', `${binary}@${version}`] : [];
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund'];
  try {
    execFileSync('npm', ['install', ...flags, ...wanted, `${name}@${version}`], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    const lines = String(error.stderr ?? error.message).split('\n');
    throw new Error(lines.find((line) => line.startsWith('npm error')) ?? lines[0]);
  }
}

export function requirePeer(peer) {
  return createRequire(home(peer))(packages[peer].name);
}

/** The same for a package of ES modules alone. */
export function importPeer(peer) {
  return import(pathToFileURL(createRequire(home(peer)).resolve(packages[peer].name)).href);
}

/**
 * Options of an onnxruntime session; transformers.js hands them on to it. With `spinning` its threads turn on the spot
 * between two operations, which is its default; without, they sleep.
 */
export function sessionOptions(threads, spinning) {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: spinning ? '1' : '0' } } },
  };
}
