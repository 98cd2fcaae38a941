// node examples/server-with-opentelemetry.mjs [PORT [MODEL_DIR]]
//
// A small HTTP server of your own, traced: a span for each call of the model, with what was asked and what came of it, and a
// histogram of the rows of each pass. With a PORT it serves until Ctrl-C:
//
//     curl localhost:8080 -d 'Write the number 4217 in German words.'
//
// Without one it asks itself and ends. Spans go to OpenTelemetry where `@opentelemetry/api` is installed and an SDK started:
//
//     npm install @opentelemetry/api @opentelemetry/sdk-node @opentelemetry/auto-instrumentations-node
//     node --import @opentelemetry/auto-instrumentations-node/register examples/server-with-opentelemetry.mjs 8080
//
// Without that package they are printed. (`mask-predict serve` is a server with everything: limits, streams, metrics.)
import { subscribe, tracingChannel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { MaskPredict } from 'mask-predict';

const { trace, metrics } = await import('@opentelemetry/api').catch(printed);
const tracer = trace.getTracer('mask-predict');
const rows = metrics.getMeter('mask-predict').createHistogram('mask_predict.batch.rows');

// One object is the message of all events of a call.
const spans = new WeakMap();
tracingChannel('mask-predict:request').subscribe({
  start(request) {
    const attributes = { 'mask_predict.prompts': request.prompts };
    spans.set(request, tracer.startSpan(`mask-predict ${request.call}`, { attributes }));
  },
  error(request) {
    const span = spans.get(request);
    span?.recordException(request.error);
    span?.setStatus({ code: 2, message: request.error.message }); // SpanStatusCode.ERROR
  },
  asyncEnd(request) {
    const span = spans.get(request);
    const { length, iterations, timings } = request.result ?? {};
    if (length !== undefined) {
      span?.setAttribute('mask_predict.tokens', length);
      span?.setAttribute('mask_predict.passes', iterations);
      span?.setAttribute('mask_predict.queue_ms', timings.queue);
    }
    span?.end();
  },
});
subscribe('mask-predict:batch', (batch) => rows.record(batch.rows));

const [port = 0, directory] = process.argv.slice(2);
const model = await MaskPredict.load(directory);
const server = createServer(async (request, response) => {
  const gone = new AbortController(); // a client that goes away stops its work
  response.on('close', () => gone.abort());
  try {
    const { text: answer } = await model.generate(await text(request), { signal: gone.signal });
    response.end(`${answer}\n`);
  } catch (error) {
    response.statusCode = error.code === 'ERR_INVALID_ARGUMENT' ? 400 : 500;
    response.end(`${error.message}\n`);
  }
});
server.listen(Number(port), '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}/`;
console.log(`listening on ${url}`);

if (process.argv.length > 2) await once(process, 'SIGINT');
else {
  const prompts = [
    'Write the number 4217 in German words.',
    'Is the number 8 even? Yes or no?',
    ' ',
  ];
  for (const body of prompts) {
    const response = await fetch(url, { method: 'POST', body });
    console.log(`${response.status} ${(await response.text()).trim()}`);
  }
}
server.close();
server.closeAllConnections();
await model.close();

/** The part of `@opentelemetry/api` that is used above, printing what it is told. */
function printed() {
  const startSpan = (name, { attributes }) => {
    const span = { name, begun: performance.now(), attributes: { ...attributes }, events: [] };
    return {
      setAttribute: (key, value) => (span.attributes[key] = value),
      recordException: (error) => span.events.push(error.code ?? error.name),
      setStatus: ({ code }) => span.events.push(`status ${code}`),
      end: () => {
        const ms = (performance.now() - span.begun).toFixed(1);
        console.log(`span ${span.name} ${ms} ms`, JSON.stringify(span.attributes), ...span.events);
      },
    };
  };
  const record = (value) => console.log(`rows ${value}`);
  return {
    trace: { getTracer: () => ({ startSpan }) },
    metrics: { getMeter: () => ({ createHistogram: () => ({ record }) }) },
  };
}
