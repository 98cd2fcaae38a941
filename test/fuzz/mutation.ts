/** Random changes that hold for any kind of file, and the numbers worth trying. */
import type { Random } from '../reference/random.js';

/** Around every limit that an offset, a size or a shape meets; bigints are beyond what a double holds exactly. */
const edges = [0n, 1n, 2n, 8n, 64n, 128n, 255n, 509n, 2n ** 16n, 2n ** 20n, 2n ** 24n].concat(
  [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 62n, 2n ** 63n, 2n ** 64n, 10n ** 30n].flatMap((edge) => [
    edge - 1n,
    edge,
    edge + 1n,
  ]),
);

export function edgeNumber(random: Random): bigint {
  const edge = random.choice(edges);
  return random.uniform() < 0.2 ? -edge : edge;
}

/** One to eight changes of bytes: replaced, inserted, removed, doubled, moved, or the end cut off. */
export function mutateBytes(random: Random, bytes: Buffer): Buffer {
  let result = bytes;
  for (let changes = random.integer(1, 8); changes > 0; changes--) {
    const at = random.integer(0, result.length);
    const length = Math.min(random.integer(1, 16), result.length - at);
    const before = result.subarray(0, at);
    const part = result.subarray(at, at + length);
    const after = result.subarray(at + length);
    const values = Array.from({ length: random.integer(1, 8) }, () =>
      random.choice([0, 1, 127, 128, 255, random.integer(0, 255)]),
    );
    result = Buffer.concat(
      random.choice([
        [before, Buffer.from(values.slice(0, length)), result.subarray(at + values.length)],
        [before, Buffer.from(values), part, after],
        [before, after],
        [before, part, part, after],
        [part, before, after],
        random.uniform() < 0.2 ? [before] : [before, part, after],
      ]),
    );
  }
  return result;
}

/** JSON text of a value in which bigints are numbers as they are written, however large. */
export function jsonText(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(jsonText).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([key, member]) => [key, jsonText(member)]);
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${member}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
