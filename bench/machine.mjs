// A description of the machine, and its limits: measured by bench/native/peak.c, so that every benchmark can say which
// fraction of the machine's own limit it reached. Needs a C compiler and AVX2; without them: null.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../build/bench', import.meta.url));

/** Compiles bench/native/NAME.c if it is newer than its binary; the binary's path, or null without a compiler. */
export function compiled(name) {
  const source = fileURLToPath(new URL(`native/${name}.c`, import.meta.url));
  const binary = `${folder}/${name}`;
  mkdirSync(folder, { recursive: true });
  const age = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  try {
    if (age(binary) < age(source)) {
      execFileSync('cc', ['-O3', '-march=native', '-pthread', source, '-o', binary, '-lm'], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    }
    return binary;
  } catch {
    return null;
  }
}

/** The output of a compiled program as JSON, or null if it cannot run here. */
export function measured(binary, args) {
  if (binary === null) return null;
  try {
    return JSON.parse(execFileSync(binary, args.map(String), { encoding: 'utf8' }));
  } catch {
    return null;
  }
}

/**
 * `{ gflops, bf16, gops, gbs }`: fp32 FMA, dot products of bfloat16 (undefined without AVX512-BF16) and of int8, and read
 * bandwidth, with `threads` threads; or null.
 */
export function limits(threads) {
  const peak = measured(compiled('peak'), [threads]);
  if (!peak) return null;
  const { fma_gflops: gflops, bf16_gflops: bf16, int8_gops: gops, read_gbs_huge: gbs } = peak;
  return { gflops, bf16, gops, gbs };
}

/** The arithmetic peak of products in a precision, in 10⁹ operations per second. */
export function peakOf(limit, precision) {
  if (precision === 'int8') return limit.gops;
  return precision === 'bf16' ? (limit.bf16 ?? limit.gflops) : limit.gflops;
}

export function describeMachine(threads) {
  const limit = limits(threads);
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const rates = limit
    ? `; with ${threads} threads ${limit.gflops.toFixed(0)} GFLOP/s fp32, ${limit.bf16 ? `${limit.bf16.toFixed(0)} bf16, ` : ''}${limit.gops.toFixed(0)} GOP/s int8, ${limit.gbs.toFixed(1)} GB/s read`
    : '; limits not measured (needs cc and AVX2)';
  return {
    text: `${cpus()[0].model}, ${availableParallelism()} processors, ${gigabytes} GiB, Node.js ${process.version}${rates}`,
    limit,
  };
}

/** Milliseconds that all processors together were busy since the machine started, or taken away by its host. */
export function busyTime() {
  const [user, nice, system, , , irq, softirq, stolen] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return 10 * (user + nice + system + irq + softirq + stolen);
}

/** A verdict on figures measured while other programs used this share of all processors. */
export function quietness(share) {
  const verdict = share < 0.05 ? 'quiet' : 'NOT quiet, the figures are not to be quoted';
  return `other programs used ${(100 * share).toFixed(0)} % of this machine's processors meanwhile: ${verdict}`;
}

/** `{ median, low, high }` of a list: the middle and the quartiles. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (fraction) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}
