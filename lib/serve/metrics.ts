/** `GET /metrics`: the server, the model and the process, for Prometheus. */
import type { FastifyInstance } from 'fastify';
import type {
  DeviceStatistics,
  LatencyStatistics,
  ModelStatistics,
} from '../scheduling/statistics.js';
import { contentType, histogram, metric, type Distribution, type Labels } from './prometheus.js';
import type { RequestCounts } from './request-counts.js';
import type { Served } from './served.js';

export function metricsRoute(app: FastifyInstance, served: Served, counts: RequestCounts): void {
  app.get('/metrics', (_request, reply) =>
    reply
      .type(contentType)
      .send(
        [...serverMetrics(served, counts), ...modelMetrics(served), ...processMetrics()].join(''),
      ),
  );
}

function serverMetrics({ requests }: Served, counts: RequestCounts): string[] {
  return [
    metric(
      'counter',
      'mask_predict_http_requests_total',
      'Requests answered, by route, method and status; 499: the client went away.',
      counts.samples(),
    ),
    histogram(
      'mask_predict_http_request_duration_seconds',
      'From the head of a request to the end of its answer.',
      counts.durations(),
    ),
    metric('gauge', 'mask_predict_http_requests_running', 'Requests being worked on.', [
      { value: requests.running },
    ]),
  ];
}

function modelMetrics({ model, name }: Served): string[] {
  const stats = model.stats();
  const labels = { model: name };
  const memories = model.engines.map((engine) => ({
    labels: stats.devices ? { ...labels, device: engine.device } : labels,
    ...engine.memory(),
  }));
  const one = (value: number) => [{ labels, value }];
  const outcomes = ['completed', 'aborted', 'overloaded', 'failed'] as const;
  return [
    metric(
      'gauge',
      'mask_predict_memory_bytes',
      'Memory of the model, by what for.',
      memories.flatMap(({ labels, weights, working }) => [
        { labels: { ...labels, for: 'weights' }, value: weights },
        { labels: { ...labels, for: 'working' }, value: working },
      ]),
    ),
    metric(
      'gauge',
      'mask_predict_memory_limit_bytes',
      'What weights and working memory may take.',
      memories.map(({ labels, limit }) => ({ labels, value: limit })),
    ),
    metric(
      'gauge',
      'mask_predict_calls_waiting',
      'Calls of the model that wait for their first pass.',
      one(stats.waiting),
    ),
    metric('gauge', 'mask_predict_calls_running', 'Calls at work.', one(stats.running)),
    metric(
      'gauge',
      'mask_predict_rows_running',
      'Ids of all targets that are being written.',
      one(stats.rows),
    ),
    metric(
      'counter',
      'mask_predict_calls_total',
      'Calls that have ended, by how.',
      outcomes.map((outcome) => ({ labels: { ...labels, outcome }, value: stats[outcome] })),
    ),
    metric('counter', 'mask_predict_passes_total', 'Passes of the model.', one(stats.passes)),
    metric(
      'counter',
      'mask_predict_tokens_total',
      'Tokens of texts written to their end, of every length candidate.',
      one(stats.tokens),
    ),
    histogram(
      'mask_predict_call_duration_seconds',
      'From a call to its answer, of completed calls.',
      [distribution(labels, stats.latency)],
    ),
    histogram(
      'mask_predict_call_phase_duration_seconds',
      'The same by phase: queue until the first pass, encode until all sources are encoded, decode.',
      Object.entries(stats.phases).map(([phase, latency]) =>
        distribution({ ...labels, phase }, latency),
      ),
    ),
    ...cacheMetrics(labels, stats),
    ...deviceMetrics(labels, stats.devices ?? []),
  ];
}

/** Metrics that a model loaded with the option `devices` has for each of them. */
function deviceMetrics(labels: Labels, devices: readonly DeviceStatistics[]): string[] {
  if (devices.length === 0) return [];
  const each = (value: (device: DeviceStatistics) => number) =>
    devices.map((device) => ({
      labels: { ...labels, device: device.device },
      value: value(device),
    }));
  return [
    metric(
      'gauge',
      'mask_predict_device_working',
      '1, or 0 when the context of the GPU is lost and it takes no more calls.',
      each(({ working }) => (working ? 1 : 0)),
    ),
    metric(
      'gauge',
      'mask_predict_device_calls_waiting',
      'Calls, or parts of calls, that wait for their first pass on a device.',
      each(({ waiting }) => waiting),
    ),
    metric(
      'gauge',
      'mask_predict_device_calls_running',
      'Calls, or parts of calls, at work on a device.',
      each(({ running }) => running),
    ),
    metric(
      'counter',
      'mask_predict_device_passes_total',
      'Passes of the model on a device.',
      each(({ passes }) => passes),
    ),
  ];
}

function cacheMetrics(labels: Labels, { cacheBytes, sources }: ModelStatistics): string[] {
  const asked = [
    { labels: { ...labels, found: 'yes' }, value: sources.hits },
    { labels: { ...labels, found: 'no' }, value: sources.misses },
  ];
  return [
    metric('gauge', 'mask_predict_cache_bytes', 'Encoded sources, in use or kept for later.', [
      { labels, value: cacheBytes },
    ]),
    metric('gauge', 'mask_predict_cache_idle_bytes', 'Those of them that nobody uses now.', [
      { labels, value: sources.kept },
    ]),
    metric(
      'counter',
      'mask_predict_cache_lookups_total',
      'Sources asked for, by whether they were encoded already.',
      asked,
    ),
    metric('counter', 'mask_predict_cache_evictions_total', 'Sources evicted for others.', [
      { labels, value: sources.evictions },
    ]),
  ];
}

/** Milliseconds, each bucket with those before it, as seconds in buckets of their own. */
function distribution(labels: Labels, { buckets, sum }: LatencyStatistics): Distribution {
  return {
    labels,
    bounds: buckets.slice(0, -1).map(({ upTo }) => upTo / 1000),
    counts: buckets.map(({ count }, index) => count - (buckets[index - 1]?.count ?? 0)),
    sum: sum / 1000,
  };
}

/** Under the names that Prometheus' client libraries give them. */
function processMetrics(): string[] {
  const { user, system } = process.cpuUsage();
  return [
    metric('gauge', 'process_resident_memory_bytes', 'Resident memory size in bytes.', [
      { value: process.memoryUsage.rss() },
    ]),
    metric('counter', 'process_cpu_seconds_total', 'Total user and system CPU time spent.', [
      { value: (user + system) / 1e6 },
    ]),
    metric('gauge', 'process_start_time_seconds', 'Start time of the process since the epoch.', [
      { value: performance.timeOrigin / 1000 },
    ]),
  ];
}
