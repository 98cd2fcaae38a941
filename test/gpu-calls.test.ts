/**
 * Every call of the CUDA runtime fails once, while a model is loaded and answers: on emulated GPUs, on each the call that has
 * the GPU's number (a test build; native/simt/faults.h). Either the context is lost with it, or that call alone fails. What
 * follows is an error that names the call and says what to do, or the right answer; nothing hangs, and what was made on the
 * GPUs is given back.
 *
 * Here it is every 24th call, from a random one on; all of them where FAILING_CALLS is `all`.
 */
import t, { type Test } from 'tap';
import { runScript } from './built-package.js';

const skip = process.env.MASK_PREDICT_DEVICE !== 'simt' && 'no emulated devices';
const every = process.env.FAILING_CALLS === 'all' ? 1 : 24;
const first = Math.floor(Math.random() * every);
/** GPUs of a process; each engine takes some time to load. */
const atATime = 10;

interface Outcome {
  device: number;
  errors: { where: string; code: string; message: string }[];
  /** The answers of the job; where it failed, those of a second one. */
  answers: string[];
}

/** Loads on each of the devices and runs a job, twice if it fails. */
async function run(t: Test, devices: number[], fault: string) {
  const { code, signal, stdout, stderr } = await runScript(
    `
    const { Engine } = maskPredict;
    const shape = { layers: 1, hidden: 64, heads: 1, feedForward: 64, vocabulary: 64 };
    const ids = Int32Array.of(0, 17, 30, 29, 5, 2);
    /** Three calls of one bucket: the second captures graphs, the third launches them. */
    async function job(engine) {
      const [source] = await engine.encode([ids]);
      const answers = [];
      for (let i = 0; i < 3; i++) {
        const target = source.target(6);
        await engine.decode([target], 2);
        answers.push([...target.tokens, ...target.scores]);
      }
      return JSON.stringify(answers);
    }
    for (const device of ${JSON.stringify(devices)}) {
      const errors = [], answers = [];
      const attempt = async (where, call) => {
        try { return await call(); }
        catch ({ code, message }) { errors.push({ where, code, message }); }
      };
      const options = { device: 'simt:' + device, precision: 'bf16', threads: 1, seed: 3 };
      const load = () => Engine.random(shape, options);
      const engine = (await attempt('load', load)) ?? (await attempt('load again', load));
      if (engine) {
        for (const where of ['job', 'job again']) {
          const answer = await attempt(where, () => job(engine));
          if (answer) answers.push(answer);
          if (answer) break;
        }
        await engine.close();
      }
      console.log(JSON.stringify({ device, errors, answers }));
    }`,
    {
      MASK_PREDICT_SIMT_DEVICES: Array<string>(Math.max(...devices) + 1)
        .fill('9.0:1')
        .join(','),
      MASK_PREDICT_SIMT_FAULT: fault,
      MASK_PREDICT_SIMT_REPORT: '1',
      MASK_PREDICT_DEVICE: '',
    },
  );
  t.equal(signal, null, `ends by itself ${stderr}`);
  t.equal(code, 0, stderr);
  t.match(stderr, /^not given back: nothing$/m);
  const outcomes = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome);
  return { outcomes, calls: Number(/^(\d+) calls of the runtime$/m.exec(stderr)![1]) };
}

/** The answer, and the devices whose numbers are those of calls. */
async function undisturbed(t: Test) {
  const { outcomes, calls } = await run(t, [0], '');
  t.same(outcomes[0]!.errors, []);
  const [answer] = outcomes[0]!.answers;
  const failing = Array.from({ length: calls }, (_, i) => i).filter((i) => i % every === first);
  t.ok(calls > 100, `${calls} calls, of which ${failing.length} fail, from ${first} on`);
  return { answer, failing };
}

async function each(t: Test, failing: number[], fault: string) {
  const all: Outcome[] = [];
  for (let i = 0; i < failing.length; i += atATime)
    all.push(...(await run(t, failing.slice(i, i + atATime), fault)).outcomes);
  return all;
}

t.test('and the context is lost', { skip }, async (t) => {
  const { answer, failing } = await undisturbed(t);
  const outcomes = await each(t, failing, '*:device');
  t.equal(outcomes.length, failing.length);
  for (const { device, errors, answers } of outcomes) {
    for (const { where, code, message } of errors) {
      t.equal(code, 'ERR_DEVICE', `call ${device}: ${where}`);
      t.match(message, /the GPU's context is lost: restart the process; .*cuda\w+/);
    }
    // Nothing works after it; whoever has answered only failed to give back.
    if (errors.length > 0) t.ok(errors.length === 2 && answers.length === 0, `call ${device}`);
    else t.same(answers, [answer], `call ${device}`);
  }
  const failed = outcomes.map(({ errors }) => errors.length > 0);
  t.same(failed, [...failed].sort().reverse(), 'the calls that give back are the last');
  t.ok(failed[0]);
});

t.test('alone', { skip }, async (t) => {
  const { answer, failing } = await undisturbed(t);
  const outcomes = await each(t, failing, '*:device:once');
  t.equal(outcomes.length, failing.length);
  for (const { device, errors, answers } of outcomes) {
    t.ok(errors.length < 2, `call ${device}: once`);
    for (const { where, code, message } of errors) {
      t.equal(code, 'ERR_DEVICE', `call ${device}: ${where}`);
      t.match(message, /cuda\w+.*: operation not supported \(cudaErrorNotSupported\)/);
    }
    t.same(answers, [answer], `call ${device}: the right answer after it`);
  }
  t.ok(outcomes.some(({ errors }) => errors.length > 0));
});
