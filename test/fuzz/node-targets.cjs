'use strict';
// The targets that are tests in plain Node, *.test.ts in this folder: npm test runs a bounded part of each.
const { spawn } = require('node:child_process');
const path = require('node:path');

const root = path.join(__dirname, '../..');
const targets = ['sentencepiece', 'checkpoints', 'calls'];

/** Runs a target for so many seconds or inputs, whatever ends first; the number of inputs. Throws at a finding. */
async function fuzz(target, { seconds, inputs, seed }) {
  const env = {
    ...process.env,
    FUZZ_SEED: String(seed),
    FUZZ_INPUTS: String(inputs ?? ''),
    FUZZ_SECONDS: String(seconds ?? ''),
  };
  const args = ['tap', '--timeout=0', '--reporter=tap', path.join(__dirname, `${target}.test.ts`)];
  const child = spawn('npx', args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(output.split('\n').slice(0, 80).join('\n'));
  const counts = [...output.matchAll(/# (\d+) inputs/g)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}

module.exports = { fuzz, missing: () => undefined, targets };
