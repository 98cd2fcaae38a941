// The tables of table.mjs, one line for each case that was to be measured. `results(stage)` gives a stage's lines, each with
// `limits`: the card's bandwidth (TB/s) and matrix rate (TFLOP/s) as measured in the same run, NaN where not measured.

const nothing = 'not measured';
const micro = (line) =>
  !line ? nothing : line.us === 'ran' ? 'ran' : line.error ? `failed: ${line.error.split(':')[0]}` : !(line.us > 0) ? nothing
    : `${line.us < 1000 ? `${line.us.toFixed(1)} µs` : `${(line.us / 1000).toFixed(2)} ms`}`; // prettier-ignore
const ratio = (peer, ours) => (peer?.us > 0 && ours?.us > 0 ? (peer.us / ours.us).toFixed(2) : '–');
const percent = (part) =>
  Number.isFinite(part) && part > 0 ? `${(100 * part).toFixed(0)} %` : '–';
const small = (value) =>
  value == null ? '–' : typeof value === 'number' ? value.toExponential(1) : value;

function table(title, note, columns, rows) {
  console.log(`\n## ${title}\n\n${note}\n`);
  console.log(`| ${columns.join(' | ')} |\n|${' --- |'.repeat(columns.length)}`);
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}

/** Our line of a case and those it is compared with. */
function finder(lines, keys) {
  return (who, wanted) =>
    lines.find((line) => line.who === who && keys.every((key) => line[key] === wanted[key]));
}

const bytesPart = (line) =>
  percent(line?.us > 0 ? line.bytes / line.us / 1e6 / line.limits.bandwidth : NaN);
const operationsPart = (line) =>
  percent(line?.us > 0 ? line.operations / line.us / 1e6 / line.limits.matrix : NaN);

/** The cases our own lines name, or those that a full run would have. */
function cases(lines, op, keys, otherwise) {
  const own = lines.filter((line) => line.who === 'ours' && line.op === op);
  return own.length > 0
    ? own.map((line) => Object.fromEntries(keys.map((key) => [key, line[key]])))
    : otherwise;
}

export function kernelTables(results) {
  const note =
    'Time of one call in a replayed graph, operands cold; “of bandwidth” and “of rate” are our fractions of the card’s.';
  {
    const lines = results('bench-linear');
    const keys = ['op', 'shape', 'rows'];
    const find = finder(lines, keys);
    const rows = [1, 8, 16, 32, 64, 96, 128, 160, 192, 256];
    const shapes = [
      'query',
      'keys and values',
      'queries, keys and values',
      'attention output',
      'feed-forward in',
      'feed-forward out',
    ];
    const all = cases(
      lines,
      'linear',
      keys,
      shapes.flatMap((shape) => rows.map((r) => ({ op: 'linear', shape, rows: r }))),
    );
    table(
      'linear, XLM-R XL',
      `${note} PyTorch: the same with bias, GELU, or sum and LayerNorm; queries, keys and values, a pair of ours, as one matrix. deterministic: false: the same with the product by cuBLASLt, at any number of rows. Ratios above 1: ours is faster. Deviation: of sampled results from sums in double, relative; bfloat16 rounds to 4e-3.`,
      ['shape', 'rows', 'ours', 'of bandwidth', 'of rate', 'deterministic: false', 'int8', 'of bandwidth', 'fp8', 'cuBLASLt, product alone', 'cuBLAS, product alone', 'PyTorch', 'PyTorch / ours', 'cuBLASLt / ours', 'deviation'],
      all.map((c) => {
        const ours = find('ours', c), lt = find('cublaslt, product alone', c), torch = find('PyTorch', c);
        return [c.shape, c.rows, micro(ours), bytesPart(ours), operationsPart(ours), micro(find('ours, deterministic: false', c)), micro(find('ours, int8', c)), bytesPart(find('ours, int8', c)), micro(find('ours, fp8', c)), micro(lt), micro(find('cublas, product alone', c)), micro(torch), ratio(torch, ours), ratio(lt, ours), small(ours?.deviation)];
      }),
    ); // prettier-ignore
  }
  {
    const lines = results('bench-attention');
    const keys = ['op', 'model', 'batch', 'source', 'target', 'ragged'];
    const find = finder(lines, keys);
    const all = cases(
      lines,
      'attention',
      keys,
      [1, 8, 64].map((batch) => ({
        op: 'attention',
        model: 'xl',
        batch,
        source: 64,
        target: 32,
        ragged: 0,
      })),
    );
    table(
      'Mixed attention',
      `${note} The others get keys and values already joined. Ragged: sources of a quarter to seven quarters of the length, padded for the masked one.`,
      ['model', 'batch', 'source', 'target', 'ours', 'of bandwidth', 'of rate', 'varlen flash', 'SDPA, mask', 'SDPA, no mask', 'varlen / ours', 'deviation'],
      all.map((c) => {
        const ours = find('ours', c), flash = find('varlen flash attention', c);
        const plain = c.ragged ? '–' : micro(find('scaled_dot_product_attention, no mask', c));
        return [c.model, c.batch, `${c.source}${c.ragged ? ' ragged' : ''}`, c.target, micro(ours), bytesPart(ours), operationsPart(ours), micro(flash), micro(find('scaled_dot_product_attention, mask', c)), plain, ratio(flash, ours), small(ours?.deviation)];
      }),
    ); // prettier-ignore
  }
  {
    const lines = results('bench-head');
    const keys = ['op', 'model', 'rows'];
    const find = finder(lines, keys);
    const all = cases(
      lines,
      'head',
      keys,
      ['xl', 'large', 'base'].flatMap((model) =>
        [1, 30, 240].map((rows) => ({ op: 'head', model, rows })),
      ),
    );
    const peer = 'PyTorch: linear, argmax, logsumexp';
    table(
      'Head: best token and log-sum-exp',
      note,
      ['model', 'rows', 'ours', 'of bandwidth', 'of rate', 'int8', 'fp8', 'linear + argmax + logsumexp', 'cuBLASLt, product alone', 'PyTorch / ours', 'deviation', 'better ids'],
      all.map((c) => {
        const ours = find('ours', c);
        return [c.model, c.rows, micro(ours), bytesPart(ours), operationsPart(ours), micro(find('ours, int8', c)), micro(find('ours, fp8', c)), micro(find(peer, c)), micro(find('cublaslt, product alone', c)), ratio(find(peer, c), ours), small(ours?.deviation), ours?.better_ids ?? '–'];
      }),
    ); // prettier-ignore
  }
  {
    const lines = results('bench-remask');
    const keys = ['op', 'batch', 'length'];
    const find = finder(lines, keys);
    const all = cases(
      lines,
      'remask',
      keys,
      [1, 8, 64, 512].flatMap((batch) =>
        [32, 128, 512].map((length) => ({ op: 'remask', batch, length })),
      ),
    );
    table(
      'Re-masking half of each target',
      'Time of one call in a replayed graph. It is launches and latency: no bandwidth is to be reached.',
      ['batch', 'length', 'ours', 'torch.topk', 'topk and scatter', 'topk and scatter / ours', 'wrong'],
      all.map((c) => {
        const ours = find('ours', c), scatter = find('torch.topk, scatter', c);
        return [c.batch, c.length, micro(ours), micro(find('torch.topk', c)), micro(scatter), ratio(scatter, ours), ours?.wrong ?? '–'];
      }),
    ); // prettier-ignore
  }
}

export function jobTables(results) {
  const lines = [
    ...['base', 'large', 'xl'].flatMap((model) => results(`jobs-${model}`)),
    ...results('bench-variants'),
  ];
  const keys = ['op', 'model', 'batch', 'iterations'];
  const find = finder(lines, keys);
  const models = ['xlm-r-base', 'xlm-r-large', 'xlm-r-xl'];
  const ops = [['encode'], ['iteration'], ['job', 4], ['job', 10]];
  const otherwise = models.flatMap((model) =>
    [1, 8, 64].flatMap((batch) =>
      ops.map(([op, iterations]) => ({ op, model, batch, iterations })),
    ),
  );
  const own = lines.filter(
    (line) => line.who === 'ours' && ['encode', 'iteration', 'job'].includes(line.op),
  );
  const order = (line) => `${line.model} ${String(line.batch).padStart(3)}`;
  const all =
    own.length > 0
      ? own.toSorted((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0))
      : otherwise;
  /** The time that bandwidth and rate allow: each part by the slower of the two. */
  const floor = (line) =>
    Array.isArray(line?.terms) &&
    line.terms.reduce(
      (sum, [bytes, operations]) =>
        sum + Math.max(bytes / line.limits.bandwidth, operations / line.limits.matrix) / 1e6,
      0,
    );
  table(
    'Jobs: source 64, target 32, bf16, random weights',
    'Host time, everything included. Floor: weights at the copy bandwidth or operations at the matrix rate, whichever takes longer, part by part. Hugging Face: as the published code of the paper runs its model, in bfloat16 with scaled_dot_product_attention.',
    ['model', 'batch', 'what', 'ours', 'floor', 'floor / ours', 'Hugging Face', 'the same in a CUDA graph', 'Hugging Face / ours', 'graph / ours'],
    all.map((c) => {
      const ours = find('ours', c), peer = find('Hugging Face', c), graph = find('Hugging Face in a CUDA graph', c);
      const best = floor(ours);
      const what = c.op === 'job' ? `job, T = ${c.iterations}` : c.op === 'iteration' ? 'one pass, all masked' : 'encode';
      return [c.model, c.batch, what, micro(ours), best > 0 ? micro({ us: best }) : nothing, percent(best / ours?.us), micro(peer), c.op === 'job' ? micro(graph) : '–', ratio(peer, ours), ratio(graph, ours)];
    }),
  ); // prettier-ignore

  const variants = ['ours, int8', 'ours, fp8', 'ours, deterministic: false'];
  table(
    'The same with weights of int8 and fp8, and in bf16 with deterministic: false',
    'Ratios: time of the bf16 job with the same bits in any batch to that of the variant; above 1 the variant is faster.',
    ['model', 'batch', 'what', 'bf16', 'int8', 'fp8', 'deterministic: false', 'bf16 / int8', 'bf16 / fp8', 'bf16 / deterministic: false'],
    all.filter((c) => own.length === 0 || find(variants[0], c)).map((c) => {
      const ours = find('ours', c), lines = variants.map((who) => find(who, c));
      const what = c.op === 'job' ? `job, T = ${c.iterations}` : c.op === 'iteration' ? 'one pass, all masked' : 'encode';
      return [c.model, c.batch, what, micro(ours), ...lines.map(micro), ...lines.map((line) => ratio(ours, line))];
    }),
  ); // prettier-ignore

  const agreements = lines.filter((line) => line.op === 'agreement');
  table(
    'Results beside Hugging Face in float32',
    'The same weights and decoding rules; matrices rounded to bfloat16 in all of them. Share of equal tokens; mean and largest difference of the log-probabilities of those.',
    ['model', 'batch', 'T', 'ours', 'log-probabilities', 'Hugging Face bf16', 'log-probabilities'],
    (agreements.length > 0 ? agreements.filter((line) => line.who !== 'ours') : models.map((model) => ({ model }))).map((c) => {
      const ours = agreements.length > 0 ? find('ours', { ...c, op: 'agreement' }) : undefined;
      const peer = c.op ? c : undefined;
      const share = (line) => (line ? percent(line.equal_tokens) : nothing);
      const apart = (line) => (line ? `${small(line.log_prob_mean)}, ${small(line.log_prob_most)}` : nothing);
      return [c.model, c.batch ?? '', c.iterations ?? '', share(ours), apart(ours), share(peer), apart(peer)];
    }),
  ); // prettier-ignore
}

export function thresholdTables(results) {
  {
    const lines = results('bits').filter((line) => line.op === 'bits');
    table(
      'Equal bits',
      'Rows, or whole jobs, compared byte for byte with those of another batch.',
      ['what', 'batch', 'compared', 'differing'],
      (lines.length > 0 ? lines : [{ what: nothing }]).map((line) => [line.what, line.batch ?? '', line.compared ?? '', line.differing ?? '']),
    ); // prettier-ignore
  }
  const lines = results('thresholds');
  const products = lines.filter((line) => line.op === 'threshold');
  const shapes = [...new Set(products.map((line) => line.shape))];
  const loose = 'ours, deterministic: false';
  {
    const of = (who, shape) => products.filter((line) => line.who === who && line.shape === shape);
    const first = (shape) => {
      const library = of(loose, shape);
      const wins = (line) => line.us < library.find(({ rows }) => rows === line.rows)?.us;
      const ours = of('ours', shape);
      if (library.length === 0) return 'no cuBLASLt';
      if (ours.some((line) => !(line.us > 0))) return 'ran';
      const last = ours.findLastIndex(wins); // up to here ours may still win
      return last + 1 < ours.length ? ours[last + 1].rows : `above ${ours.at(-1).rows}`;
    };
    table(
      'From how many rows on cuBLASLt wins',
      '`library_rows` of `native/cuda/stream.h` is 128: a guess. The least number of rows from which on the whole operation is always faster by cuBLASLt.',
      ['shape', 'rows'],
      shapes.length > 0 ? shapes.map((shape) => [shape, first(shape)]) : [[nothing, '']],
    ); // prettier-ignore
    const rows = [...new Set(products.map((line) => line.rows))];
    const at = (who, shape, count) => of(who, shape).find((line) => line.rows === count);
    table(
      'Rows and time of a product',
      'Ours / cuBLASLt. The step from one line to the next is what a bucket of `native/engine/padding.h` costs that is padded up to it.',
      ['rows', ...shapes],
      rows.map((count) => [count, ...shapes.map((shape) => `${micro(at('ours', shape, count))} / ${micro(at(loose, shape, count))}`)]),
    ); // prettier-ignore
  }
  {
    const passes = lines.filter((line) => line.op === 'pass');
    table(
      'Rows of a pass',
      'On a GPU `scheduling.rowBudget` is 512 rows: a guess. Every call at work waits for the whole pass.',
      ['model', 'rows', 'time', 'rows / ms'],
      (passes.length > 0 ? passes : [{ model: nothing }]).map((line) => [line.model, line.rows ?? '', micro(line), line.us > 0 ? ((line.rows / line.us) * 1000).toFixed(0) : '–']),
    ); // prettier-ignore
    const graphs = lines.filter((line) => line.op === 'graphs');
    const time = (us) => micro({ us });
    table(
      'CUDA graphs',
      'A decode of ten iterations, median over buckets: without graphs, when they are captured, when they are launched; and the memory that the graphs of all buckets took. `CudaGraphs` keeps 320 of them, and the default memory limit leaves 256 MiB to the driver: guesses.',
      ['model', 'buckets', 'without', 'captured', 'launched', 'memory'],
      (graphs.length > 0 ? graphs : [{ model: nothing }]).map((line) => [line.model, line.buckets ?? '', time(line.first), time(line.captured), time(line.launched), line.mebibytes > 0 ? `${line.mebibytes} MiB` : nothing]),
    ); // prettier-ignore
  }
}
