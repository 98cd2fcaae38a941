// A line chart with two logarithmic axes (powers of two), as SVG text.

const width = 720;
const height = 440;
const frame = { left: 70, right: 20, top: 92, bottom: 60 };

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const round = (value) => value.toFixed(1);

/** Powers of two that enclose all values. */
function powersAround(values) {
  const low = Math.floor(Math.log2(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log2(Math.max(...values))));
  return Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));
}

/**
 * `series`: `{ name, color, dashed, points: [[x, y]...] }`, x and y above 0. `ticks`: the values marked on the x axis.
 * A dashed series has no markers and no entry of its own in the legend.
 */
export function lineChart({ title, subtitle, xLabel, yLabel, ticks, series }) {
  const drawn = series.filter(({ points }) => points.length > 0);
  const yTicks = powersAround([1, ...drawn.flatMap(({ points }) => points.map(([, y]) => y))]);
  const place = (value, from, to, begin, end) =>
    begin + ((end - begin) * Math.log2(value / from)) / (Math.log2(to / from) || 1);
  const right = width - frame.right;
  const bottom = height - frame.bottom;
  const x = (value) =>
    place(value, Math.min(...ticks), Math.max(...ticks), frame.left + 20, right - 20);
  const y = (value) => place(value, yTicks[0], yTicks.at(-1), bottom, frame.top);
  const text = (at, content, more = '') =>
    `<text x="${round(at[0])}" y="${round(at[1])}" ${more}>${escape(content)}</text>`;

  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
      'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text([frame.left, 26], title, 'font-size="16" font-weight="600"'),
    text([frame.left, 46], subtitle, 'fill="#666" font-size="12"'),
  ];
  for (const tick of yTicks) {
    const at = round(y(tick));
    const strong = tick === 1 ? 'stroke="#888" stroke-width="1.5"' : 'stroke="#ddd"';
    lines.push(`<line x1="${frame.left}" x2="${right}" y1="${at}" y2="${at}" ${strong}/>`);
    const label = tick >= 1 ? `${tick}×` : `1/${1 / tick}×`;
    lines.push(text([frame.left - 8, y(tick) + 4], label, 'text-anchor="end"'));
  }
  for (const tick of ticks) {
    const at = round(x(tick));
    lines.push(`<line x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}" stroke="#888"/>`);
    lines.push(text([x(tick), bottom + 20], String(tick), 'text-anchor="middle"'));
  }
  lines.push(text([(frame.left + right) / 2, height - 16], xLabel, 'text-anchor="middle"'));
  const middle = (frame.top + bottom) / 2;
  lines.push(
    text([18, middle], yLabel, `text-anchor="middle" transform="rotate(-90 18 ${middle})"`),
  );

  for (const { color, dashed, points } of drawn) {
    const path = points.map(([a, b]) => `${round(x(a))},${round(y(b))}`).join(' ');
    const style = dashed ? 'stroke-dasharray="5 4" stroke-width="1.2"' : 'stroke-width="2.2"';
    lines.push(`<polyline points="${path}" fill="none" stroke="${color}" ${style}/>`);
    if (dashed) continue;
    for (const [a, b] of points)
      lines.push(`<circle cx="${round(x(a))}" cy="${round(y(b))}" r="3.5" fill="${color}"/>`);
  }
  const entries = series.filter(({ dashed }) => !dashed);
  entries.forEach(({ name, color }, i) => {
    const left = frame.left + (i * (right - frame.left)) / entries.length;
    lines.push(
      `<line x1="${round(left)}" x2="${round(left + 22)}" y1="68" y2="68" stroke="${color}" stroke-width="3"/>`,
    );
    lines.push(text([left + 28, 72], name));
  });
  return `${lines.join('\n')}\n</svg>\n`;
}
