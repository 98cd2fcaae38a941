// An autoregressive model in a process of its own, asked line by line (main.cpp says how).
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * Starts `program` on a model: `architecture` ('decoder-only' or 'encoder-decoder'), `precision`, `threads`, `seed`
 * and the sizes of the encoder-only model to be as large as. Resolves, when the weights are there, to what was made,
 * with `generate(prompts, length, { logits })` and `close()`. An answer that is an error, or none, rejects.
 */
export async function startAutoregressive(program, model) {
  const child = spawn(program, [JSON.stringify(model)], { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (data) => (complaint += data));
  child.stdin.on('error', () => {}); // the process is gone: the missing answer says so
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  async function answer() {
    const { value, done } = await lines.next();
    if (done) {
      const code = await ended;
      throw new Error(complaint.trim() || `${program} ended with code ${code}`);
    }
    const parsed = JSON.parse(value);
    if (parsed.error !== undefined) throw new Error(`${model.architecture}: ${parsed.error}`);
    return parsed;
  }
  return {
    ...(await answer()),
    generate(prompts, length, { logits = false } = {}) {
      child.stdin.write(`${JSON.stringify({ prompts, length, logits })}\n`);
      return answer();
    },
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}
