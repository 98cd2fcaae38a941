/**
 * A model's name becomes a directory: the name's own, or a snapshot of the hub in the cache that Python's huggingface_hub
 * uses, into which what is missing is fetched first.
 *
 * Node's own fetch does the requests. The package @huggingface/hub would do two of them, the commit and the list of
 * files, but its download into the cache has no resumption, lock, filter, check, progress or abort, writes names that
 * are not whole and sends what it does to the console, so it would be a dependency that replaces some forty lines.
 */
import { invalidArgument, MaskPredictError, shown } from '../errors.js';
import { directoryPath } from '../token/directory-path.js';
import { isCommit, RepositoryCache } from './cache.js';
import { Hub } from './hub.js';
import { fileOf, type HubFile, type Listing } from './listing.js';
import { readModelName } from './model-name.js';
import { neededFiles, shardsOf } from './needed-files.js';
import { Interruption, persist } from './persistence.js';
import { readHubSettings, type HubSettings, type ModelDirectoryOptions } from './settings.js';
import { transfer } from './transfer.js';
import { TransferRate } from './transfer-rate.js';

/** Failures in a row of a question, where nothing in the cache could be taken instead. */
const retries = 2;
/** Milliseconds between two reports. */
const reportInterval = 100;

/**
 * The directory of a model that is named by its path or `file:` URL, or as `owner/name` of the hub, from which its files are fetched
 * where the cache does not have them.
 *
 * A commit that is in the cache is taken without a question. Of a branch or a tag, `main` by default, the hub is asked
 * which commit it is; where it cannot be reached, the cached one is taken, and `logger` is told so.
 *
 * `ERR_HUB_NOT_FOUND`: no such model or revision. `ERR_HUB_ACCESS`: a token is needed, wrong, or not allowed.
 * `ERR_HUB_UNREACHABLE`: no network, or `offline`, and not in the cache. `ERR_HUB_CONTENT`: what came is not what the hub
 * lists. `ERR_CACHE`: the cache cannot be written. `ERR_MODEL_FORMAT`: the repository is not a model.
 */
export async function modelDirectory(
  name: string | URL,
  options: ModelDirectoryOptions = {},
): Promise<string> {
  if (typeof name !== 'string' && !(name instanceof URL)) {
    throw invalidArgument(
      'the model must be a string, the path of a directory or owner/name of the hub, or a file: URL',
    );
  }
  const settings = readHubSettings(options);
  const read = typeof name === 'string' ? readModelName(name) : { directory: name };
  if ('repository' in read) return snapshotOf(read.repository, settings, options);
  if (options.revision === undefined) return directoryPath(read.directory);
  throw invalidArgument(
    `revision is for models of the hub; ${shown(String(name))} is read as the path of a directory`,
  );
}

/** @internal The directory of a model of the hub. */
export async function snapshotOf(
  repository: string,
  settings: HubSettings,
  options: ModelDirectoryOptions,
): Promise<string> {
  options.signal?.throwIfAborted();
  try {
    return await new Fetching(repository, settings, options).run();
  } catch (error) {
    const known = error instanceof MaskPredictError ? error : undefined;
    if (!known && !(error instanceof Interruption)) throw error;
    const code = known?.code ?? 'ERR_HUB_UNREACHABLE';
    const reason =
      known?.message ??
      `${(error as Error).message}; see whether there is a network, and try again`;
    const place = settings.offline ? 'a model of the hub' : `a model of ${settings.endpoint}`;
    throw new MaskPredictError(
      code,
      `there is no directory ${repository}; and as ${place}: ${reason}`,
      { cause: error },
    );
  }
}

class Fetching {
  readonly #settings: HubSettings;
  readonly #options: ModelDirectoryOptions;
  readonly #cache: RepositoryCache;
  readonly #hub: Hub;

  constructor(repository: string, settings: HubSettings, options: ModelDirectoryOptions) {
    this.#settings = settings;
    this.#options = options;
    this.#cache = new RepositoryCache(settings.cache, repository, settings.symlinks);
    this.#hub = new Hub(settings, repository, options.signal);
  }

  async run(): Promise<string> {
    const { offline, revision } = this.#settings;
    const cached = await this.#cache.commitOf(revision);
    const listing = cached === undefined ? undefined : await this.#cache.listing(cached);
    const usable = cached !== undefined && (await this.#isWhole(cached, listing));
    if (offline) {
      if (usable) return this.#cache.snapshot(cached);
      throw await this.#notCached(cached);
    }
    if (usable && listing && isCommit(revision)) return this.#cache.snapshot(cached);
    try {
      return await this.#update(usable ? 0 : retries);
    } catch (error) {
      if (!usable) throw error;
      if (error instanceof MaskPredictError) {
        const offer = `the cache has its commit ${cached}, which is taken offline (the option offline)`;
        throw new MaskPredictError(error.code, `${error.message}; ${offer}`, { cause: error });
      }
      if (!(error instanceof Interruption)) throw error;
      this.#warn(`${error.message}; the cached commit ${cached} of ${revision} is taken`);
      return this.#cache.snapshot(cached);
    }
  }

  /** The snapshot of the commit that the revision is at now, after everything that is missing came. */
  async #update(retries: number): Promise<string> {
    const { revision, pause } = this.#settings;
    const { signal } = this.#options;
    const ask = <T>(question: () => Promise<T>) => persist({ retries, pause, signal }, question);
    const commit = isCommit(revision) ? revision : await ask(() => this.#hub.commit());
    let listing = await this.#cache.listing(commit);
    const known = listing !== undefined;
    listing ??= await ask(() => this.#hub.list(commit));
    await this.#fetchMissing(commit, listing);
    try {
      // Last, so that neither names something that is not there; and the model is there without them.
      if (!known) await this.#cache.rememberListing(commit, listing);
      await this.#cache.rememberCommit(revision, commit);
    } catch (error) {
      if (!(error instanceof MaskPredictError)) throw error;
      this.#warn(error.message);
    }
    return this.#cache.snapshot(commit);
  }

  async #fetchMissing(commit: string, listing: Listing): Promise<void> {
    const { files, index } = neededFiles(listing.keys());
    if (index !== undefined) await this.#fetch(commit, [fileOf(listing, index)], () => {});
    const shards = index === undefined ? [] : await this.#shards(commit, index);
    for (const shard of shards) {
      if (!listing.has(shard)) {
        throw new MaskPredictError(
          'ERR_MODEL_FORMAT',
          `its ${index} names ${shard}, which the repository does not have`,
        );
      }
    }
    const report = this.#options.onProgress ?? (() => {});
    await this.#fetch(
      commit,
      [...files, ...shards].map((name) => fileOf(listing, name)),
      report,
    );
  }

  async #fetch(
    commit: string,
    files: HubFile[],
    report: NonNullable<ModelDirectoryOptions['onProgress']>,
  ): Promise<void> {
    const missing: HubFile[] = [];
    for (const file of files) {
      if (!(await this.#cache.has(commit, file.name, file.size))) missing.push(file);
    }
    if (missing.length === 0) return;
    await this.#checkSpace(missing);
    const total = missing.reduce((sum, { size }) => sum + size, 0);
    const rate = new TransferRate();
    let done = 0;
    let reported = 0;
    for (const file of missing) {
      await transfer(file, {
        hub: this.#hub,
        cache: this.#cache,
        commit,
        pause: this.#settings.pause,
        signal: this.#options.signal,
        report: (here) => {
          const now = performance.now();
          const bytes = done + here;
          const perSecond = rate.measure(bytes, now);
          if (now - reported < reportInterval && bytes < total) return;
          reported = now;
          report(bytes / total, { file: file.name, bytes, total, rate: perSecond });
        },
      });
      done += file.size;
    }
  }

  /** Checks the space for what is still to come; what has come already may be there as a blob or as a part. */
  async #checkSpace(missing: HubFile[]): Promise<void> {
    let bytes = 0;
    for (const file of missing) {
      if (!(await this.#cache.hasBlob(file))) {
        bytes += file.size - (await this.#cache.partialSize(file));
      }
    }
    await this.#cache.checkSpace(bytes);
  }

  async #shards(commit: string, index: string): Promise<string[]> {
    return shardsOf(index, await this.#cache.readFile(commit, index));
  }

  /** True if the cache has all needed files of a commit; without a listing, all files that every model must have. */
  async #isWhole(commit: string, listing: Listing | undefined): Promise<boolean> {
    const has = (name: string) =>
      this.#cache.has(commit, name, listing?.has(name) ? fileOf(listing, name).size : undefined);
    const all = async (names: string[]) => {
      for (const name of names) if (!(await has(name))) return false;
      return true;
    };
    const names = listing ? [...listing.keys()] : await this.#cache.names(commit);
    try {
      const { files, index } = neededFiles(names);
      if (!(await all(files))) return false;
      return index === undefined || (await all(await this.#shards(commit, index)));
    } catch (error) {
      if (error instanceof MaskPredictError) return false;
      throw error;
    }
  }

  #warn(message: string): void {
    this.#options.logger?.('warn', message);
  }

  async #notCached(commit: string | undefined): Promise<MaskPredictError> {
    const { cache, revision } = this.#settings;
    const partly = commit !== undefined && (await this.#cache.names(commit)).length > 0;
    return new MaskPredictError(
      'ERR_HUB_UNREACHABLE',
      `the cache ${cache} has ${partly ? 'not all of' : 'nothing of'} its revision ${shown(revision)}, and nothing is ` +
        `fetched offline (the option offline, HF_HUB_OFFLINE)`,
    );
  }
}
