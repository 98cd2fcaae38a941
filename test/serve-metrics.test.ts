/** `GET /metrics` of `mask-predict serve`: the text format, line by line, and what is counted. */
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { histogram, metric } from '../lib/serve/prometheus.js';
import { serving } from './serving.js';

interface Metric {
  type: string;
  help: string;
  samples: Map<string, number>;
}

/** Prometheus' own checker of its format and of its rules for names, where it is installed. */
function checkByPromtool(t: Test, text: string): void {
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  if (error) {
    const message = `no promtool (Debian's package prometheus has it): ${error.message}`;
    if (process.env['CI']) t.fail(message);
    else t.comment(message);
    return;
  }
  t.equal(status, 0, 'promtool check metrics');
  t.equal(stdout + stderr, '', 'and it has nothing to say');
}

/** Parses Prometheus' text format 0.0.4, and throws for what is not in it. */
function parse(text: string): Map<string, Metric> {
  const metrics = new Map<string, Metric>();
  let current: Metric | undefined;
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, name, rest] = /^# (HELP|TYPE) ([a-z_][a-z0-9_]*) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      if (metrics.has(name!)) throw new Error(`${name} is there twice`);
      metrics.set(name!, (current = { type: '', help: rest!, samples: new Map() }));
    } else if (keyword === 'TYPE') {
      current!.type = rest!;
    } else {
      const [, key, value] =
        /^([a-z_][a-z0-9_]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})?) (\S+)$/.exec(line) ??
        [];
      if (key === undefined) throw new Error(`not a line of the format: ${line}`);
      if (current!.samples.has(key)) throw new Error(`${key} is there twice`);
      current!.samples.set(key, value === '+Inf' ? Infinity : Number(value));
    }
  }
  return metrics;
}

t.test('the text format', (t) => {
  t.equal(
    metric('gauge', 'a_bytes', 'What.', [{ labels: { name: 'say "\\"\n', n: 1 }, value: 2.5 }]),
    '# HELP a_bytes What.\n# TYPE a_bytes gauge\na_bytes{name="say \\"\\\\\\"\\n",n="1"} 2.5\n',
  );
  t.equal(metric('counter', 'b', 'B.', [{ value: 3 }]), '# HELP b B.\n# TYPE b counter\nb 3\n');
  const text = histogram('c', 'C.', [{ bounds: [0.1, 1], counts: [2, 0, 3], sum: 7 }]);
  t.same(
    [...parse(text).get('c')!.samples],
    [
      ['c_bucket{le="0.1"}', 2],
      ['c_bucket{le="1"}', 2],
      ['c_bucket{le="+Inf"}', 5],
      ['c_sum', 7],
      ['c_count', 5],
    ],
  );
  t.end();
});

t.test('requests are counted by route and status', async (t) => {
  const { model, url, close } = await serving();
  t.teardown(close);
  const read = async () => {
    const response = await fetch(`${url}/metrics`);
    t.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    return parse(await response.text());
  };
  const post = async (body: string) => {
    const headers = { 'content-type': 'application/json' };
    await (await fetch(`${url}/generate`, { method: 'POST', headers, body })).text();
  };
  for (let count = 0; count < 3; count++) await post('{"prompt":"a"}');
  await post('{}');
  await fetch(`${url}/one`);
  await fetch(`${url}/two`);

  const metrics = await read();
  const requests = metrics.get('mask_predict_http_requests_total')!;
  t.equal(requests.type, 'counter');
  t.same(Object.fromEntries(requests.samples), {
    'mask_predict_http_requests_total{route="/generate",method="POST",status="200"}': 3,
    'mask_predict_http_requests_total{route="/generate",method="POST",status="400"}': 1,
    'mask_predict_http_requests_total{route="none",method="GET",status="404"}': 2,
  });

  const durations = metrics.get('mask_predict_http_request_duration_seconds')!;
  t.equal(durations.type, 'histogram');
  const buckets = [...durations.samples].filter(([key]) => /_bucket\{route="\/generate"/.test(key));
  const counts = buckets.map(([, count]) => count);
  t.same(
    counts,
    [...counts].sort((a, b) => a - b),
    'buckets are cumulative',
  );
  t.match(buckets.at(-1), [/le="\+Inf"/, 4]);
  const labels = '{route="/generate",method="POST"}';
  t.equal(durations.samples.get(`mask_predict_http_request_duration_seconds_count${labels}`), 4);
  t.ok(durations.samples.get(`mask_predict_http_request_duration_seconds_sum${labels}`)! > 0);

  const gauge = (name: string) => [...metrics.get(name)!.samples.values()];
  t.same(gauge('mask_predict_http_requests_running'), [0]);
  t.equal(gauge('mask_predict_memory_bytes')[0], model.engine.memory().weights);
  t.ok(gauge('process_resident_memory_bytes')[0]! > 1e7);
  t.ok(gauge('process_cpu_seconds_total')[0]! > 0);
  t.ok(Math.abs(gauge('process_start_time_seconds')[0]! - Date.now() / 1000) < 3600);

  const again = (await read()).get('mask_predict_http_requests_total')!.samples;
  const own = 'mask_predict_http_requests_total{route="/metrics",method="GET",status="200"}';
  t.equal(again.get(own), 1, 'the answer is counted when it is given');
});

t.test('the queue, the passes and the phases of calls', async (t) => {
  const { model, url, close } = await serving({}, [], {
    scheduling: { rowBudget: 8, queueLimit: 3 },
    sourceCache: { bytes: 2 ** 20 },
  });
  t.teardown(close);
  let text = '';
  const read = async () => {
    text = await (await fetch(`${url}/metrics`)).text();
    const metrics = parse(text);
    const value = (name: string, labels = '') =>
      metrics
        .get(name.replace(/_(sum|count|bucket)$/, ''))
        ?.samples.get(`${name}{model="numbers"${labels}}`);
    return { metrics, value };
  };
  const before = await read();
  for (const name of ['calls_waiting', 'calls_running', 'rows_running', 'passes_total']) {
    t.equal(before.value(`mask_predict_${name}`), 0, name);
  }

  // A long text keeps the pass full; three calls wait, and a fourth one may not.
  const stop = new AbortController();
  const long = { length: 120, iterations: 100_000, signal: stop.signal };
  const running = model.generate('x', long);
  while (model.stats().rows === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const waiting = [1, 2, 3].map((n) => model.generate(`${n}`, { length: 3, iterations: 2 }));
  await t.rejects(model.generate('4'), { code: 'ERR_OVERLOADED' });
  const during = await read();
  t.equal(during.value('mask_predict_calls_waiting'), 3);
  t.equal(during.value('mask_predict_calls_running'), 1);
  t.equal(during.value('mask_predict_rows_running'), 122);
  t.ok(during.value('mask_predict_cache_bytes')! > 0);
  stop.abort();
  await t.rejects(running);
  const answers = await Promise.all(waiting);
  await model.generate('1', { length: 3, iterations: 2 });

  const { metrics, value } = await read();
  t.equal(value('mask_predict_calls_waiting'), 0);
  const calls = (outcome: string) => value('mask_predict_calls_total', `,outcome="${outcome}"`);
  t.same(['completed', 'aborted', 'overloaded', 'failed'].map(calls), [4, 1, 1, 0]);
  t.equal(value('mask_predict_tokens_total'), 12, 'four answers of three tokens');
  t.equal(value('mask_predict_passes_total'), model.stats().passes);
  t.equal(value('mask_predict_cache_idle_bytes'), value('mask_predict_cache_bytes'));
  t.equal(value('mask_predict_cache_lookups_total', ',found="yes"'), 1);
  t.equal(value('mask_predict_cache_lookups_total', ',found="no"'), 4);
  t.equal(value('mask_predict_cache_evictions_total'), 0);

  const { latency } = model.stats();
  const name = 'mask_predict_call_duration_seconds';
  t.equal(value(`${name}_count`), 4);
  t.ok(Math.abs(value(`${name}_sum`)! - latency.sum / 1000) < 1e-9);
  for (const { upTo, count } of latency.buckets) {
    const bound = upTo === Infinity ? '+Inf' : upTo / 1000;
    t.equal(value(`${name}_bucket`, `,le="${bound}"`), count, `up to ${bound} s`);
  }
  const phase = 'mask_predict_call_phase_duration_seconds';
  t.equal(metrics.get(phase)!.type, 'histogram');
  const sums = ['queue', 'encode', 'decode'].map((of) => value(`${phase}_sum`, `,phase="${of}"`)!);
  t.ok(Math.abs(sums.reduce((a, b) => a + b) - latency.sum / 1000) < 1e-9, 'they are all of it');
  const slowest = Math.max(...answers.map(({ timings }) => timings.queue));
  t.ok(sums[0]! >= slowest / 1000 - 1e-6, 'what waited is in the queue');
  checkByPromtool(t, text);
});
