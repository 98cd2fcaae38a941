// The results as text: every cell, then for each T and opponent the grid of ratios and the crossovers.
import { crossover, ratio } from './results.mjs';

const times = (value) => `${value.toFixed(value < 10 ? 2 : 1)}×`;

function cellLines(result) {
  const title = `${result.length} tokens, batch ${result.batch}`;
  if (!result.models) return [`${title}: not measured`];
  return [
    `${title} (${result.rounds} ${result.rounds === 1 ? 'round' : 'rounds'})`,
    ...result.models.map(({ name, tokensPerSecond, speedUp, expected, overFloor, token }) => {
      const { median, low, high } = tokensPerSecond;
      const rate = `${median.toFixed(1)} (${low.toFixed(1)}–${high.toFixed(1)})`;
      const floors = expected
        ? `  floors say ${times(expected).padStart(6)}  ${overFloor.toFixed(2)} of its floor`
        : '';
      const read = token?.overReading
        ? `, ${token.overReading.toFixed(2)} of reading the weights`
        : '';
      const step = token ? `; a token ${token.ms.toFixed(1)} ms${read}` : '';
      return `  ${name.padEnd(22)} ${rate.padStart(26)} tokens/s  ${times(speedUp).padStart(6)}${floors}${step}`;
    }),
  ];
}

function gridLines(results, lengths, batches, name, other) {
  const row = (first, cells) =>
    [first.padStart(8), ...cells.map((text) => text.padStart(16))].join('');
  return [
    `${name}, over ${other}: measured (from the floors)`,
    row(
      'tokens',
      batches.map((batch) => `batch ${batch}`),
    ),
    ...lengths.map((length) =>
      row(
        String(length),
        batches.map((batch) => {
          const found = results.find((cell) => cell.length === length && cell.batch === batch);
          const value = ratio(found, name, other);
          if (!value) return '–';
          return times(value.measured) + (value.expected ? ` (${times(value.expected)})` : '');
        }),
      ),
    ),
  ];
}

function crossoverLine(results, length, name, other) {
  const found = crossover(
    results.filter((cell) => cell.length === length),
    name,
    other,
  );
  const where = !found
    ? 'not measured'
    : found.between
      ? `batch ${found.batch.toFixed(1)} (interpolated between the measured ${found.between.join(' and ')})`
      : found.below
        ? `slower from batch ${found.below}, the smallest measured, on`
        : `not reached at batch ${found.above}, the largest measured`;
  return `  ${length} tokens: ${where}`;
}

export function asText(results, { lengths, batches, ours, opponents }) {
  const lines = results.flatMap(cellLines);
  for (const name of ours) {
    for (const other of opponents) {
      lines.push('', ...gridLines(results, lengths, batches, name, other));
      lines.push(`stops winning over ${other} at`);
      for (const length of lengths) lines.push(crossoverLine(results, length, name, other));
    }
  }
  return lines.join('\n');
}
