// The results of measurements, in a file that later runs add to.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A short name for the contents of files: measurements of two builds do not belong together. */
export function digestOf(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

const keyOf = ({ length, batch }) => `${length}x${batch}`;

export class Record {
  #file;
  #content;

  /**
   * Opens `file` or begins it. `setting` is everything that figures in it must have in common; an Error names what
   * differs.
   */
  constructor(file, setting) {
    this.#file = file;
    this.#content = { setting, limits: null, cells: {} };
    let text;
    try {
      text = readFileSync(file, 'utf8');
    } catch {
      return;
    }
    this.#content = JSON.parse(text);
    for (const [name, value] of Object.entries(setting)) {
      const other = this.#content.setting[name];
      if (JSON.stringify(other) !== JSON.stringify(value))
        throw new Error(
          `${file} was measured with ${name} ${JSON.stringify(other)}, this run has ${JSON.stringify(value)}; ` +
            'name another file with --results, or delete it',
        );
    }
  }

  /** The machine's limits: the best that any run saw of each. */
  limits(measured) {
    const known = this.#content.limits;
    if (measured)
      this.#content.limits = Object.fromEntries(
        Object.entries(measured).map(([name, value]) => [
          name,
          Math.max(value, known?.[name] ?? 0),
        ]),
      );
    return this.#content.limits;
  }

  /** Rounds of a cell: `{ name: { ms, tokenMs } }` each. */
  rounds(cell) {
    return this.#content.cells[keyOf(cell)] ?? [];
  }

  add(cell, round) {
    (this.#content.cells[keyOf(cell)] ??= []).push(round);
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(`${this.#file}.new`, `${JSON.stringify(this.#content, null, 1)}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
