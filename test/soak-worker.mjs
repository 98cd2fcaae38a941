// A worker thread of the soak test, which runs until it is terminated. It loads models, uses them at both levels and
// closes them; or nothing, where `workerData.idle`, as the control. Without a tokenizer: Node 20 keeps several KiB of
// every worker that compiles WebAssembly, and a piece of every module compiled, among which a leak of ours would not be
// seen.
import { workerData } from 'node:worker_threads';

async function work() {
  const { embeddedModel, Engine } = await import('../dist/index.js');
  const { readGenerateOptions, Writing } = await import('../dist/text/generation.js');
  const { readSchedulingOptions } = await import('../dist/scheduling/options.js');
  const { nativeRunner } = await import('../dist/scheduling/passes.js');
  const { Scheduler } = await import('../dist/scheduling/scheduler.js');
  const { SourceCache } = await import('../dist/scheduling/source-cache.js');

  const ids = Int32Array.of(0, 9, 12, 15, 2);
  const plan = readGenerateOptions('generate()', { iterations: 2 }, 30);
  for (;;) {
    const engine = await Engine.load(embeddedModel);
    const scheduling = readSchedulingOptions()(engine);
    const scheduler = new Scheduler(
      nativeRunner(Engine.native(engine)),
      new SourceCache(0),
      scheduling,
    );
    for (let call = 0; call < 5; call++) {
      await scheduler.run([new Writing(ids, plan)], { priority: 0 });
      const [source] = await engine.encode([ids]);
      // Many, so that an end that leaves a few bytes of each behind shows.
      const [target] = Array.from({ length: 200 }, () => source.target(8));
      await engine.predict([target]);
      await engine.remask([target], [3]);
      await engine.decode([target], 2);
    }
    await engine.close();
  }
}

if (workerData.idle) {
  await import('../dist/text/tokenizer.js');
  setInterval(() => {}, 1000);
} else {
  await work();
}
