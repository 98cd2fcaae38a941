// The parts of run.mjs and readings.mjs that are alike: they choose the rows that can be measured, compare each with this
// package, and print and keep the results.
import { writeFileSync } from 'node:fs';
import { spread } from '../machine.mjs';
import { withQuartiles } from '../table.mjs';
import { versionOf } from './packages.mjs';
import { titleOf } from './rows.mjs';

export function checkSize(size, sizes) {
  if (sizes.includes(size)) return;
  const measured = sizes.filter((one) => !isForRehearsal(one));
  throw new Error(`--size ${size}: ${measured.join(' or ')}`);
}

const isForRehearsal = (size) => size.endsWith('tiny');

/** A test of rows: true if the title contains one of the words of --only, or if --only is not given. */
export function chosenBy(only) {
  const words = only?.split(',') ?? [''];
  return (row) => words.some((word) => titleOf(row).includes(word));
}

/** The rows whose models and packages are there or can be had; `leaveOut` is told of the others, and why. */
export function preparedRows(rows, leaveOut) {
  return rows.filter((row) => {
    try {
      row.prepare();
      return true;
    } catch (error) {
      leaveOut({ row, reason: error.message });
      return false;
    }
  });
}

/** Results of one measurement, each with the quartiles of its times over ours at the same precision, round by round. */
export function withRatios(results) {
  return results.map((result) => {
    const ours = results.find(({ row }) => !row.peer && row.precision === result.row.precision);
    const ratios = ours && result.ms.map((ms, round) => ms / ours.ms[round]);
    return { ...result, ratio: ratios && spread(ratios) };
  });
}

/** Milliseconds, and times ours. */
export function timeCells({ row, ms, ratio }, size) {
  const times = !ratio ? '–' : row.peer ? withQuartiles(ratio, 2) : '1';
  return [withQuartiles(spread(ms), isForRehearsal(size) ? 2 : 0), times];
}

export function leftOutNote({ row, reason, what }) {
  return `${titleOf(row)}${what ? ` (${what})` : ''}: not available: ${reason}`;
}

/** The peers that were measured, and a note of their versions if there are any. */
export function peersOf(measured) {
  const known = ['onnxruntime', 'transformers', 'llama'];
  const peers = known.filter((peer) => measured.some(({ row }) => row.peer === peer));
  return { peers, notes: peers.length > 0 ? [`peers: ${peers.map(versionOf).join(', ')}`] : [] };
}

export function printNotes(notes) {
  console.log(`\n${notes.map((note) => `- ${note}`).join('\n')}`);
}

/** The fields of a measured row that a record has of every one. */
export function recordOf({ row, ms, tokens: _, ...rest }) {
  return { program: row.name, weights: row.stored, spread: spread(ms), ms, ...rest };
}

export function writeRecord(file, record) {
  writeFileSync(file, JSON.stringify({ date: new Date().toISOString(), ...record }, null, 1));
}
