/** The program in processes of its own: offline after online, killed in the middle, twice at the same time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import '../built-package.js';
import {
  answered,
  generate,
  isWeights,
  numbersOnHub,
  repository,
  slowly,
  weights,
} from './numbers-on-hub.js';
import { sha256 } from './test-hub.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const modelDirectory = new URL('../../dist/hub/model-directory.js', import.meta.url).href;

/** Runs Node; the working directory has no folders that a name could mean. */
function start(t: Test, environment: Record<string, string>, ...given: string[]) {
  const { NODE_OPTIONS: _, HF_TOKEN: __, ...inherited } = process.env;
  const child = spawn(process.execPath, given, {
    env: { ...inherited, MASK_PREDICT_DEVICE: 'cpu', ...environment },
    cwd: environment['HF_HOME'],
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const outputs = Promise.all([readAll(child.stdout), readAll(child.stderr)]);
  const ended = once(child, 'exit').then(async ([code]) => {
    const [stdout, stderr] = await outputs;
    return { code: code as number | null, stdout, stderr };
  });
  return { child, ended };
}

/** A process that downloads and says where to. */
function download(t: Test, environment: Record<string, string>) {
  const script =
    `import { modelDirectory } from '${modelDirectory}';` +
    `console.log(await modelDirectory('${repository}'));`;
  return start(t, environment, '--input-type=module', '-e', script);
}

const here = { code: 0, stdout: /snapshots\/[0-9a-f]{40}\n$/, stderr: '' };

t.test('with nothing cached, then without a network', async (t) => {
  const { hub, environment } = await numbersOnHub(t);
  t.same(await start(t, environment, program, ...generate).ended, answered);
  t.ok(hub.asked.length > 3);
  await hub.stop();
  const offline = { ...environment, HF_HUB_OFFLINE: '1' };
  t.same(await start(t, offline, program, ...generate).ended, answered);
});

t.test('killed in the middle, it goes on where it was', async (t) => {
  const { hub, environment, cache } = await numbersOnHub(t);
  hub.faults.push(slowly(20, 50_000));
  const blobs = join(cache, 'models--mask-predict--numbers', 'blobs');
  const part = join(blobs, `${sha256(weights)}.incomplete`);
  const { child, ended } = download(t, environment);
  while (!existsSync(part) || statSync(part).size < 500_000) await wait(10);
  child.kill('SIGKILL');
  t.match(await ended, { code: null });
  const { size } = statSync(part);
  t.ok(size < weights.length);
  hub.asked.length = 0;
  t.match(await download(t, environment).ended, here);
  t.equal(sha256(readFileSync(join(blobs, sha256(weights)))), sha256(weights));
  const ranges = hub.asked.filter(({ server }) => server === 'cdn').map(({ range }) => range);
  t.same(ranges, [`bytes=${size}-`]);
  t.same(
    readdirSync(blobs).filter((name) => !/^[0-9a-f]+$/.test(name)),
    [],
  );
});

t.test('two processes at once, one of which is killed', async (t) => {
  const { hub, environment } = await numbersOnHub(t);
  hub.faults.push(slowly(40, 100_000));
  const large = () => hub.asked.filter(isWeights);
  const one = download(t, environment);
  const two = download(t, environment);
  t.match(await Promise.all([one.ended, two.ended]), [here, here]);
  t.equal(large().length, 1, 'one of them transfers');

  const next = await numbersOnHub(t);
  next.hub.faults.push(slowly(40, 100_000));
  const killed = download(t, next.environment);
  while (!next.hub.asked.some(isWeights)) await wait(10);
  const other = download(t, next.environment);
  await wait(300);
  killed.child.kill('SIGKILL');
  t.match(await other.ended, here, 'the other one takes over');
});
