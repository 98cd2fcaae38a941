// This package's side of `npm run bench -- training`: a line `{"steps": n}` in, the seconds and rows of each step out.
import { createInterface } from 'node:readline';
import { Trainer } from '../dist/index.js';
import { steps } from './training-steps.mjs';

const { model, tokens, rows, threads, precision, learningRate, dropout } = JSON.parse(
  process.argv[2],
);
const trainer = await Trainer.load(model, { threads, precision, learningRate, dropout });
const all = steps(tokens, rows, trainer.maskTokenId);
console.log(JSON.stringify({ instructionSet: trainer.instructionSet }));
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = [];
  const counts = [];
  let loss;
  for (let left = JSON.parse(line).steps; left > 0; left--) {
    const { value } = await all.next();
    const begun = performance.now();
    ({ loss } = await trainer.step(value.part));
    seconds.push((performance.now() - begun) / 1000);
    counts.push(value.rows);
  }
  console.log(JSON.stringify({ seconds, rows: counts, loss }));
}
await trainer.close();
