// One set of programs, each alive in its own process, job by job in turn: what slows the machine down for a while
// then slows all of them down, and a ratio of two jobs of one round is worth more than two medians.
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Contestant } from '../contestant.mjs';
import { busyTime } from '../machine.mjs';
import { titleOf } from './rows.mjs';

const trials = 3; // jobs with each setting, of which the fastest counts

/** The rows in another order each round: the one before a row, and the beginning, change. */
function inOrder(list, round) {
  const first = round % list.length;
  const turned = [...list.slice(first), ...list.slice(0, first)];
  return round % 2 === 0 ? turned : turned.reverse();
}

/**
 * Until a program that did its job is still: the threads of some runtimes turn on the spot for a while in case there
 * is more to do. That makes them quicker between their own passes, and would cost the next program time.
 */
async function stillness(contestant) {
  for (let waited = 0; waited < 20; waited++) {
    const before = contestant.processorTime();
    await sleep(50);
    if (contestant.processorTime() === before) return;
  }
}

/** Starts a program and lets it do its first job, in which memory is taken and kernels are chosen. */
async function started(row, setting, shape) {
  const contestant = await Contestant.start(row.program, [...row.args, ...setting.args]);
  try {
    await contestant.job(shape);
    await stillness(contestant);
    return contestant;
  } catch (error) {
    await contestant.stop();
    throw error;
  }
}

/** The setting a program does a job quickest with, each tried alone. */
async function bestSetting(row, shape) {
  if (row.settings.length === 1) return row.settings[0];
  const times = new Map();
  for (const setting of row.settings) {
    const contestant = await started(row, setting, shape);
    const jobs = [];
    for (let i = 0; i < trials; i++) jobs.push((await contestant.job(shape)).ms);
    times.set(Math.min(...jobs), setting);
    await contestant.stop();
  }
  return times.get(Math.min(...times.keys()));
}

/**
 * Measures rows together: `results` has `{ row, setting, ms: [per round], tokens, peak, loadMs, idle }` for each that
 * ran to the end, and `{ row, reason }` for each that did not. `idle` is the part of a processor that a program used while
 * others had their turn, `others` the part of all processors that programs outside the set used meanwhile.
 */
export async function measure(rows, shape, rounds, progress) {
  const running = [];
  const failed = [];
  const attempt = async (entry, work) => {
    try {
      await work();
      return true;
    } catch (error) {
      failed.push({ row: entry.row, reason: error.message });
      await entry.contestant?.stop();
      return false;
    }
  };
  const withoutFailed = () => running.filter(({ row }) => failed.every((one) => one.row !== row));

  for (const row of rows) {
    const entry = { row, ms: [], own: 0 };
    progress(`choosing settings and starting ${titleOf(row)}`);
    const ready = await attempt(entry, async () => {
      const setting = await bestSetting(row, shape);
      entry.setting = setting.name;
      entry.contestant = await started(row, setting, shape);
    });
    if (ready) running.push(entry);
  }

  for (const entry of running) entry.before = entry.contestant.processorTime();
  const busyBefore = busyTime();
  const begun = performance.now();
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const entry of inOrder(withoutFailed(), round)) {
      await attempt(entry, async () => {
        const used = entry.contestant.processorTime();
        const { ms, tokens } = await entry.contestant.job(shape);
        await stillness(entry.contestant);
        entry.own += entry.contestant.processorTime() - used;
        entry.ms.push(ms);
        entry.tokens = tokens;
      });
    }
  }
  const elapsed = performance.now() - begun;
  const busyNow = busyTime() - busyBefore;

  const results = [];
  let used = 0;
  for (const { row, setting, ms, own, tokens, before, contestant } of withoutFailed()) {
    const total = contestant.processorTime() - before;
    used += total;
    const waiting = elapsed - ms.reduce((sum, one) => sum + one, 0);
    const { loadMs } = contestant.description;
    const peak = contestant.peakMemory();
    results.push({ row, setting, ms, tokens, peak, loadMs, idle: (total - own) / waiting });
    await contestant.stop();
  }
  const possible = elapsed * availableParallelism();
  const others = results.length > 0 ? Math.max(0, busyNow - used) / possible : 0;
  return { results, failed, others };
}
