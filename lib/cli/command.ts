/** Code that the commands share: their shape, the model they load, and the help on its options. */
import { embeddedModel } from '../bundled-models.js';
import type { ModelOptions } from '../text/loading.js';
import { MaskPredict } from '../text/mask-predict.js';
import type { Arguments } from './arguments.js';
import { fetchModel, hubHelp } from './fetch-model.js';
import { Progress, type Surroundings } from './output.js';

export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** The whole help text. */
  help: string;
  /** Throws a UsageError for wrong arguments, an OutputClosed when nobody reads, else the API's errors. */
  run(given: readonly string[], surroundings: Surroundings): Promise<void>;
}

export const modelHelp = `Options for the model:
  --model NAME        directory with config.json, model.safetensors and
                      sentencepiece.bpe.model, owner/name of the Hugging Face hub, or
                      one that comes with mask-predict: numbers, which knows those from
                      0 to 9999 (the default), or translate, from English to German
${hubHelp}  --device NAME       auto, cpu, cuda, cuda:N or cuda:UUID (default: auto)
  --devices LIST      several GPUs, such as cuda:0,cuda:1; each holds the whole model
  --precision NAME    auto, fp32, bf16, fp16, int8 or fp8: how weights are kept
                      (default: auto)
  --head-precision NAME  those of the LM head alone (default: as --precision says)
  --threads N         (default: one per available processor)
  --memory-limit SIZE such as 4GiB; more is never used, of each device (default: what
                      is available)
  --no-map            read the model's files instead of mapping them, where somebody
                      may change them in place
`;

export const textHelp = `  --parse-special     read <mask>, <s> and the like in texts as special tokens
  --no-truncate       refuse a text that is too long instead of cutting it
`;

/**
 * Loads a model, that of the options where no name is given, and closes it whatever happens in `use`,
 * which is told what loading warned of. `more`: options that are not those of every command.
 */
export async function withModel(
  given: Arguments,
  surroundings: Surroundings,
  use: (model: MaskPredict, warnings: string[]) => Promise<void>,
  name: string = given.text('model') ?? embeddedModel,
  more: ModelOptions = {},
): Promise<void> {
  const { stderr, signal } = surroundings;
  const directory = await fetchModel(name, given, surroundings);
  const progress = new Progress(stderr);
  const warnings: string[] = [];
  const options: ModelOptions = {
    ...given.engineOptions(),
    logger: (level, message) => void (level === 'warn' && warnings.push(message)),
    ...more,
    signal,
    onProgress: (fraction: number) => {
      progress.show(`loading the model: ${Math.round(100 * fraction)}%`);
    },
  };
  let model: MaskPredict;
  try {
    model = await MaskPredict.load(directory, options);
  } finally {
    progress.clear();
  }
  try {
    await use(model, warnings);
  } finally {
    await model.close();
  }
}
