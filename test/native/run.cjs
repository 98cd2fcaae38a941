#!/usr/bin/env node
'use strict';
// npm run test:native: the test programs of this folder, which need no Node: every allocation failing (on the host under
// AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, and on the emulated device), threads under
// ThreadSanitizer, and the addon's threads under it.
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { build, missing } = require('./programs.cjs');

const root = path.join(__dirname, '../..');
const model = path.join(__dirname, '../fixtures/tiny-base');

const tests = [
  ['address', 'allocation_failures', ['cpu', model]],
  ['simt', 'allocation_failures', ['simt']],
  ['address', 'threads', [model, '3']],
  ['thread', 'threads', [model, '3']],
];

/** Without a random layout of addresses: ThreadSanitizer does not know the places newer kernels choose. */
function run(command, args, env = {}) {
  return spawnSync('setarch', ['-R', command, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
}

let failed = 0;
function report(what, begun, passed, { status, signal, stdout, stderr }) {
  const seconds = ((Date.now() - begun) / 1000).toFixed(0);
  console.log(`${passed ? 'ok' : 'NOT OK'} - ${what} (${seconds} s)`);
  if (passed) return;
  failed++;
  console.log(`${stdout.slice(-3000)}\n${stderr.slice(0, 6000)}\n… ended with ${signal ?? status}`);
}

/**
 * Whether both sides of a report are the addon's. Node and V8 are not built with the sanitizer, which does not see how
 * they agree with each other: a file's number that libuv closed and the addon was given next is a "race" to it.
 */
function isOwn(text) {
  const accesses = text
    .split('\n\n')
    .filter((part) => /^ *(.*\n)? *(previous )?(atomic )?(write|read) /i.test(part));
  return accesses.every((access) => access.includes('mask_predict'));
}

/** The addon with ThreadSanitizer in a Node without it. */
function addonThreads() {
  const build = spawnSync(process.execPath, ['native/build.cjs', '--thread-sanitized'], {
    cwd: root,
    encoding: 'utf8',
  });
  const library = spawnSync('g++', ['-print-file-name=libtsan.so'], {
    encoding: 'utf8',
  }).stdout.trim();
  const begun = Date.now();
  const ended = build.status
    ? build
    : run(process.execPath, ['test/native/addon-threads.mjs'], {
        LD_PRELOAD: library,
        MASK_PREDICT_DEVICE: 'cpu',
        MASK_PREDICT_PREBUILD: path.join(root, 'build/thread-sanitized'),
        TSAN_OPTIONS: 'exitcode=0',
      });
  const reports = ended.stderr.split('WARNING: ThreadSanitizer').slice(1);
  const own = reports.filter(isOwn);
  const passed = ended.status === 0 && ended.stdout.includes('passed') && own.length === 0;
  report('addon-threads, thread', begun, passed, {
    ...ended,
    stderr: own.join('') || ended.stderr,
  });
}

for (const [flavour, program, args] of tests) {
  const what = `${program}, ${flavour}`;
  const tool = missing(flavour);
  if (tool) {
    console.log(`skipped - ${what}: ${tool} is not there`);
    continue;
  }
  const file = path.join(build(flavour, [program]), program);
  const begun = Date.now();
  const ended = run(file, args);
  report(what, begun, ended.status === 0, ended);
}
addonThreads();
process.exit(failed === 0 ? 0 : 1);
