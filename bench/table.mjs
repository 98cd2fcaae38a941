// Tables for people: Markdown with columns as wide as their widest cell, numbers to the right.

/** `rows` of cells under `columns`, one string. Cells that begin with a number are aligned to the right. */
export function table(columns, rows) {
  const all = [columns, ...rows].map((cells) => cells.map(String));
  const widths = columns.map((_, i) => Math.max(3, ...all.map((cells) => [...cells[i]].length)));
  const line = (cells) =>
    `| ${cells.map((cell, i) => (/^[\d.]+(?!\w)/.test(cell) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(all[0]), rule, ...all.slice(1).map(line)].join('\n');
}

/** A median and its quartiles with `digits` after the point, and a unit if there is one. */
export function withQuartiles({ median, low, high }, digits, unit = '') {
  const text = (value) => value.toFixed(digits);
  return `${text(median)}${unit && ` ${unit}`} (${text(low)}–${text(high)})`;
}

export const mebibytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;
