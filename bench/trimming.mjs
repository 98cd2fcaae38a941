// npm run bench -- trimming --tokenizer sentencepiece.bpe.model --texts FILE [--rounds 7] [--threads 2]
//
// The savings of trimming: XLM-R base with random weights and the given vocabulary (XLM-R's own), the same trimmed to
// the pieces of German and English, and to those of FILE. Prints MiB on disk, and the milliseconds of T = 4 with a
// source of 64 ids and a target of 32, in turn: median and quartiles.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, Trainer, trim } from '../dist/index.js';
import { describeMachine, spread } from './machine.mjs';
import { mebibytes, table, withQuartiles } from './table.mjs';
import { runJob, sourceIds } from './workload.mjs';

const { values: given } = parseArgs({
  options: {
    tokenizer: { type: 'string' },
    texts: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    threads: { type: 'string', default: '2' },
  },
});
if (!given.tokenizer || !given.texts) throw new Error('needs --tokenizer FILE and --texts FILE');
const threads = Number(given.threads);

const directory = mkdtempSync(join(tmpdir(), 'mask-predict-trimming-'));
try {
  await measure();
} finally {
  rmSync(directory, { recursive: true });
}

async function measure() {
  const whole = join(directory, 'whole');
  const shape = { layers: 12, hidden: 768, norm: 'post' };
  const trainer = await Trainer.create(shape, given.tokenizer, { threads });
  await trainer.save(whole);
  await trainer.close();
  const trimmed = {
    '--languages de,en': { languages: ['de', 'en'] },
    '--texts': { texts: given.texts },
  };
  const models = [{ name: 'whole', path: whole }];
  for (const [name, options] of Object.entries(trimmed)) {
    const path = join(directory, String(models.length));
    await trim(whole, path, options);
    models.push({ name, path });
  }
  for (const model of models) {
    model.engine = await Engine.load(model.path, { device: 'cpu', precision: 'fp32', threads });
    model.ms = [];
  }
  for (let round = -1; round < Number(given.rounds); round++) {
    for (const { engine, ms } of models) {
      const { total } = await runJob(engine, sourceIds(1, 64, engine.maskTokenId), 32, 4);
      if (round >= 0) ms.push(total);
    }
  }
  console.log(describeMachine(threads).text);
  const rows = models.map(({ name, path, engine, ms }) => [
    name,
    engine.maskTokenId - 1,
    mebibytes(bytesOf(path)),
    withQuartiles(spread(ms), 0),
  ]);
  console.log(table(['model', 'pieces', 'on disk', 'ms'], rows));
  for (const { engine } of models) await engine.close();
}

function bytesOf(path) {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}
