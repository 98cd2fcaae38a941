/** The sources that the checkpoints of test/fixtures come with, and the lengths of their targets. */
import { readFileSync } from 'node:fs';

/** Row `row` of a padded id matrix, without its padding. */
function withoutPadding(ids, width, row) {
  return ids.slice(row * width, (row + 1) * width).filter((id) => id !== 1);
}

/** `[{ ids, length }]`: sources and target lengths of a checkpoint of test/fixtures. */
export function problemsOf(directory) {
  const file = readFileSync(`${directory}/expected.safetensors`);
  const size = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + size));
  const tensor = (name) => {
    const [begin, end] = header[name].data_offsets;
    return new Int32Array(
      file.buffer.slice(file.byteOffset + 8 + size + begin, file.byteOffset + 8 + size + end),
    );
  };
  const [count, width] = header.source_ids.shape;
  const ids = tensor('source_ids');
  const lengths = tensor('decode_lengths');
  return Array.from({ length: count }, (_, i) => ({
    ids: withoutPadding(ids, width, i),
    length: lengths[i],
  }));
}
