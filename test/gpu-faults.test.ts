/**
 * Failures of a GPU. Emulated GPUs fail where a test tells them to (a test build; native/simt/faults.h): a context is lost,
 * the driver has no memory for a graph or takes no dependent launches in one, a thread that never used the GPU gives its
 * memory back, a call is cancelled in the middle.
 */
import t, { type Test } from 'tap';
import { runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated devices';
const shape = { layers: 1, hidden: 64, heads: 1, feedForward: 64, vocabulary: 64 };

/** Runs a script on emulated GPUs; it must end by itself, with code 0. */
async function run(t: Test, script: string, environment: Record<string, string>) {
  const { code, signal, stdout, stderr } = await runScript(
    `
    import { setFlagsFromString } from 'node:v8';
    import { runInNewContext } from 'node:vm';
    const { Engine } = maskPredict;
    const shape = ${JSON.stringify(shape)};
    const options = { device: 'simt:0', precision: 'bf16', threads: 1, seed: 3 };
    const ids = Int32Array.of(0, 17, 30, 29, 5, 2);
    /** Three calls of one bucket: the second captures graphs, the third launches them. */
    async function decode(engine, iterations = 2) {
      const [source] = await engine.encode([ids]);
      const answers = [];
      for (let i = 0; i < 3; i++) {
        const target = source.target(6);
        await engine.decode([target], iterations);
        answers.push([...target.tokens, ...target.scores]);
      }
      return JSON.stringify(answers);
    }
    ${script}`,
    { MASK_PREDICT_SIMT_DEVICES: '9.0:8,9.0:8', MASK_PREDICT_DEVICE: '', ...environment },
  );
  t.equal(signal, null, stderr);
  t.equal(code, 0, stderr);
  return { stdout, stderr };
}

const lost = /^ERR_DEVICE: the GPU's context is lost: restart the process; /;

t.test('a context that is lost', { skip }, async (t) => {
  const script = `
    const lines = [];
    const attempt = async (what, call) => {
      try { lines.push([what, 'ok', await call()]); }
      catch (error) { lines.push([what, error.code + ': ' + error.message]); }
    };
    let engine;
    await attempt('load', async () => { engine = await Engine.random(shape, options); });
    if (engine) for (let i = 0; i < 3; i++) await attempt('decode', () => decode(engine));
    await attempt('load again', async () => { await Engine.random(shape, options); });
    await attempt('auto', async () => {
      const other = await Engine.random(shape, { ...options, device: 'auto' });
      const { device } = other;
      await decode(other);
      await other.close();
      return device;
    });
    await engine?.close();
    console.log(JSON.stringify(lines));`;
  const [two, one] = ['9.0:8,9.0:8', '9.0:8'];
  const faults: [fault: string, devices: string][] = [
    ['cudaMalloc:1', two],
    ['cudaMemsetAsync:2', one],
    ['cudaMemcpyAsync:12', one],
    ['cudaLaunchKernelEx:9', two],
    ['cudaStreamSynchronize:3', one],
    ['cudaEventSynchronize:2', two],
    ['cudaGraphInstantiate:1', one],
    ['cudaGraphLaunch:3', two],
  ];
  for (const [fault, devices] of faults) {
    const instead = devices === two ? 'simt:1' : 'cpu';
    const environment = { MASK_PREDICT_SIMT_FAULT: fault, MASK_PREDICT_SIMT_DEVICES: devices };
    const { stdout, stderr } = await run(t, script, environment);
    const lines = JSON.parse(stdout) as [what: string, outcome: string, device?: string][];
    const auto = lines.pop()!;
    const first = lines.findIndex(([, outcome]) => outcome !== 'ok');
    t.ok(first >= 0 && first < lines.length - 1, `${fault}: a call fails`);
    for (const [what, outcome] of lines.slice(first)) t.match(outcome, lost, `${fault}: ${what}`);
    t.match(lines[first]![1], /cudaErrorIllegalAddress/);
    t.same(auto, ['auto', 'ok', instead], `${fault}: auto takes another device`);
    const expected =
      instead === 'cpu' ? 'no GPU is used' : 'simt:1 is used instead of a better GPU';
    t.match(stderr, new RegExp(`${expected}: .*context is lost`), `${fault}: and says so`);
  }
});

t.test('graphs', { skip }, async (t) => {
  const script = `
    const engine = await Engine.random(shape, options);
    console.log(await decode(engine));
    await engine.close();`;
  const report = { MASK_PREDICT_SIMT_REPORT: '1' };
  const usual = await run(t, script, report);
  t.match(usual.stderr, /2 graphs made, started 4 times/);

  const poor = await run(t, script, {
    ...report,
    MASK_PREDICT_SIMT_FAULT: 'cudaGraphInstantiate:0',
  });
  t.equal(poor.stdout, usual.stdout, 'no memory for graphs: the same answers');
  t.notMatch(poor.stderr, /graphs made/);

  const full = await run(t, script, { ...report, MASK_PREDICT_SIMT_FAULT: 'cudaGraphLaunch:0' });
  t.equal(full.stdout, usual.stdout, 'no memory to launch one: the same answers');

  const old = await run(t, script, { ...report, MASK_PREDICT_SIMT_FAULT: 'cudaLaunchAttribute:0' });
  t.equal(old.stdout, usual.stdout, 'no dependent launches in graphs: the same answers');
  t.match(old.stderr, /2 graphs made, started 4 times/);
});

t.test('no context on a GPU that nobody asked for', { skip }, async (t) => {
  const { stderr } = await run(
    t,
    `
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc');
    const turns = async () => {
      for (let i = 0; i < 20; i++) {
        collectGarbage();
        await new Promise((done) => setTimeout(done, 5));
      }
    };
    const other = { ...options, device: 'simt:1' };
    const engine = await Engine.random(shape, other);
    await decode(engine);
    await turns();
    await decode(engine);
    await (async () => decode(await Engine.random(shape, other)))();  // never closed
    await turns();
    await engine.close();
    await turns();`,
    { MASK_PREDICT_SIMT_REPORT: '1' },
  );
  t.match(stderr, /^contexts on devices 1$/m);
});

t.test('a cancelled call does not run to its end', { skip }, async (t) => {
  const launches = async (cancel: boolean) => {
    const { stdout, stderr } = await run(
      t,
      `
      const engine = await Engine.random({ ...shape, layers: 2 }, options);
      const [source] = await engine.encode([ids]);
      for (let i = 0; i < 3; i++) {
        const controller = new AbortController();
        if (${cancel} && i === 2) setTimeout(() => controller.abort(), 1);
        await engine.decode([source.target(16)], 12, { signal: controller.signal })
          .catch((error) => console.log(error.name));
      }
      await engine.close();`,
      { MASK_PREDICT_SIMT_REPORT: '1' },
    );
    t.equal(stdout.trim(), cancel ? 'AbortError' : '');
    return Number(/started (\d+) times/.exec(stderr)![1]);
  };
  const whole = await launches(false);
  t.equal(whole, 24, 'two calls with graphs');
  const cut = await launches(true);
  t.ok(cut < whole, `${cut} iterations of ${whole}`);
});
