// npm run bench -- cold-start --tokenizer sentencepiece.bpe.model [--rounds 9] [--threads 2]
//
// From the start of the process to the first answer, of XLM-R base with random weights in int8 and the given vocabulary
// (XLM-R's own), files in the page cache: with the snapshot of the loaded tokenizer that an earlier process left, and
// without. Each round starts one process of each kind. Prints milliseconds: median and quartiles.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Trainer, quantize } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';
import { table, withQuartiles } from './table.mjs';

const { values: given } = parseArgs({
  options: {
    tokenizer: { type: 'string' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
  },
});
if (!given.tokenizer) throw new Error('needs --tokenizer FILE');
const threads = Number(given.threads);

/** Milliseconds since the process began, at the end of each step. */
const program = `
  const times = {};
  const mark = (name) => (times[name] = performance.now());
  mark('node');
  const { MaskPredict } = await import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)});
  mark('import');
  const model = await MaskPredict.load(process.argv[1], { device: 'cpu', threads: ${threads} });
  mark('load');
  await model.generate('What is the capital of France?', { length: 8, iterations: 4 });
  mark('answer');
  await model.close();
  console.log(JSON.stringify(times));`;

const directory = mkdtempSync(join(tmpdir(), 'mask-predict-cold-'));
try {
  await measure();
} finally {
  rmSync(directory, { recursive: true });
}

async function measure() {
  const shape = { layers: 12, hidden: 768, norm: 'post' };
  const trainer = await Trainer.create(shape, given.tokenizer, { threads });
  await trainer.save(join(directory, 'whole'));
  await trainer.close();
  const model = join(directory, 'int8');
  await quantize(join(directory, 'whole'), model);
  const kinds = [
    { name: 'with a snapshot', cache: join(directory, 'snapshots'), times: [] },
    { name: 'without', cache: 'off', times: [] },
  ];
  for (let round = -1; round < Number(given.rounds); round++) {
    for (const { cache, times } of kinds) {
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        ['--input-type=module', '-e', program, model],
        { encoding: 'utf8', env: { ...process.env, MASK_PREDICT_TOKENIZER_CACHE: cache } },
      );
      if (status !== 0) throw new Error(stderr);
      if (round >= 0) times.push(JSON.parse(stdout));
    }
  }
  console.log(describeMachine(threads).text);
  const steps = ['node', 'import', 'load', 'answer'];
  const rows = kinds.map(({ name, times }) => [
    name,
    ...steps.map((step) => withQuartiles(spread(times.map((one) => one[step])), 0)),
  ]);
  console.log(table(['tokenizer', 'Node.js runs', 'imported', 'loaded', 'first answer'], rows));
}
