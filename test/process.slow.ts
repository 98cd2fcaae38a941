/**
 * The package in a process of its own: nothing is printed, an engine nobody closed does not keep the process
 * alive, and a process may end at any moment, in the middle of loading or of a call, without a crash and
 * without waiting for the work.
 */
import t from 'tap';
import { runScript } from './built-package.js';

/** Loads the embedded model and starts about ten seconds of work that nobody awaits. */
const busy = `
  const model = await maskPredict.MaskPredict.load();
  const { engine, tokenizer } = model;
  const [source] = await engine.encode([tokenizer.encode('Write the number 4217').ids]);
  const targets = Array.from({ length: 600 }, () => source.target(100));
  const work = engine.decode(targets, 10);
  let ended = false;
  void work.finally(() => (ended = true)).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 60));
  if (ended) throw new Error('there was nothing left to interrupt');
`;

t.test('silent by default', async (t) => {
  const ended = await runScript(`
    const model = await maskPredict.MaskPredict.load();
    const { text } = await model.generate('Is the number 4217 even? Yes or no?');
    await model.generate('x', { sampling: { seed: 1 } });
    await model.generate('x', { length: 1e9 }).catch(() => {});
    await maskPredict.Engine.load('/nowhere').catch(() => {});
    await maskPredict.Engine.load(maskPredict.embeddedModel, { device: 'cuda:99' }).catch(() => {});
    await model.close();
    process.exitCode = text === 'No' ? 0 : 5;
  `);
  t.match(ended, { code: 0, signal: null, stdout: '', stderr: '' });
});

t.test('auto says once why it took the CPU, if there is a driver for GPUs', async (t) => {
  const ended = await runScript(
    `
    const { Engine, embeddedModel: model } = maskPredict;
    const refusal = await Engine.load(model, { device: 'cuda' }).catch((error) => error);
    const device = [];
    for (let i = 0; i < 2; i++) device.push((await Engine.load(model)).device);
    console.log(JSON.stringify({ refusal: refusal.message, device }));
  `,
    { MASK_PREDICT_DEVICE: '' },
  );
  t.match(ended, { code: 0, signal: null });
  const { refusal, device } = JSON.parse(ended.stdout) as { refusal?: string; device: string[] };
  const warnings = ended.stderr.split('MASK_PREDICT_FALLBACK').length - 1;
  const onCpu = device.every((name) => name === 'cpu');
  const ordinary = /this build has no CUDA kernels|there is no NVIDIA driver/;
  const couldUseOne = refusal !== undefined && !ordinary.test(refusal);
  t.equal(warnings, onCpu && couldUseOne ? 1 : 0);
  t.ok(onCpu || refusal === undefined, 'the CPU only where a GPU is refused');
});

t.test('an idle engine does not keep the process alive', async (t) => {
  const ended = await runScript(`
    const model = await maskPredict.MaskPredict.load();
    await model.generate('zwei');
    for await (const step of model.refine('zwei')) break;
    globalThis.kept = [model, await model.engine.encode([Int32Array.of(0, 5, 2)])];
  `);
  t.match(ended, { code: 0, signal: null, stderr: '' });
});

t.test('engines nobody closed are collected while others load', async (t) => {
  // Several at a time, so that the memory of one that has gone is another's at once.
  const ended = await runScript(`
    import { setFlagsFromString } from 'node:v8';
    import { runInNewContext } from 'node:vm';
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc');
    const { Engine, embeddedModel } = maskPredict;
    const end = performance.now() + 4000;
    const load = async () => {
      while (performance.now() < end) {
        await Engine.load(embeddedModel, { threads: 1 + Math.floor(Math.random() * 3) });
        if (Math.random() < 0.3) collectGarbage();
      }
    };
    await Promise.all([load(), load(), load()]);
  `);
  t.match(ended, { code: 0, signal: null, stdout: '', stderr: '' });
});

t.test('a call in flight does', async (t) => {
  const ended = await runScript(`
    const model = await maskPredict.MaskPredict.load();
    model.generate('Is the number 4217 even? Yes or no?').then(({ text }) => console.log(text));
  `);
  t.match(ended, { code: 0, signal: null, stdout: 'No\n', stderr: '' });
});

t.test('and so does loading', async (t) => {
  const ended = await runScript(`
    maskPredict.Engine.load(maskPredict.embeddedModel).then(() => console.log('loaded'));
  `);
  t.match(ended, { code: 0, signal: null, stdout: 'loaded\n', stderr: '' });
});

// The work takes ten seconds, a process starts and loads in half a second: one that ends before five seconds
// have passed did not wait for the work, however busy the machine.
const noWait = 5000;

t.test('the end of the process in the middle of a call', async (t) => {
  const cases: Record<string, [script: string, code: number, stderr: RegExp]> = {
    'process.exit()': [`${busy} process.exit(7);`, 7, /^$/],
    'an uncaught throw': [
      `${busy} setImmediate(() => { throw new Error('uncaught'); });
      await work;`,
      1,
      /uncaught/,
    ],
    'an unhandled rejection': [
      `${busy} Promise.reject(new Error('unhandled')); await work;`,
      1,
      /unhandled/,
    ],
    'a call that close() interrupts, rejected and not handled': [
      `${busy} await Promise.all([work, model.close()]);`,
      1,
      /ERR_DISPOSED/,
    ],
    'an aborted call and a natural end': [
      `${busy} const stop = new AbortController();
      const second = engine.decode([source.target(9)], 3, { signal: stop.signal });
      stop.abort(); await second.catch(() => {}); await model.close();`,
      0,
      /^$/,
    ],
    'process.exit() while close() waits': [`${busy} void model.close(); process.exit(3);`, 3, /^$/],
    'process.exit() right after load()': [
      `const engine = await maskPredict.Engine.load(maskPredict.embeddedModel); process.exit(4);`,
      4,
      /^$/,
    ],
  };
  for (const [what, [script, code, stderr]] of Object.entries(cases)) {
    const ended = await runScript(script);
    t.match(ended, { code, signal: null, stdout: '', stderr }, what);
    t.ok(ended.milliseconds < noWait, `${what}: ${Math.round(ended.milliseconds)} ms`);
  }
});

t.test('the end of the process in the middle of loading', async (t) => {
  // About a second of drawing weights.
  const load = `
    const shape = { layers: 24, hidden: 512, heads: 8, feedForward: 2048, vocabulary: 50000 };
    const loading = maskPredict.Engine.random(shape);`;
  for (const delay of [0, 10, 100]) {
    const ended = await runScript(`${load} setTimeout(() => process.exit(6), ${delay});`);
    t.match(ended, { code: 6, signal: null, stderr: '' }, `after ${delay} ms`);
  }
});

t.test('callbacks that throw', async (t) => {
  const load = (option: string) =>
    `await maskPredict.Engine.load(maskPredict.embeddedModel, { ${option} });`;
  const progress = await runScript(
    load(`onProgress() { throw new Error('progress goes nowhere'); }`),
  );
  t.match(progress, { code: 1, signal: null, stderr: /progress goes nowhere/ });
  const logger = await runScript(load(`logger() { throw new Error('logger is full'); }`));
  t.match(logger, { code: 1, signal: null, stderr: /logger is full/ });
});

t.test('MASK_PREDICT_ISA', async (t) => {
  const script = `
    const engine = await maskPredict.Engine.load(maskPredict.embeddedModel).catch((error) => {
      console.log(error.code, error.message);
      process.exit(0);
    });
    console.log(engine.instructionSet);`;
  const nonsense = await runScript(script, { MASK_PREDICT_ISA: 'nonsense' });
  t.match(nonsense, {
    code: 0,
    stderr: '',
    stdout: /^ERR_DEVICE MASK_PREDICT_ISA.*nonsense.*portable/,
  });
  const portable = await runScript(script, { MASK_PREDICT_ISA: 'portable' });
  t.match(portable, { code: 0, stderr: '', stdout: 'portable\n' });
  const empty = await runScript(script, { MASK_PREDICT_ISA: '' });
  t.match(empty, {
    code: 0,
    stderr: '',
    stdout: /^(avx512bf16|avx512vnni|avx512|avxvnni|avx2|portable)\n$/,
  });
});
