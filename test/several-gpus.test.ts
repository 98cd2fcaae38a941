/**
 * A model on two GPUs, emulated ones (a test build): every call has the bits it has on one, wherever it lands; a GPU whose
 * context is lost (native/simt/faults.h) takes no more calls while the other one goes on; `serve --devices`. The choice
 * itself is devices.test.ts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated devices';
const two = { MASK_PREDICT_SIMT_DEVICES: '9.0:8,9.0:8', MASK_PREDICT_DEVICE: '' };

/** Runs a script that prints one line of JSON, on two emulated GPUs. */
async function run<T>(script: string, environment: Record<string, string> = {}) {
  const { code, signal, stdout, stderr } = await runScript(
    `
    const { MaskPredict } = maskPredict;
    const options = { precision: 'bf16', threads: 1 };
    const both = { ...options, devices: ['simt:0', 'simt:1'] };
    const prompts = [21, 4217, 300, 8].map((n) => 'Write the number ' + n + ' in German words.');
    const ended = (call) => call.then(
      (answer) => answer.text ?? answer.map(({ text }) => text),
      ({ code, message }) => code + ': ' + message,
    );
    ${script}`,
    { ...two, ...environment },
  );
  if (code !== 0) throw new Error(`code ${code}, signal ${signal}: ${stderr}`);
  return { result: JSON.parse(stdout) as T, stderr };
}

t.test('the same bits wherever a call lands', { skip }, async (t) => {
  interface Seen {
    name: string;
    answer: string;
    other: string;
    passes: number[];
  }
  const calls = (from: number, to: number) =>
    run<Seen[]>(`
    const one = await MaskPredict.load(undefined, { ...options, device: 'simt:1' });
    const model = await MaskPredict.load(undefined, both);
    const plain = (answer) => JSON.stringify(answer, (key, value) =>
      key === 'timings' ? undefined : ArrayBuffer.isView(value) ? [...value] : value);
    const passesOf = () => model.stats().devices.map(({ passes }) => passes);
    async function read(steps) {
      const all = [];
      for (;;) {
        const { done, value } = await steps.next();
        all.push(value);
        if (done) return all;
      }
    }
    const text = prompts[1];
    const calls = {
      generate: (of) => of.generate(text, { iterations: 2 }),
      'many prompts': (of) => of.generate(prompts.slice(2), { iterations: 2, length: { candidates: 2 } }),
      sampling: (of) => of.generate(text, { iterations: 2, length: 4, sampling: { seed: 5 } }),
      refine: (of) => read(of.refine(text, { iterations: 2 })),
      choose: (of) => of.choose(prompts[3], ['acht', 'zwei']),
      score: (of) => of.score(prompts[3], 'acht'),
      predictLength: (of) => of.predictLength(text, 3),
      fillMask: (of) => of.fillMask(['one <mask>', '<mask> two'], { count: 2 }),
      pseudoLogLikelihood: (of) => of.pseudoLogLikelihood('ten'),
      embed: (of) => of.embed(['one', 'two']),
      classify: (of) => of.classify('one').catch(({ message }) => message),
    };
    const seen = [];
    for (const [name, call] of Object.entries(calls).slice(${from}, ${to})) {
      const expected = plain(await call(one));
      const before = passesOf();
      // Two at once: one lands on each.
      const answers = await Promise.all([call(model), call(model)]);
      const passes = passesOf().map((count, index) => count - before[index]);
      seen.push({ name, answer: expected, passes, other: answers.map(plain).find((text) => text !== expected) ?? '' });
    }
    await model.close();
    await one.close();
    console.log(JSON.stringify(seen));`);
  // Two processes, for the sake of their time.
  const seen = [await calls(0, 5), await calls(5, 11)].flatMap(({ result }) => result);
  t.equal(seen.length, 11);
  for (const { name, answer, other, passes } of seen) {
    t.equal(other, '', `${name}: the bits of one GPU`);
    t.ok(answer.length > 10);
    const refused = name === 'classify';
    t.ok(
      passes.every((count) => (refused ? count === 0 : count > 0)),
      `${name}: passes ${passes.join(' and ')}`,
    );
  }
});

t.test('what is loaded', { skip }, async (t) => {
  interface Loaded {
    devices: string[];
    fractions: number[];
    limits: number[];
    weights: number[];
    lines: string[];
    closed: string;
    failures: string[];
  }
  const { result } = await run<Loaded>(`
    const fractions = [];
    const lines = [];
    const model = await MaskPredict.load(undefined, {
      ...both,
      memoryLimit: 2 ** 26,
      onProgress: (fraction) => fractions.push(fraction),
      logger: (level, message) => lines.push(message),
    });
    const memory = model.engines.map((engine) => engine.memory());
    const devices = model.engines.map(({ device }) => device);
    await model.close();
    await model.close();
    const closed = await ended(model.generate('x'));
    const failures = [];
    for (const devices of [['simt:0', 'simt:7'], ['simt:1', 'simt:GPU-d0d0d0d0-d0d0-d0d0-d0d0-d0d0d0d0d0d1'], ['simt:2']]) {
      const failed = await MaskPredict.load(undefined, { ...options, devices }).catch((error) => error);
      failures.push(failed.code + ': ' + failed.message);
    }
    console.log(JSON.stringify({
      devices, fractions, lines, closed, failures,
      limits: memory.map(({ limit }) => limit),
      weights: memory.map(({ weights }) => weights),
    }));`);
  t.same(result.devices, ['simt:0', 'simt:1']);
  t.same(result.limits, [2 ** 26, 2 ** 26], 'of each');
  t.ok(result.weights[0]! > 0 && result.weights[0] === result.weights[1]);
  t.equal(result.fractions.at(-1), 1);
  t.same(
    result.fractions,
    [...result.fractions].sort((a, b) => a - b),
    'progress of both together',
  );
  t.equal(result.lines.filter((line) => /^loaded .* on simt:[01]$/.test(line)).length, 2);
  t.equal(result.closed, 'ERR_DISPOSED: this model was closed');
  t.match(result.failures, [
    /^ERR_DEVICE: there is no device 'simt:7'/,
    /^ERR_INVALID_ARGUMENT: devices\[0\] and devices\[1\] are 'simt:1' and 'simt:GPU-.*', .*same one, simt:1:/,
    /^ERR_DEVICE: there is no device 'simt:2'/,
  ]);
});

t.test('a GPU that is lost', { skip }, async (t) => {
  interface Seen {
    expected: string[];
    answers: string[][];
    working: boolean[];
    lines: string[];
    failed: number;
  }
  const script = `
    const host = await MaskPredict.load(undefined, { device: 'cpu', threads: 1 });
    const expected = await ended(host.generate(prompts, { iterations: 3 }));
    await host.close();
    const lines = [];
    const model = await MaskPredict.load(undefined, {
      ...both,
      logger: (level, message) => level === 'warn' && lines.push(message),
    });
    const answers = [];
    for (let time = 0; time < 2; time++) {
      answers.push(await ended(model.generate(prompts, { iterations: 3 })));
      const single = prompts.map((prompt) => ended(model.generate(prompt, { iterations: 3 })));
      answers.push(await Promise.all(single));
    }
    const { devices, failed } = model.stats();
    await model.close();
    console.log(JSON.stringify({ expected, answers, lines, failed, working: devices.map(({ working }) => working) }));`;
  for (const fault of ['cudaLaunchKernelEx:200', 'cudaGraphLaunch:3']) {
    const { result } = await run<Seen>(script, { MASK_PREDICT_SIMT_FAULT: fault });
    for (const texts of result.answers)
      t.same(texts, result.expected, `${fault}: all are answered`);
    t.equal(result.working.filter((working) => !working).length, 1, `${fault}: one is lost`);
    t.equal(result.failed, 0);
    t.equal(result.lines.length, 1);
    t.match(
      result.lines[0],
      /^simt:[01] takes no more calls, and 1 devices are left: the GPU's context is lost: /,
    );
  }
});

t.test('all GPUs are lost', { skip }, async (t) => {
  const { result, stderr } = await run<string[]>(
    `
    const model = await MaskPredict.load(undefined, { ...options, devices: ['simt:0'] });
    const answers = [await ended(model.generate(prompts[0])), await ended(model.generate(prompts[1]))];
    await model.close();
    console.log(JSON.stringify(answers));`,
    { MASK_PREDICT_SIMT_FAULT: 'cudaLaunchKernelEx:20' },
  );
  for (const answer of result) {
    t.match(
      answer,
      /^ERR_DEVICE: the GPU's context is lost: restart the process; no device of this model works any more \(simt:0: .+\)$/,
    );
  }
  t.match(stderr, /MASK_PREDICT_LOST.*simt:0 takes no more calls, and 0 devices are left/);
});

/** `mask-predict serve` with these options on a free port. It is killed if it has not ended after a minute. */
async function served(t: Test, options: string[], environment: Record<string, string> = {}) {
  const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [program, 'serve', '--port=0', '--threads=1', ...options], {
    env: { ...inherited, ...two, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const stderr = readAll(child.stderr);
  const ended = once(child, 'exit') as Promise<[code: number | null]>;
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [, url] = / at (http:\S+)\n$/.exec(line.toString())!;
  return {
    ask: async (prompt: unknown) => {
      const response = await fetch(`${url}/generate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt, iterations: 3 }),
      });
      return { status: response.status, body: (await response.json()) as unknown };
    },
    get: async (path: string) => {
      const response = await fetch(`${url}${path}`);
      return { status: response.status, text: await response.text() };
    },
    end: async () => {
      child.kill('SIGTERM');
      const [code] = await ended;
      return { code, stderr: await stderr };
    },
  };
}

t.test('serve --devices', { skip }, async (t) => {
  const server = await served(t, ['--devices', 'simt:0,simt:1']);
  const prompts = [21, 8].map((n) => `Write the number ${n} in German words.`);
  t.match(await server.ask(prompts), {
    status: 200,
    body: [{ text: 'einundzwanzig' }, { text: 'acht' }],
  });
  const { text } = await server.get('/metrics');
  const labels = (device: number) => `{model="numbers",device="simt:${device}"}`;
  for (const device of [0, 1]) {
    t.match(text, `mask_predict_device_working${labels(device)} 1\n`);
    t.match(text, `mask_predict_device_calls_waiting${labels(device)} 0\n`);
    t.match(text, `mask_predict_device_calls_running${labels(device)} 0\n`);
    t.match(
      text,
      new RegExp(`^mask_predict_device_passes_total\\{.*simt:${device}"\\} [1-9]`, 'm'),
    );
    t.match(text, `mask_predict_memory_limit_bytes${labels(device)} `);
    t.match(
      text,
      `mask_predict_memory_bytes{model="numbers",device="simt:${device}",for="weights"} `,
    );
  }
  t.match(text, 'mask_predict_calls_total{model="numbers",outcome="completed"} 1\n');
  t.same(await server.end(), { code: 0, stderr: '' });
});

t.test('serve, its GPU lost', { skip }, async (t) => {
  const server = await served(t, ['--devices=simt:1'], {
    MASK_PREDICT_SIMT_FAULT: 'cudaLaunchKernelEx:20',
  });
  t.match(await server.get('/v2/health/ready'), { status: 200 });
  t.match(await server.ask('x'), { status: 500, body: { code: 'ERR_DEVICE' } });
  for (const path of ['/v2/health/live', '/v2/health/ready', '/v2/models/numbers/ready']) {
    t.match(await server.get(path), { status: 503 }, path);
  }
  t.match((await server.get('/metrics')).text, /^mask_predict_device_working\{.*\} 0$/m);
  const { code, stderr } = await server.end();
  t.equal(code, 0);
  t.match(stderr, /mask-predict: simt:1 takes no more calls, and 0 devices are left/);
});
