'use strict';
// The coverage-guided targets (test/native/fuzz): libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const programs = require('../native/programs.cjs');
const corpus = require('./corpus.cjs');
const { seeds, words } = require('./seeds.cjs');

const work = path.join(__dirname, '../../build/fuzz');
const targets = Object.keys(seeds);
/** The longest input, in bytes. */
const longest = {
  ...{ json: 4096, config: 2048, index: 1024, safetensors: 4096, pickle: 2048 },
  ...{ torch: 16384, model: 16384 },
};

/** Bounds on one input: seconds, and megabytes of one allocation and of the process. */
const bounds = ['-timeout=20', '-malloc_limit_mb=512', '-rss_limit_mb=2048'];

/** Why the targets cannot run here, or undefined. */
function missing() {
  const tool = programs.missing('fuzz');
  return tool && `${tool} is not there (Clang with its compiler-rt, and CMake, are needed)`;
}

function writeDictionary() {
  const file = path.join(work, 'words.dict');
  const escaped = words.map((word) => word.replace(/["\\]/g, (character) => `\\${character}`));
  fs.writeFileSync(file, escaped.map((word) => `"${word}"\n`).join(''));
  return file;
}

/** The folder of a target's inputs: those of earlier runs, of the repository and the seeds. */
function inputsOf(target) {
  const folder = path.join(work, 'corpus', target);
  fs.mkdirSync(folder, { recursive: true });
  const first = [...seeds[target](), ...corpus.read(target)];
  first.forEach((input, i) => fs.writeFileSync(path.join(folder, `first-${i}`), input));
  return folder;
}

/** A directory in memory, where there is one. */
function scratch() {
  const memory = '/dev/shm';
  return fs.mkdtempSync(
    path.join(fs.existsSync(memory) ? memory : os.tmpdir(), 'mask-predict-fuzz-'),
  );
}

/** Runs a target's program; its exit code and what it wrote. */
async function run(target, args) {
  const folder = programs.build('fuzz', [target]);
  const directory = scratch();
  const child = spawn(path.join(folder, target), args, {
    cwd: work,
    env: { ...process.env, FUZZ_DIRECTORY: directory },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (text) => (output += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  fs.rmSync(directory, { recursive: true });
  return { code, output };
}

/** Fuzzes a target for so many seconds or inputs, whatever ends first; the number of inputs. Throws at a finding. */
async function fuzz(target, { seconds, inputs, seed }) {
  fs.mkdirSync(work, { recursive: true });
  const findings = `${path.join(work, target)}-`;
  const { code, output } = await run(target, [
    ...[inputsOf(target), `-dict=${writeDictionary()}`, `-artifact_prefix=${findings}`, ...bounds],
    ...[`-max_len=${longest[target]}`, '-print_final_stats=1', `-seed=${seed}`],
    ...(seconds ? [`-max_total_time=${seconds}`] : []),
    ...(inputs ? [`-runs=${inputs}`] : []),
  ]);
  if (code !== 0) throw new Error(`${output.slice(-6000)}\nthe input is ${findings}*`);
  return Number(/number_of_executed_units:\s*(\d+)/.exec(output)[1]);
}

/** Replaces a target's inputs in the repository by the smallest ones that reach what all found so far reach. */
async function keep(target) {
  const merged = path.join(work, 'merged', target);
  fs.rmSync(merged, { recursive: true, force: true });
  fs.mkdirSync(merged, { recursive: true });
  const { code, output } = await run(target, ['-merge=1', ...bounds, merged, inputsOf(target)]);
  if (code !== 0) throw new Error(output.slice(-6000));
  corpus.write(
    target,
    fs.readdirSync(merged).map((file) => fs.readFileSync(path.join(merged, file))),
  );
}

module.exports = { fuzz, keep, missing, targets };
