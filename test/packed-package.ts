/** The tarball that npm publishes, made and installed into a project as a user would. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './built-package.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs a program to its end, for two minutes at most: an npm without a registry tries for longer. */
export function run(command: string, args: string[], cwd: string) {
  const { NODE_OPTIONS: _, ...environment } = process.env;
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: { MASK_PREDICT_DEVICE: 'cpu', ...environment },
    encoding: 'utf8',
    timeout: 120_000,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 26,
  });
  return { status, signal, stdout, stderr, ...(error && { error: error.message }) };
}

export interface Packed {
  filename: string;
  size: number;
  files: { path: string; size: number }[];
}

/** Packs into the directory `project`. */
export function pack(project: string): Packed {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', project];
  const { status, stdout, stderr } = run('npm', args, root);
  if (status !== 0) throw new Error(`npm pack failed: ${stderr}`);
  return (JSON.parse(stdout) as Packed[])[0]!;
}

export function install(project: string, packages: readonly string[]): void {
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  const quick = ['--fetch-retries=1', '--fetch-timeout=30000'];
  const installed = run('npm', ['install', ...options, ...quick, ...packages], project);
  if (installed.status !== 0) {
    throw new Error(`npm install failed; is there a registry? ${JSON.stringify(installed)}`);
  }
}

/** Puts this build's addon into the installed package, where `node native/build.cjs --prebuild` puts it. */
export function addPrebuild(own: string): void {
  const report = process.report.getReport() as unknown as { header: Record<string, unknown> };
  const libc = report.header['glibcVersionRuntime'] ? '.glibc' : '.musl';
  const folder = join(own, 'prebuilds', `${process.platform}-${process.arch}`);
  const name = `mask-predict${process.platform === 'linux' ? libc : ''}.node`;
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, 'build/Release/mask_predict.node'), join(folder, name));
}
