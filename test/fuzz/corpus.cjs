'use strict';
// The inputs that are kept in the repository: corpus/TARGET.base64, one input a line, the shortest first. npm test
// replays them (corpus.slow.ts), and every run of the fuzzer starts from them.
const fs = require('node:fs');
const path = require('node:path');

const file = (target) => path.join(__dirname, 'corpus', `${target}.base64`);
/** Bytes of a file; beyond them the longest inputs are left out. */
const most = 180_000;

function read(target) {
  if (!fs.existsSync(file(target))) return [];
  const lines = fs.readFileSync(file(target), 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => Buffer.from(line, 'base64'));
}

function write(target, inputs) {
  const lines = inputs.map((input) => `${input.toString('base64')}\n`);
  lines.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  let size = 0;
  const kept = lines.filter((line) => (size += line.length) <= most);
  fs.mkdirSync(path.dirname(file(target)), { recursive: true });
  fs.writeFileSync(file(target), kept.join(''));
}

module.exports = { read, write };
