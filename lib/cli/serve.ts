/** `serve`: a model behind HTTP until a signal comes. */
import { isIPv6 } from 'node:net';
import { basename, resolve } from 'node:path';
import { loadFastify } from '../serve/fastify.js';
import { embeddedModel } from '../bundled-models.js';
import { instructionsFor } from './demo.js';
import { defaultLimits, type Limits } from '../serve/limits.js';
import { nameProblem } from '../serve/model-name.js';
import { Server } from '../serve/server.js';
import { Arguments, modelOptions, UsageError } from './arguments.js';
import { modelHelp, withModel, type Command } from './command.js';
import { Output } from './output.js';

const host = '127.0.0.1';
const port = 8080;
const drain = 30;
/** Calls that wait: some seconds of work for a small model; whoever comes then had better ask another server. */
const queue = 1024;
const largestBody = 2 ** 28;

const help = `Usage: mask-predict serve [options] [MODEL_DIR]

Answers over HTTP until it is told to stop (Ctrl-C, SIGTERM), then finishes what runs.
Needs fastify: npm install fastify@5

  GET  /                        a page to type an instruction and watch the passes
  POST /generate                { "prompt": "…" } or an array of prompts; also
                                iterations, length, sampling, stop, remask,
                                parseSpecial, overflow, priority, deadline; with
                                "stream": true an event after every pass
  POST /choose                  { "prompt": "…", "labels": ["…", "…"] }
  POST /score                   { "prompt": "…", "text": "…" }
  POST /fill-mask, /embed       { "text": "…" } or an array of texts; also count or
                                labels; pooling, normalize
  POST /classify                { "input": "…" }, a text or { "text", "pair" }, or an
                                array of them
                                (each POST as far as the model can do it)
  GET  /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, …/ready
  POST /v2/models/NAME/infer    the Open Inference Protocol, as KServe speaks it
  GET  /metrics                 for Prometheus

Options:
  --host ADDRESS      where to listen (default: ${host}, which only this machine
                      reaches; there is no password, so mind who reaches 0.0.0.0);
                      may be given several times
  --port N            0 takes any free one (default: ${port})
  --name NAME         of the model in /v2/models/NAME (default: its directory's name)
  --allow-host NAME   also answer requests to this host name, as a proxy sends them;
                      a server that only this machine reaches answers no others, for
                      its browser's sake; may be given several times
  --cors ORIGIN       let pages of this origin ask, such as https://app.example, or *
                      for all; may be given several times (default: none)
  --drain SECONDS     how long running requests may take to end (default: ${drain})
  --max-queue N       requests that may wait; the next one is answered with 429
                      (default: ${queue})
  --max-body SIZE     of a request (default: ${defaultLimits.body / 2 ** 20}MiB)
  --max-characters N  of a prompt, label or text (default: ${defaultLimits.characters})
  --max-texts N       that a request may have written: prompts times length
                      candidates; or labels of a choice (default: ${defaultLimits.texts})
  --max-iterations N  passes over a text (default: ${defaultLimits.iterations})

${modelHelp}
Examples:
  mask-predict serve
  mask-predict serve --host 0.0.0.0 --port 8000 --name assistant ./my-model
`;

export const serve: Command = {
  summary: 'answer over HTTP: JSON, server-sent events, Open Inference Protocol',
  help,
  async run(list, surroundings) {
    const given = new Arguments(list, {
      ...modelOptions,
      host: { type: 'string', multiple: true },
      'allow-host': { type: 'string', multiple: true },
      cors: { type: 'string', multiple: true },
      port: { type: 'string' },
      name: { type: 'string' },
      drain: { type: 'string' },
      'max-queue': { type: 'string' },
      'max-body': { type: 'string' },
      'max-characters': { type: 'string' },
      'max-texts': { type: 'string' },
      'max-iterations': { type: 'string' },
    });
    const directory = modelDirectory(given);
    const options = {
      name: readName(given, directory),
      hosts: readHosts(given),
      allowedHosts: given.list('allow-host').map(readAllowedHost),
      cors: given.list('cors').map(readOrigin),
      port: given.integer('port', 0, 65535) ?? port,
      limits: readLimits(given),
      examples: instructionsFor(directory),
      log: (message: string) => void surroundings.stderr.write(`mask-predict: ${message}\n`),
    };
    const queueLimit = given.integer('max-queue', 1, 2 ** 20) ?? queue;
    const drainMilliseconds = 1000 * (given.integer('drain', 0, 86400) ?? drain);
    await loadFastify(); // before the model: it takes longer
    await withModel(
      given,
      surroundings,
      async (model) => {
        const server = await Server.listen(model, options);
        await new Output(surroundings.stdout).write(`${options.name} at ${server.url}\n`);
        await stopped(surroundings.signal);
        await server.close(drainMilliseconds);
      },
      directory,
      {
        scheduling: { queueLimit },
        logger: (level, message) => void (level === 'warn' && options.log(message)),
      },
    );
  },
};

function modelDirectory(given: Arguments): string {
  const [directory, ...others] = given.texts;
  if (others.length > 0) throw new UsageError(`serve takes one model, not also '${others[0]}'`);
  const option = given.text('model');
  if (directory !== undefined && option !== undefined) {
    throw new UsageError(`--model and '${directory}' exclude each other`);
  }
  return directory ?? option ?? embeddedModel;
}

function readName(given: Arguments, directory: string): string {
  const name = given.text('name') ?? basename(resolve(directory));
  const problem = nameProblem(name);
  if (problem === undefined) return name;
  const whose = given.text('name') === undefined ? ', which is the name of its directory,' : '';
  throw new UsageError(`the name '${name}'${whose} ${problem}: give the model one with --name`);
}

function readHosts(given: Arguments): string[] {
  const hosts = given.list('host');
  // An empty one would be every address of this machine.
  if (hosts.includes('')) throw new UsageError('--host takes a name or an address');
  return hosts.length > 0 ? hosts : [host];
}

/** As a header Host has it, without a port. */
function readAllowedHost(name: string): string {
  const read = name.toLowerCase().replace(/\.$/, '');
  if (/^[^\s:/*]+$/.test(read) || isIPv6(read)) return read;
  throw new UsageError(`--allow-host takes a host name without a port, not '${name}'`);
}

function readOrigin(origin: string): string {
  if (origin === '*' || origin === 'null') return origin;
  if (URL.canParse(origin) && new URL(origin).origin === origin.toLowerCase()) {
    return origin.toLowerCase();
  }
  throw new UsageError(`--cors takes an origin such as https://app.example, not '${origin}'`);
}

function readLimits(given: Arguments): Limits {
  const body = given.bytes('max-body') ?? defaultLimits.body;
  if (body > largestBody) throw new UsageError(`--max-body is 256MiB at most`);
  return {
    body,
    characters: given.integer('max-characters', 1, largestBody) ?? defaultLimits.characters,
    texts: given.integer('max-texts', 1, 100000) ?? defaultLimits.texts,
    iterations: given.integer('max-iterations', 1, 100000) ?? defaultLimits.iterations,
  };
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
