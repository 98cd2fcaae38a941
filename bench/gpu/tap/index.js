// A stand-in for `tap` where no packages can be installed: the part of it that test/ uses, on Node alone. Subtests
// run one after the other, in the order they were asked for. Prints TAP, and as the last line
// `# N passed, N failed`; the process exits with 1 if anything failed.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isOf, matches, same } from './compare.js';

const totals = { passed: 0, failed: 0 };
const show = (value) => {
  if (value instanceof Error) return `${value.stack}`;
  try {
    return String(
      typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? value),
    ).slice(0, 400);
  } catch {
    return String(value);
  }
};

class Fixture {
  constructor(type, content) {
    this.type = type;
    this.content = content;
  }
}

function lay(path, content) {
  if (content instanceof Fixture) {
    if (content.type === 'symlink') symlinkSync(content.content, path);
    else lay(path, content.content);
  } else if (typeof content === 'string' || ArrayBuffer.isView(content)) {
    writeFileSync(path, content);
  } else {
    mkdirSync(path, { recursive: true });
    for (const [name, inner] of Object.entries(content)) lay(join(path, name), inner);
  }
}

class Test {
  #depth;
  #assertions = 0;
  #failures = 0;
  #queue = Promise.resolve();
  #teardowns = [];
  #planned;

  constructor(name, depth) {
    this.name = name;
    this.#depth = depth;
  }

  #say(line) {
    process.stdout.write(`${'    '.repeat(this.#depth)}${line}\n`);
  }

  #record(passed, message, details = '') {
    this.#assertions++;
    totals[passed ? 'passed' : 'failed']++;
    if (!passed) this.#failures++;
    this.#say(`${passed ? 'ok' : 'not ok'} ${this.#assertions} - ${message}`);
    if (!passed && details) {
      const at = new Error().stack.split('\n').find((line) => /\.test\.|\/test\//.test(line));
      this.#say(`  # ${details.replaceAll('\n', '\n  # ')}${at ? ` (${at.trim()})` : ''}`);
    }
    return passed;
  }

  // ---- assertions ----

  pass = (message = 'pass') => this.#record(true, message);
  fail = (message = 'fail') => this.#record(false, message, 'failed on purpose');
  ok = (value, message = 'is true') => this.#record(!!value, message, `got ${show(value)}`);
  notOk = (value, message = 'is not true') => this.#record(!value, message, `got ${show(value)}`);
  equal = (value, wanted, message = 'is equal') =>
    this.#record(
      value === wanted || (Number.isNaN(value) && Number.isNaN(wanted)),
      message,
      `got ${show(value)}, expected ${show(wanted)}`,
    );
  not = (value, unwanted, message = 'is another') =>
    this.#record(value !== unwanted, message, `got ${show(value)}`);
  same = (value, wanted, message = 'is the same') =>
    this.#record(same(value, wanted), message, `got ${show(value)}, expected ${show(wanted)}`);
  notSame = (value, unwanted, message = 'is not the same') =>
    this.#record(!same(value, unwanted), message, `got ${show(value)}`);
  match = (value, pattern, message = 'matches') =>
    this.#record(matches(value, pattern), message, `got ${show(value)}, expected ${show(pattern)}`);
  notMatch = (value, pattern, message = 'does not match') =>
    this.#record(!matches(value, pattern), message, `got ${show(value)}`);
  type = (value, type, message = 'is of the type') =>
    this.#record(isOf(value, type), message, `got ${show(value)}`);

  throws = (call, ...rest) => {
    try {
      call();
    } catch (error) {
      return this.#expected(error, rest, 'throws');
    }
    return this.#record(false, messageOf(rest) ?? 'throws', 'nothing was thrown');
  };
  doesNotThrow = (call, message = 'does not throw') => {
    try {
      call();
    } catch (error) {
      return this.#record(false, message, show(error));
    }
    return this.#record(true, message);
  };
  rejects = async (call, ...rest) => {
    try {
      await (typeof call === 'function' ? call() : call);
    } catch (error) {
      return this.#expected(error, rest, 'rejects');
    }
    return this.#record(false, messageOf(rest) ?? 'rejects', 'the promise was fulfilled');
  };
  resolves = async (call, message = 'resolves') => {
    try {
      await (typeof call === 'function' ? call() : call);
    } catch (error) {
      return this.#record(false, message, show(error));
    }
    return this.#record(true, message);
  };
  #expected(error, rest, otherwise) {
    const pattern = typeof rest[0] === 'string' ? undefined : rest[0];
    const right =
      pattern === undefined ||
      (typeof pattern === 'function' ? error instanceof pattern : matches(error, pattern));
    return this.#record(
      right,
      messageOf(rest) ?? otherwise,
      `got ${show(error)}, expected ${show(pattern)}`,
    );
  }

  // ---- structure ----

  test = (name, ...rest) => {
    const options = rest.length > 1 ? rest[0] : {};
    const body = rest.at(-1);
    const child = new Test(name, this.#depth + 1);
    const run = async () => {
      if (options.skip || options.todo || typeof body !== 'function') {
        this.#say(`ok - ${name} # SKIP`);
        return;
      }
      this.#say(`# Subtest: ${name}`);
      await child.run(body);
      this.#assertions++;
      if (child.#failures > 0) this.#failures++;
      this.#say(`${child.#failures > 0 ? 'not ok' : 'ok'} ${this.#assertions} - ${name}`);
    };
    this.#queue = this.#queue.then(run);
    return this.#queue;
  };
  skip = (name) => this.#say(`ok - ${name} # SKIP`);
  plan = (count) => (this.#planned = count);
  comment = (...texts) => this.#say(`# ${texts.join(' ')}`);
  teardown = (undo) => this.#teardowns.push(undo);
  end = () => {};

  async run(body) {
    try {
      await body(this);
    } catch (error) {
      this.#record(false, `${this.name}: an error was thrown`, show(error));
    }
    await this.finish();
  }

  async finish() {
    let last;
    while (last !== this.#queue) await (last = this.#queue);
    if (this.#planned !== undefined && this.#planned !== this.#assertions)
      this.#record(false, `${this.name}: ${this.#planned} assertions were planned`);
    for (const undo of this.#teardowns.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#record(false, `${this.name}: an error in teardown`, show(error));
      }
    }
  }

  // ---- means ----

  fixture = (type, content) => new Fixture(type, content);
  testdir = (content = {}) => {
    const path = mkdtempSync(join(tmpdir(), 'mask-predict-test-'));
    this.teardown(() => rmSync(path, { recursive: true, force: true }));
    lay(path, content);
    return path;
  };
  /** Replaces a method until the test ends; returns a function that gives the calls since it was last asked. */
  capture = (object, method, implementation = () => {}) => {
    const own = Object.getOwnPropertyDescriptor(object, method);
    const calls = [];
    object[method] = function (...args) {
      const call = { receiver: this, args };
      calls.push(call);
      return (call.returned = implementation.apply(this, args));
    };
    const restore = () => {
      if (own) Object.defineProperty(object, method, own);
      else delete object[method];
    };
    this.teardown(restore);
    return Object.assign(() => calls.splice(0), { restore, args: () => calls.map((c) => c.args) });
  };
}

const messageOf = (rest) => rest.find((argument) => typeof argument === 'string');

const root = new Test('the file', 0);
export default root;
export const t = root;
export const test = root.test;

process.stdout.write('TAP version 14\n');
process.on('uncaughtException', (error) => root.fail(`uncaught: ${show(error)}`));
let ended = false;
// When nothing is left to do, the file and all its tests have ended; what teardowns do comes after that.
process.on('beforeExit', () => {
  if (ended) return;
  ended = true;
  void root.finish();
});
process.on('exit', () => {
  process.stdout.write(`# ${totals.passed} passed, ${totals.failed} failed\n`);
  if (!ended) process.stdout.write('# the file did not run to its end\n');
  if (totals.failed > 0 || !ended) process.exitCode ||= 1;
});
