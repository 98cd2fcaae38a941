/** How far prompts differ: the main measure of each, a line for each way of asking. */
import { lineChart } from '../../line-chart.js';
import type { Evaluation } from './evaluate.js';
import { measureOf } from './measures.js';

/** @internal */
export function promptsChart({ task, cells, prompts, model }: Evaluation): string {
  const [measure] = task.measures;
  const names = [...new Set(prompts.map(({ name }) => name))];
  const groups = [...new Set(cells.map(({ group }) => group))];
  const counted = cells.filter(({ prompt, way }) =>
    prompts.some((one) => one.name === prompt && one.way === way && one.counts),
  );
  // If there are more lines than fit into a legend, one line shows their mean.
  const several = groups.length <= 6 ? groups : [];
  const pointsOf = (own: typeof cells) =>
    names.flatMap((name, i) => {
      const scores = own
        .filter(({ prompt }) => prompt === name)
        .map(({ scores }) => scores[measure!]!);
      if (scores.length === 0) return [];
      return [[i + 1, scores.reduce((sum, one) => sum + one, 0) / scores.length] as const];
    });
  return lineChart({
    title: `${task.title}: prompts`,
    subtitle: model ? `${model.name}, ${model.precision}` : 'answers of another system',
    x: { label: 'prompt', ticks: names.map((name, i) => ({ at: i + 1, text: name })) },
    y: { label: measureOf(measure!).title },
    lines:
      several.length > 0
        ? several.map((group) => ({
            name: group,
            points: pointsOf(counted.filter((cell) => cell.group === group)),
            joined: false,
          }))
        : [{ name: `mean of ${groups.length} groups`, points: pointsOf(counted), joined: false }],
  });
}
