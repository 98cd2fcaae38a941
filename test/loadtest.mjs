// npm run bench -- loadtest [--seconds 60] [--callers 32,256] [--iterations 10] [--threads N] [--direct]
//
// Many callers at once: each asks `mask-predict serve` (a process of its own, on loopback) again as soon as it has its
// answer, for --seconds in all; then the same callers with one call at a time, in turns of a few seconds with the
// others so that both see the same machine. Prints throughput, percentiles of the latency and failures, and the ratio
// of the throughputs: the gain of batching. An answer that is not to the bit what the model says alone is a failure.
// With --direct the callers call the API in this process instead. Takes 2 x seconds for each number of callers.
// Exit code 1 if anything failed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { availableParallelism, cpus } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MaskPredict } from '../dist/index.js';
import { instructions } from './load-instructions.mjs';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    callers: { type: 'string', default: '32,256' },
    iterations: { type: 'string', default: '10' },
    threads: { type: 'string' },
    direct: { type: 'boolean', default: false },
  },
});
const seconds = Number(options.seconds);
const iterations = Number(options.iterations);
const threads = options.threads === undefined ? {} : { threads: Number(options.threads) };

/** Seconds of one turn. */
const turn = Math.min(5, seconds / 2);

const model = await MaskPredict.load(undefined, { device: 'cpu', ...threads });
const prompts = instructions(512);
const expected = [];
for (const prompt of prompts) expected.push(await model.generate(prompt, { iterations }));

const server = options.direct ? undefined : await startServer();
const ask = server
  ? (prompt) => post(server, prompt)
  : (prompt) => model.generate(prompt, { iterations });

console.log(
  `${cpus()[0].model}, ${availableParallelism()} processors, Node.js ${process.version}; ` +
    `models/numbers, T = ${iterations}, ${options.direct ? 'called in this process' : 'over HTTP'}\n`,
);
/** Calls that were made, of which at most so many at a time. */
class Measurement {
  #free;
  #waiting = [];
  #latencies = [];
  #seconds = 0;
  failures = [];

  constructor(atOnce) {
    this.#free = atOnce;
  }

  /** Answers per second. */
  get rate() {
    return this.#latencies.length / this.#seconds;
  }

  /** Lets callers call until the time is over. */
  async run(callers, seconds) {
    const begun = performance.now();
    const end = begun + 1000 * seconds;
    await Promise.all(Array.from({ length: callers }, (_, caller) => this.#call(caller, end)));
    this.#seconds += (performance.now() - begun) / 1000;
  }

  describe() {
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (fraction) => sorted[Math.ceil(sorted.length * fraction) - 1].toFixed(1);
    return (
      `${this.rate.toFixed(0)} answers/s; p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms; ` +
      `${sorted.length} answers, ${this.failures.length} failures`
    );
  }

  async #call(caller, end) {
    for (let index = caller; performance.now() < end; index++) {
      const which = (index * 31) % prompts.length;
      const begun = performance.now();
      await this.#begin();
      try {
        const answer = await ask(prompts[which]);
        if (answer.text !== expected[which].text || answer.score !== expected[which].score) {
          throw new Error(`'${prompts[which]}' was answered by ${JSON.stringify(answer)}`);
        }
      } catch (error) {
        this.failures.push(error.message);
      }
      this.#end();
      this.#latencies.push(performance.now() - begun);
    }
  }

  /** First come, first served. */
  async #begin() {
    if (this.#free > 0) this.#free--;
    else await new Promise((resolve) => this.#waiting.push(resolve));
  }

  #end() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}

async function startServer() {
  const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const given = ['--port', '0', '--device', 'cpu'];
  if (options.threads !== undefined) given.push('--threads', options.threads);
  const child = spawn(process.execPath, [program, 'serve', ...given], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout, 'data');
  const url = new URL('/generate', line.toString().trim().split(' ').at(-1));
  return { child, url, agent: new Agent({ keepAlive: true }) };
}

/** Node's own client: cheaper than fetch, whose work would take the processors from the server. */
async function post({ url, agent }, prompt) {
  const body = JSON.stringify({ prompt, iterations });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const sent = request(url, { method: 'POST', agent, headers });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const answer = await text(response);
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${answer}`);
  return JSON.parse(answer);
}

let failed = false;
for (const callers of options.callers.split(',').map(Number)) {
  const together = new Measurement(callers);
  const single = new Measurement(1);
  for (let passed = 0; passed < seconds; passed += turn) {
    await together.run(callers, turn);
    await single.run(callers, turn);
  }
  console.log(`${callers} callers, ${seconds} s`);
  console.log(`  together         ${together.describe()}`);
  console.log(`  one at a time    ${single.describe()}`);
  console.log(`  gain of batching ${(together.rate / single.rate).toFixed(2)}\n`);
  failed ||= together.failures.length + single.failures.length > 0;
  for (const failure of [...together.failures, ...single.failures].slice(0, 5)) {
    console.log(`  ${failure}`);
  }
}
await model.close();
if (server) {
  server.agent.destroy();
  server.child.kill('SIGTERM');
  const [code] = await once(server.child, 'exit');
  if (code !== 0) console.log(`the server ended with ${code}`);
  failed ||= code !== 0;
}
process.exitCode = failed ? 1 : 0;
