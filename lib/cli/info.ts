/** `info`: what a model is and how it runs here. */
import { embeddedModel } from '../bundled-models.js';
import type { MaskPredict } from '../text/mask-predict.js';
import { keptAs } from '../token/engine.js';
import { native } from '../token/native.js';
import { Arguments, modelOptions, UsageError } from './arguments.js';
import { modelHelp, withModel, type Command } from './command.js';
import { Output } from './output.js';

const help = `Usage: mask-predict info [options]

Loads a model and prints its sizes and how it runs on this machine.

Options:
  --json              a JSON object: model, config, device, instructionSet, threads,
                      precision, headPrecision, memory (bytes), warnings, platform,
                      node, addon, instructionSets, and refused: why the addon with
                      CUDA kernels was tried and not loaded; of --devices also
                      devices, memory being that of the first

${modelHelp}
Examples:
  mask-predict info --model ./my-model --precision bf16
`;

export const info: Command = {
  summary: 'print the sizes of a model and how it runs here',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, { ...modelOptions, json: { type: 'boolean' } });
    if (given.texts.length > 0) {
      throw new UsageError(`info takes no text, but got '${given.texts[0]}'; see --model`);
    }
    const render = given.has('json') ? renderJson : renderTable;
    await withModel(given, surroundings, (model, warnings) =>
      new Output(surroundings.stdout).write(
        `${render(given.text('model') ?? embeddedModel, model, warnings)}\n`,
      ),
    );
  },
};

/** A GPU has no instruction set and threads of its own to tell. */
function deviceOf({ engine, engines }: MaskPredict): string {
  const { instructionSet, threads } = engine;
  const devices = engines.map(({ device }) => device).join(', ');
  return instructionSet ? `${devices} (${instructionSet}, ${threads} threads)` : devices;
}

function renderJson(
  directory: string,
  { engine, engines }: MaskPredict,
  warnings: string[],
): string {
  const { config, device, instructionSet, threads, precision, headPrecision } = engine;
  const memory = engine.memory();
  return JSON.stringify({
    model: directory,
    config,
    device,
    ...(engines.length > 1 && { devices: engines.map((each) => each.device) }),
    instructionSet,
    threads,
    precision,
    headPrecision,
    memory,
    warnings,
    ...platform(),
  });
}

/** The system, and what of the package was loaded for it. */
function platform() {
  return {
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    addon: native.loadedFrom,
    ...(native.refused !== undefined && { refused: native.refused }),
    instructionSets: native.instructionSets(),
  };
}

function renderTable(directory: string, model: MaskPredict, warnings: string[]): string {
  const { engine, engines, tokenizer } = model;
  const { config } = engine;
  const memory = engine.memory();
  const rows: [string, string | number][] = [
    ['model', directory],
    ['type', `${config.modelType}, norm ${config.norm === 'pre' ? 'before' : 'after'} each block`],
    ['parameters', grouped(config.parameters)],
    ['layers', config.layers],
    ['hidden', `${config.hidden}, ${config.heads} heads of ${config.hidden / config.heads}`],
    ['feed-forward', config.feedForward],
    ['vocabulary', grouped(config.vocabulary)],
    [
      'longest text',
      `${config.maxIds} ids, ${tokenizer.piece(config.beginTokenId)} and ${tokenizer.piece(config.endTokenId)} included`,
    ],
    ['can', abilities(config)],
    ['length classes', lengthClasses(config)],
    ['device', deviceOf(model)],
    ['precision', keptAs(engine)],
    [
      'memory',
      `${mebibytes(memory.weights)} for weights, at most ${mebibytes(memory.limit)}` +
        (engines.length > 1 ? `, of ${engine.device}` : ''),
    ],
  ];
  const { platform: system, node, addon, refused, instructionSets } = platform();
  rows.push(
    ['platform', `${system}, Node.js ${node}`],
    ['addon', addon],
    ...(refused === undefined ? [] : [['not loaded', refused] as [string, string]]),
    ['this CPU can', instructionSets.join(', ')],
  );
  for (const warning of warnings) rows.push(['note', warning]);
  return rows.map(([name, value]) => `${name.padEnd(16)}${value}`).join('\n');
}

function lengthClasses({ lengths, head }: MaskPredict['engine']['config']): string | number {
  if (lengths > 0) return lengths;
  return head ? 'none: generate needs --length' : 'none';
}

function abilities({ head, classes, tokenClasses }: MaskPredict['engine']['config']): string {
  const all = [
    'embed',
    ...(head ? ['generate', 'choose', 'score', 'fill masks'] : []),
    ...(classes > 0 ? [`classify (${classes} classes)`] : []),
    ...(tokenClasses > 0 ? [`classify tokens (${tokenClasses} classes)`] : []),
  ];
  return all.join(', ');
}

function grouped(number: number): string {
  return number.toLocaleString('en-US');
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
