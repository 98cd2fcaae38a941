/**
 * The part of tap that the tests of other systems use, in one file that any Node.js runs: tap itself starts processes, which
 * an emulator cannot. Writes to the file TAP_OUTPUT, since Node.js under Wine has no standard output: a line for each
 * failure, and "done: N passed, M failed" at the end, without which the run was cut off.
 */
import assert from 'node:assert';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { inspect } from 'node:util';

const output = process.env.TAP_OUTPUT;
const totals = { passed: 0, failed: 0 };

function write(line) {
  if (output) appendFileSync(output, `${line}\n`);
  else console.log(line);
}

/** True if a value matches a pattern: expressions match text, objects what they name, constructors instances. */
function matches(value, pattern) {
  if (pattern instanceof RegExp) return pattern.test(String(value));
  if (typeof pattern === 'function')
    return value instanceof pattern || typeof value === pattern.name?.toLowerCase();
  if (typeof pattern === 'string' && typeof value === 'string') return value.includes(pattern);
  if (pattern === null || typeof pattern !== 'object') return Object.is(value, pattern);
  if (value === null || typeof value !== 'object') return false;
  return Reflect.ownKeys(pattern).every((key) => matches(value[key], pattern[key]));
}

/** As tap's `same`: primitives compare with ==, prototypes do not count. */
function same(value, wanted) {
  try {
    assert.deepEqual(value, wanted);
    return true;
  } catch {
    return false;
  }
}

class Fixture {
  constructor(type, content) {
    Object.assign(this, { type, content });
  }
}

function layOut(path, content) {
  if (content instanceof Fixture) return link(path, content);
  if (typeof content === 'string' || ArrayBuffer.isView(content))
    return writeFileSync(path, content);
  mkdirSync(path, { recursive: true });
  for (const [name, inside] of Object.entries(content)) layOut(join(path, name), inside);
}

/** A link; on Windows, where only an administrator may make links, a copy. */
function link(path, { content }) {
  if (process.platform !== 'win32') symlinkSync(content, path);
  else copyFileSync(resolve(dirname(path), content), path);
}

class Test {
  #name;
  #queue = Promise.resolve();
  #teardowns = [];
  testdirName;

  constructor(name) {
    this.#name = name;
  }

  #result(passed, what, details) {
    totals[passed ? 'passed' : 'failed']++;
    if (!passed) write(`not ok - ${this.#name} > ${what ?? ''}\n${inspect(details, { depth: 4 })}`);
    return passed;
  }

  test(name, ...rest) {
    const body = rest.at(-1);
    const options = rest.length > 1 ? rest[0] : {};
    const inner = new Test(this.#name ? `${this.#name} > ${name}` : name);
    this.#queue = this.#queue.then(() => (options.skip ? undefined : inner.run(body)));
    return this.#queue;
  }

  async run(body) {
    const begun = Date.now();
    try {
      await body(this);
      await this.settled();
    } catch (error) {
      this.#result(false, 'threw', error);
    }
    for (const teardown of this.#teardowns.reverse()) {
      try {
        await teardown();
      } catch (error) {
        this.#result(false, 'teardown threw', error);
      }
    }
    write(`# ${this.#name}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  }

  /** When all tests that were asked for have ended, those included that they asked for. */
  async settled() {
    for (let seen; seen !== this.#queue;) {
      seen = this.#queue;
      await seen;
    }
  }

  /** Like run(), for the whole file. */
  async finish() {
    await this.settled();
    for (const teardown of this.#teardowns.reverse()) await teardown();
  }

  teardown(run) {
    this.#teardowns.push(run);
  }

  testdir(content = {}) {
    this.testdirName = mkdtempSync(join(tmpdir(), 'mask-predict-'));
    const made = this.testdirName;
    this.teardown(() => {
      try {
        rmSync(made, { recursive: true, force: true });
      } catch (error) {
        if (process.platform !== 'win32') throw error; // a file that something still has mapped
      }
    });
    layOut(made, content);
    return made;
  }

  fixture = (type, content) => new Fixture(type, content);
  comment = (...words) => write(`# ${words.join(' ')}`);
  /** A test ends with its function, which may say so. */
  end = () => {};
  pass = (what) => this.#result(true, what);
  fail = (what, details) => this.#result(false, what, details);
  ok = (value, what) => this.#result(Boolean(value), what, value);
  notOk = (value, what) => this.#result(!value, what, value);
  equal = (value, wanted, what) => this.#result(Object.is(value, wanted), what, { value, wanted });
  not = (value, other, what) => this.#result(!Object.is(value, other), what, value);
  same = (value, wanted, what) => this.#result(same(value, wanted), what, { value, wanted });
  notSame = (value, other, what) => this.#result(!same(value, other), what, value);
  match = (value, pattern, what) => this.#result(matches(value, pattern), what, { value, pattern });
  notMatch = (value, pattern, what) => this.#result(!matches(value, pattern), what, value);
  type = (value, name, what) =>
    this.#result(
      typeof name === 'string' ? typeof value === name : value instanceof name,
      what,
      value,
    );

  throws(body, ...rest) {
    try {
      body();
    } catch (error) {
      return this.#matchesError(error, rest);
    }
    return this.#result(false, 'did not throw', rest);
  }

  doesNotThrow(body, what) {
    try {
      body();
      return this.#result(true, what);
    } catch (error) {
      return this.#result(false, what, error);
    }
  }

  async rejects(promise, ...rest) {
    try {
      await (typeof promise === 'function' ? promise() : promise);
    } catch (error) {
      return this.#matchesError(error, rest);
    }
    return this.#result(false, 'did not reject', rest);
  }

  #matchesError(error, rest) {
    const [pattern, what] = typeof rest[0] === 'string' ? [undefined, rest[0]] : rest;
    const whole = pattern instanceof RegExp ? { message: pattern } : pattern;
    return this.#result(
      whole === undefined ||
        matches(error, whole instanceof Error ? { message: whole.message } : whole),
      what,
      { error, pattern },
    );
  }
}

const file = new Test('');
export default file;
export const t = file;

process.on('uncaughtException', (error) => {
  write(`not ok - uncaught\n${inspect(error)}`);
  process.exit(1);
});

/** Imports a file of tests, and ends with what came of it. */
export async function runFile(url) {
  const begun = Date.now();
  try {
    await import(url);
    await file.finish();
  } catch (error) {
    totals.failed++;
    write(`not ok - the file\n${inspect(error)}`);
  }
  write(
    `done: ${totals.passed} passed, ${totals.failed} failed, ${((Date.now() - begun) / 1000).toFixed(1)} s`,
  );
  process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);
}
