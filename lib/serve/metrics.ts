/** `GET /metrics`: the server, the model and the process, for Prometheus. */
import type { FastifyInstance } from 'fastify';
import { contentType, histogram, metric } from './prometheus.js';
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
  const { weights, working, limit } = model.engine.memory();
  const labels = { model: name };
  return [
    metric('gauge', 'mask_predict_memory_bytes', 'Memory of the model, by what for.', [
      { labels: { ...labels, for: 'weights' }, value: weights },
      { labels: { ...labels, for: 'working' }, value: working },
    ]),
    metric(
      'gauge',
      'mask_predict_memory_limit_bytes',
      'What weights and working memory may take.',
      [{ labels, value: limit }],
    ),
  ];
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
