// A program measured in a process of its own, which stays alive between its jobs (bench/serve.mjs is its side). What
// it says on standard output that is not JSON is left out; its standard error is kept for the case that it ends.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const stderrKept = 4000;

export class Contestant {
  #process;
  #waiting = [];
  #complaints = '';
  #ended;
  #failure;

  /** Starts `node program ...args`, or another `command`, and waits until it is ready: `description` is what it said then. */
  static async start(program, args, command = process.execPath) {
    const contestant = new Contestant(program, args, command);
    contestant.description = await contestant.#line();
    return contestant;
  }

  constructor(program, args, command) {
    this.#process = spawn(command, [program, ...args.map(String)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stdin.on('error', () => {}); // it ended: 'exit' says so
    this.#process.stderr.on('data', (data) => {
      this.#complaints = (this.#complaints + data).slice(-stderrKept);
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      if (line.startsWith('{')) this.#waiting.shift()?.resolve(JSON.parse(line));
    });
    this.#ended = new Promise((resolve) => {
      this.#process.on('close', (code, signal) => {
        const lines = this.#complaints.trim().split('\n');
        const cause = lines.findLast((text) => /error/i.test(text)) ?? lines.at(-1);
        const end = `ended with ${signal ?? `code ${code}`}`;
        this.#failure = new Error(cause ? `${end}: ${cause.trim()}` : end);
        for (const { reject } of this.#waiting) reject(this.#failure);
        resolve();
      });
    });
  }

  #line() {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Runs one job of `{ batch, iterations }`: `{ ms, tokens }` and whatever else the program says. */
  job(shape) {
    const answer = this.#line();
    this.#process.stdin.write(`${JSON.stringify(shape)}\n`);
    return answer;
  }

  /** Resident now, in bytes, pages of mapped files included. */
  residentMemory() {
    return this.#status('VmRSS');
  }

  /** The same at most since it started. */
  peakMemory() {
    return this.#status('VmHWM');
  }

  #status(field) {
    const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)[1]) * 1024;
  }

  /** Milliseconds of processor time used so far, to the clock tick (10 ms). */
  processorTime() {
    if (this.#failure) throw this.#failure;
    const stat = readFileSync(`/proc/${this.#process.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  async stop() {
    this.#process.stdin.end();
    const kill = setTimeout(() => this.#process.kill(), 5000);
    await this.#ended;
    clearTimeout(kill);
  }
}
