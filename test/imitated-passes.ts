/**
 * An imitation of the engine that the scheduler gives its passes to: it runs one when the test says so, and keeps
 * what was in each. Time is counted in passes, so that the order of everything is exact.
 */
import { MaskPredictError } from '../lib/index.js';
import type { Source, Target } from '../lib/index.js';
import type { Sequence, TargetOutcome } from '../lib/scheduling/call.js';
import type {
  PassResult,
  PassRunner,
  PassView,
  SourcePlan,
  TargetPass,
} from '../lib/scheduling/passes.js';

/** The contents of a pass: names of sources that were encoded, and of targets. */
export interface Ran {
  sources: string[];
  targets: string[];
  rows: number;
}

export class ImitatedSource {
  disposed = false;
  constructor(
    readonly name: string,
    readonly bytes: number,
    readonly states: boolean,
  ) {}
  dispose(): void {
    this.disposed = true;
  }
}

interface Started {
  sources: SourcePlan[];
  targets: TargetPass[];
  resolve: (result: PassResult) => void;
  reject: (error: unknown) => void;
}

export class ImitatedPasses implements PassRunner {
  readonly ran: Ran[] = [];
  readonly sources: ImitatedSource[] = [];
  interruptions = 0;
  /** Bytes for sources; an id takes one. */
  memory = Infinity;
  /** Rows a pass has memory for. */
  mostRows = Infinity;
  /** What every pass ends with from now on. */
  failure: MaskPredictError | undefined;
  #started: Started | undefined;
  #cancelled = false;

  start(sources: SourcePlan[], targets: TargetPass[]) {
    if (this.#started) throw new Error('two passes at once');
    const promise = new Promise<PassResult>((resolve, reject) => {
      this.#started = { sources, targets, resolve, reject };
    });
    return { promise, id: this.ran.length };
  }

  interrupt(): void {
    this.interruptions++;
  }

  cancel(): void {
    this.#cancelled = true;
  }

  get busy(): boolean {
    return this.#started !== undefined;
  }

  /** Lets the pass end that was started, and the next one begin. Sources are named by their second id. */
  async pass(): Promise<Ran | undefined> {
    await settled();
    if (!this.#started) return undefined;
    const { sources, targets, resolve, reject } = this.#started;
    this.#started = undefined;
    const rows = [
      ...sources.map(({ ids }) => ids),
      ...targets.map(({ plan }) => plan.target),
    ].reduce((sum, { length }) => sum + length, 0);
    if (this.failure) {
      reject(this.failure);
      await settled();
      return { sources: [], targets: [], rows: 0 };
    }
    if (this.#cancelled || rows > this.mostRows) {
      const code = this.#cancelled ? 'ERR_CANCELLED' : 'ERR_OUT_OF_MEMORY';
      this.#cancelled = false;
      reject(new MaskPredictError(code as 'ERR_OUT_OF_MEMORY', 'imitated'));
      await settled();
      return { sources: [], targets: [], rows: 0 };
    }
    const ran: Ran = {
      sources: sources.map(({ ids }) => nameOf(ids)),
      targets: targets.map(({ plan }) => String((plan.target as unknown as Named).name)),
      rows,
    };
    this.ran.push(ran);
    resolve({
      passes: 1,
      sources: sources.map((source) => this.#encode(source)),
      passed: targets.map(({ passed }) => passed + 1),
      done: targets.map(({ plan, passed }) => passed + 1 === plan.iterations),
      views: targets.map(({ watched }) =>
        watched ? { tokens: new Int32Array(3), scores: new Float32Array(3) } : undefined,
      ) as PassView[],
    });
    await settled();
    return ran;
  }

  /** Passes until nothing is started any more. */
  async passes(most = 10_000): Promise<void> {
    for (let count = 0; (await this.pass()) !== undefined; count++) {
      if (count === most) throw new Error(`more than ${most} passes`);
    }
  }

  get bytes(): number {
    return this.sources.reduce((sum, { disposed, bytes }) => sum + (disposed ? 0 : bytes), 0);
  }

  #encode({ ids, states }: SourcePlan): ImitatedSource | Error {
    if (this.bytes + ids.length > this.memory) {
      return new MaskPredictError('ERR_OUT_OF_MEMORY', `no memory for ${nameOf(ids)}`);
    }
    this.sources.push(new ImitatedSource(nameOf(ids), ids.length, states));
    return this.sources.at(-1)!;
  }
}

interface Named {
  name: string;
}

const names: string[] = [];

function nameOf(ids: Int32Array): string {
  return names[ids[1]!]!;
}

/** All that was resolved has been seen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A sequence of `rows` source ids and targets of given lengths, all with T passes; its result is its name. */
export function sequence(
  name: string,
  { rows = 10, targets = [10], iterations = 2, states = true } = {},
): Sequence<string> & { encoded: Source[]; outcomes: TargetOutcome[] } {
  let number = names.indexOf(name);
  if (number < 0) number = names.push(name) - 1;
  const ids = new Int32Array(rows);
  ids[1] = number;
  return {
    ids,
    states,
    encoded: [],
    outcomes: [],
    targets(source) {
      this.encoded.push(source);
      return targets.map((length, index) => ({
        target: {
          length,
          name: targets.length > 1 ? `${name}.${index}` : name,
        } as unknown as Target,
        iterations,
      }));
    },
    result(outcomes) {
      this.outcomes = outcomes;
      return name;
    },
  };
}
