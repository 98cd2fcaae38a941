/**
 * A model that the command line names becomes a directory: its own, or that of a model of the hub, with a bar and the rate
 * on a terminal while files are fetched.
 */
import { modelDirectory } from '../hub/model-directory.js';
import type { Transfer } from '../hub/settings.js';
import type { Arguments } from './arguments.js';
import { Progress, type Surroundings } from './output.js';

export const hubHelp = `  --revision NAME     of a model of the hub: a branch, tag or commit (default: main)
  --cache DIR         for models of the hub (default: the one Python's libraries use)
  --offline           take a model of the hub from the cache, without any network
`;

/** The token is not an option, because everybody on a machine sees its command lines: HF_TOKEN, or a login's file. */
export async function fetchModel(
  name: string,
  given: Arguments,
  { stderr, signal }: Surroundings,
): Promise<string> {
  const progress = new Progress(stderr);
  const width = (stderr as { columns?: number }).columns ?? 80;
  try {
    return await modelDirectory(name, {
      revision: given.text('revision'),
      cache: given.text('cache'),
      ...(given.has('offline') && { offline: true }),
      signal,
      logger: (level, message) => {
        progress.clear();
        if (level === 'warn') stderr.write(`mask-predict: ${message}\n`);
      },
      onProgress: (_, transfer) => progress.show(transferLine(transfer, width)),
    });
  } finally {
    progress.clear();
  }
}

/** `model.safetensors [########        ]  43% of 1130.2 MiB, 35.1 MiB/s, 0:18 left`, one column shorter than the terminal. */
export function transferLine({ file, bytes, total, rate }: Transfer, width: number): string {
  const part = bytes / total;
  const percent = `${Math.floor(100 * part)}%`.padStart(4);
  const left = rate > 0 ? `, ${clock((total - bytes) / rate)} left` : '';
  const numbers = `${percent} of ${mebibytes(total)}, ${mebibytes(rate)}/s${left}`;
  const columns = width - 1 - numbers.length;
  const bar = Math.min(30, columns - file.length - 4);
  if (bar >= 8) {
    const full = Math.round(bar * part);
    return `${file} [${'#'.repeat(full)}${' '.repeat(bar - full)}] ${numbers}`;
  }
  return numbers.slice(0, width - 1);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function clock(seconds: number): string {
  const whole = Math.min(Math.ceil(seconds), 359_999);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const padded = (value: number) => String(value).padStart(2, '0');
  const rest = padded(whole % 60);
  return hours > 0 ? `${hours}:${padded(minutes)}:${rest}` : `${minutes}:${rest}`;
}
