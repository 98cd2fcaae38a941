// The models that are compared, made once by the programs in export/ and kept under build/peers/models: what a step
// made is made again when those programs change.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { folder } from './packages.mjs';

const programs = fileURLToPath(new URL('export', import.meta.url));
const commandLine = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const numpy = { name: 'numpy', debian: 'python3-numpy' };
const onnx = { name: 'onnx', debian: 'python3-onnx' };
const torch = { name: 'torch', debian: 'python3-torch' };

const gguf = (type) => ({
  modules: [numpy],
  commands: (size, model) => [['write_gguf.py', size, type, join(model, `${type}.gguf`)]],
});

/** `modules` of Python that the programs need, `after` another step, and the `commands` themselves. */
const steps = {
  graphs: {
    modules: [numpy, onnx, torch],
    commands: (size, model) => [['export_onnx.py', size, model]],
  },
  'int8 graphs': {
    modules: [numpy, onnx],
    after: 'graphs',
    commands: (size, model) => {
      mkdirSync(join(model, 'int8'), { recursive: true });
      return ['plain', 'encode', 'expert'].map((graph) => [
        'quantize_onnx.py',
        join(model, `${graph}.onnx`),
        join(model, 'int8', `${graph}.onnx`),
      ]);
    },
  },
  stock: {
    modules: [numpy, onnx, torch],
    commands: (size, model) => [['export_transformers.py', size, join(model, 'transformers')]],
  },
  'int8 stock': {
    modules: [numpy, onnx],
    after: 'stock',
    commands: (size, model) => {
      const file = (name) => join(model, 'transformers', 'onnx', name);
      return [['quantize_onnx.py', file('model.onnx'), file('model_quantized.onnx'), '_data']];
    },
  },
  readings: {
    modules: [numpy, onnx, torch],
    after: 'graphs',
    commands: (size, model) => [['export_readings.py', size, model]],
  },
  'int8 readings': {
    modules: [numpy, onnx],
    after: 'readings',
    commands: (size, model) => {
      mkdirSync(join(model, 'int8'), { recursive: true });
      const features = (name) => join(model, 'features', 'onnx', name);
      return [
        ...['embed', 'fill'].map((graph) => [
          'quantize_onnx.py',
          join(model, `${graph}.onnx`),
          join(model, 'int8', `${graph}.onnx`),
        ]),
        ['quantize_onnx.py', features('model.onnx'), features('model_quantized.onnx'), '_data'],
      ];
    },
  },
  'modern-bert': {
    modules: [numpy, onnx, torch],
    commands: (size, model) => [['export_modern_bert.py', size, model]],
  },
  'int8 modern-bert': {
    modules: [numpy, onnx],
    after: 'modern-bert',
    commands: (size, model) => {
      mkdirSync(join(model, 'int8'), { recursive: true });
      const graphs = ['embed', 'fill'].flatMap((task) => [`${task}-masked`, `${task}-banded`]);
      const stock = (folder, name) => join(model, folder, 'onnx', name);
      return [
        ...graphs.map((graph) => [
          'quantize_onnx.py',
          join(model, `${graph}.onnx`),
          join(model, 'int8', `${graph}.onnx`),
        ]),
        ...['features', 'transformers'].map((folder) => [
          'quantize_onnx.py',
          stock(folder, 'model.onnx'),
          stock(folder, 'model_quantized.onnx'),
          '_data',
        ]),
      ];
    },
  },
  f32: gguf('f32'),
  f16: gguf('f16'),
  q8_0: gguf('q8_0'),
};

export const modelFolder = (size) => join(folder, 'models', size);

/** The last line that a failed program printed: Python names the exception last. */
const complaint = (error) =>
  String(error.stderr || error.message)
    .trim()
    .split('\n');

function run(command, args) {
  execFileSync(command, args, {
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** A Python that has the modules: the one that is called so, or the system's. */
function pythonWith(modules) {
  const imports = modules.map(({ name }) => name).join(', ');
  for (const python of ['python3', '/usr/bin/python3']) {
    try {
      run(python, ['-c', `import ${imports}`]);
      return python;
    } catch {
      continue;
    }
  }
  const debian = modules.map((module) => module.debian).join(' ');
  throw new Error(`needs a python3 that can import ${imports} (Debian: apt-get install ${debian})`);
}

function version() {
  const hash = createHash('sha256');
  for (const file of readdirSync(programs).filter((name) => name.endsWith('.py')))
    hash.update(readFileSync(join(programs, file)));
  return hash.digest('hex');
}

/** Makes what a step makes, unless it is there; throws with the reason why it cannot. */
export function make(size, step) {
  const { modules, after, commands } = steps[step];
  if (after) make(size, after);
  const model = modelFolder(size);
  const marks = join(model, 'made');
  mkdirSync(marks, { recursive: true });
  const mark = join(marks, step);
  const wanted = version();
  try {
    if (readFileSync(mark, 'utf8') === wanted) return;
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const python = pythonWith(modules);
  console.error(`exporting ${size}: ${step} ...`);
  for (const [program, ...args] of commands(size, model)) {
    try {
      run(python, [join(programs, program), ...args]);
    } catch (error) {
      throw new Error(`${program}: ${complaint(error).at(-1)}`);
    }
  }
  writeFileSync(mark, wanted);
}

/** Our own int8 directory, saved anew for every run: its format belongs to the build that reads it. */
export function quantize(size) {
  const directory = join(modelFolder(size), 'mask-predict-int8');
  rmSync(directory, { recursive: true, force: true });
  try {
    run(process.execPath, [commandLine, 'quantize', modelFolder(size), directory]);
  } catch (error) {
    throw new Error(`mask-predict quantize: ${complaint(error)[0]}`);
  }
}
