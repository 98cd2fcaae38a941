#!/usr/bin/env node
'use strict';
// npm run test:native: the test programs of this folder, which need no Node: every allocation failing (on the host under
// AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, and on the emulated device), threads under
// ThreadSanitizer, and the addon's threads under it.
const { spawn, spawnSync } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');
const { build, missing } = require('./programs.cjs');

const root = path.join(__dirname, '../..');
const model = path.join(__dirname, '../fixtures/tiny-base');

const tests = [
  ['address', 'allocation_failures', ['cpu', model]], // the longest
  ['simt', 'allocation_failures', ['simt']],
  ['address', 'threads', [model, '3']],
  ['thread', 'threads', [model, '3']],
];

// ThreadSanitizer does not know the places that newer kernels choose for memory: addresses must not be random.
const withoutRandomAddresses = ['setarch', '-R'];
const canFixAddresses =
  spawnSync(withoutRandomAddresses[0], [...withoutRandomAddresses.slice(1), 'true']).status === 0;

function run(command, args, env = {}) {
  const words = canFixAddresses
    ? [...withoutRandomAddresses, command, ...args]
    : [command, ...args];
  const child = spawn(words[0], words.slice(1), { cwd: root, env: { ...process.env, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += data));
  child.stderr.on('data', (data) => (stderr += data));
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ status: error.message, stdout, stderr }));
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
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
 * True if both sides of a report are the addon's. Node and V8 are not built with the sanitizer, which does not see how
 * they agree with each other: a file's number that libuv closed and the addon was given next is a "race" to it.
 */
function isOwn(text) {
  const accesses = text
    .split('\n\n')
    .filter((part) => /^ *(.*\n)? *(previous )?(atomic )?(write|read) /i.test(part));
  return accesses.every((access) => access.includes('mask_predict'));
}

/** Why a test cannot run here, if so. */
function hindrance(flavour) {
  const tool = missing(flavour);
  if (tool) return `${tool} is not there`;
  if (flavour === 'thread' && !canFixAddresses)
    return `'${withoutRandomAddresses.join(' ')}' is refused here`;
  return undefined;
}

async function program(flavour, name, args) {
  const what = `${name}, ${flavour}`;
  const reason = hindrance(flavour);
  if (reason) return console.log(`skipped - ${what}: ${reason}`);
  const file = path.join(build(flavour, [name]), name);
  const begun = Date.now();
  const ended = await run(file, args);
  report(what, begun, ended.status === 0, ended);
}

/** The addon with ThreadSanitizer in a Node without it. */
async function addonThreads() {
  const what = 'addon-threads, thread';
  const reason = hindrance('thread');
  if (reason) return console.log(`skipped - ${what}: ${reason}`);
  const built = await run(process.execPath, ['native/build.cjs', '--thread-sanitized']);
  const library = spawnSync('g++', ['-print-file-name=libtsan.so'], {
    encoding: 'utf8',
  }).stdout.trim();
  const begun = Date.now();
  const ended = built.status
    ? built
    : await run(process.execPath, ['test/native/addon-threads.mjs'], {
        LD_PRELOAD: library,
        MASK_PREDICT_DEVICE: 'cpu',
        MASK_PREDICT_PREBUILD: path.join(root, 'build/thread-sanitized'),
        TSAN_OPTIONS: 'exitcode=0',
      });
  const reports = ended.stderr.split('WARNING: ThreadSanitizer').slice(1);
  const own = reports.filter(isOwn);
  const passed = ended.status === 0 && ended.stdout.includes('passed') && own.length === 0;
  report(what, begun, passed, { ...ended, stderr: own.join('') || ended.stderr });
}

/** As many at a time as there are processors; what is built, is built while others run. */
async function main() {
  const waiting = [...tests.map((test) => () => program(...test)), addonThreads];
  const work = async () => {
    for (let task; (task = waiting.shift()) !== undefined;) await task();
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, work));
  process.exit(failed === 0 ? 0 : 1);
}

void main();
