#!/usr/bin/env node
/** The program `mask-predict`. Ctrl-C or SIGTERM stops the work and lets go of the model; a second one ends at once. */
import { fstatSync } from 'node:fs';
import { Readable } from 'node:stream';
import { run } from './run.js';

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => controller.abort());

/** Node.js reads nothing from a directory, and says nothing. */
function standardInput(): Readable {
  if (!fstatSync(0).isDirectory()) return process.stdin;
  const error = new Error('the standard input is a directory: give a file or a pipe');
  return new Readable({
    read() {
      this.destroy(Object.assign(error, { code: 'EISDIR' }));
    },
  });
}

process.exitCode = await run(process.argv.slice(2), {
  stdin: standardInput(),
  stdout: process.stdout,
  stderr: process.stderr,
  environment: process.env,
  signal: controller.signal,
});
