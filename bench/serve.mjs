// The output of a program that is measured in a process of its own: one line of JSON when it is ready, then one for
// each line it reads. bench/contestant.mjs is the other side.
import { createInterface } from 'node:readline';

/**
 * `job({ batch, iterations })` prepares a job and resolves to a function that runs it, once, and resolves to what
 * there is to say about it (`tokens`, `[batch][length]`, if there are any); only that function is timed.
 */
export async function serve(description, job) {
  const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  say(description);
  for await (const line of createInterface({ input: process.stdin })) {
    const run = await job(JSON.parse(line));
    const begun = performance.now();
    const { tokens = [], ...rest } = await run();
    const ms = performance.now() - begun;
    say({ ms, tokens: tokens.map((row) => Array.from(row)), ...rest });
  }
}
