#!/usr/bin/env node
'use strict';
// Hostile input, as long as one likes:
//   npm run test:fuzz -- [--seconds N] [--inputs N] [--target NAME]... [--seed N] [--keep]
//     --seconds, --inputs  the end of each target's run, whatever comes first; default: 60 seconds
//     --target             json, config, index, safetensors, pickle, torch, model: the readers of model files,
//                            coverage-guided, with sanitizers (need Clang); sentencepiece: mutations of SentencePiece models;
//                            checkpoints: mutated checkpoints through Engine.load; calls: the public API;
//                          default: all of them
//     --seed               of what is random; default: drawn, and printed
//     --keep               puts the minimised inputs of the coverage-guided targets into test/fuzz/corpus
// Ends with 1 at the first finding, and says how to get it again.
const { parseArgs } = require('node:util');
const native = require('./native-targets.cjs');
const node = require('./node-targets.cjs');

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    inputs: { type: 'string' },
    seed: { type: 'string' },
    target: { type: 'string', multiple: true },
    keep: { type: 'boolean' },
  },
});

const targets = Object.fromEntries(
  [native, node].flatMap((kind) => kind.targets.map((name) => [name, kind])),
);

function number(name) {
  const value = values[name];
  if (value === undefined) return undefined;
  if (!/^[1-9]\d*$/.test(value))
    throw new Error(`--${name} must be a positive integer, not ${value}`);
  return Number(value);
}

async function main() {
  const inputs = number('inputs');
  const seconds = number('seconds') ?? (inputs ? undefined : 60);
  const seed = number('seed') ?? 1 + Math.floor(Math.random() * 2 ** 31);
  let total = 0;
  for (const name of values.target ?? Object.keys(targets)) {
    if (!targets[name])
      throw new Error(`--target must be one of ${Object.keys(targets).join(', ')}`);
    const missing = targets[name].missing();
    if (missing) {
      console.log(`${name}: skipped, ${missing}`);
      continue;
    }
    const begun = Date.now();
    const count = await targets[name].fuzz(name, { seconds, inputs, seed });
    const took = (Date.now() - begun) / 1000;
    total += count;
    console.log(
      `${name}: ${count} inputs in ${took.toFixed(0)} s (${Math.round(count / took)} per second), seed ${seed}, no finding`,
    );
    if (values.keep) await targets[name].keep?.(name);
  }
  console.log(`${total} inputs in all, no finding`);
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
