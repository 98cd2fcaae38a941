/**
 * Stopping early: a rule looks at what each pass predicted and ends the target there; the passes before are those
 * of the full decode, which the loop of single calls gives. In a batch every target has its own rule.
 */
import t, { type Test } from 'tap';
import { Engine, MaskPredict, type StopRule, type Target } from '../lib/index.js';
import { sameBits } from './reference/closeness.js';
import { refused, wrong } from './refusals-of-calls.js';
import { encoded, inner, loop, prompts, type Pass } from './token-level.js';

const iterations = 12;
const rules: StopRule[] = [
  'unchanged',
  ...[0.01, 0.3, 0.9, 0.999, 1].map((confidence) => ({ confidence })),
];

/** The pass after which the rule ends a text, in the loop that knows nothing of rules. */
function stopped(passes: Pass[], rule: StopRule): number {
  const index = passes.findIndex(({ tokens, tokenScores }, t) =>
    rule === 'unchanged'
      ? t > 0 && sameBits(tokens, passes[t - 1]!.tokens)
      : // As the engine compares: in float32.
        tokenScores.every((score) => score >= Math.fround(Math.log(rule.confidence))),
  );
  return index < 0 ? passes.length : index + 1;
}

async function check(t: Test, engine: Engine, sources: Int32Array[], lengths: number[]) {
  const seen = new Set<number>();
  const all = [];
  for (const ids of sources) {
    const source = await encoded(engine, ids);
    for (const length of lengths) {
      const passes = await loop(engine, source.target(length), iterations);
      for (const rule of rules) {
        const count = stopped(passes, rule);
        const target = source.target(length);
        const what = `${JSON.stringify(rule)}, length ${length}: ${count} of ${passes.length} passes`;
        t.same(await engine.decode([target], iterations, { stop: rule }), [count], what);
        t.ok(sameBits(inner(target).tokens, passes[count - 1]!.tokens), 'its tokens');
        t.ok(sameBits(inner(target).tokenScores, passes[count - 1]!.tokenScores), 'and scores');
        t.notOk(target.masked.includes(1), 'nothing is masked');
        seen.add(count);
        all.push({ source, length, rule, count, target });
      }
    }
  }
  for (const rule of rules) {
    const same = all.filter((one) => one.rule === rule);
    const targets = same.map(({ source, length }) => source.target(length));
    const counts = await engine.decode(targets, iterations, { stop: rule });
    t.same(
      counts,
      same.map(({ count }) => count),
      'the same passes in a batch',
    );
    const equal = (a: Target, b: Target) =>
      sameBits(a.tokens, b.tokens) && sameBits(a.scores, b.scores);
    t.ok(
      targets.every((target, index) => equal(target, same[index]!.target)),
      'and bits',
    );
  }
  t.ok(seen.size > 3, `ends after ${[...seen].sort((a, b) => a - b).join(', ')} passes were seen`);
  for (const { source } of all) source.dispose();
}

t.test('a model that is unsure', async (t) => {
  const engine = await Engine.random(
    { layers: 2, hidden: 64, heads: 4, feedForward: 128, vocabulary: 300 },
    { seed: 5 },
  );
  t.teardown(() => engine.close());
  const sources = [0, 1, 2, 3].map((n) => Int32Array.of(0, 10 + n, 20 + 7 * n, 30, 2));
  await check(t, engine, sources, [3, 9, 24]);
});

t.test('the embedded model', async (t) => {
  const model = await MaskPredict.load(undefined, { device: 'cpu' });
  t.teardown(() => model.close());
  const { engine, tokenizer } = model;
  const sources = prompts.map((prompt) => tokenizer.encode(prompt).ids);
  await check(t, engine, sources, [5, 12, 30]);

  for (const stop of rules) {
    for (const [index, prompt] of prompts.entries()) {
      const options = { iterations, length: 10, stop };
      const generation = await model.generate(prompt, options);
      using source = await encoded(engine, sources[index]!);
      const target = source.target(12);
      const [passes] = await engine.decode([target], iterations, { stop });
      t.equal(generation.iterations, passes, 'generate() reports its passes');
      t.ok(sameBits(generation.tokens, inner(target).tokens));
      const reader = model.refine(prompt, options);
      let steps = 0;
      let next = await reader.next();
      for (; !next.done; next = await reader.next()) {
        steps++;
        const last = next.value.tokens.every(({ masked }) => !masked);
        t.equal(last, steps === passes, 'nothing is masked again after the last pass');
      }
      t.equal(steps, passes, 'refine() has as many steps');
      t.ok(sameBits(next.value.tokenScores, generation.tokenScores));
    }
  }

  await refused(t, 'ERR_INVALID_ARGUMENT', {
    'a rule there is not': [
      () => model.generate('x', { stop: wrong('sure') }),
      /'unchanged'.*sure/,
    ],
    'no confidence': [() => model.generate('x', { stop: wrong({}) }), /stop\.confidence/],
    'a confidence of 0': [() => model.generate('x', { stop: { confidence: 0 } }), /not 0/],
    'a confidence of 2': [() => model.refine('x', { stop: { confidence: 2 } }).next(), /not 2/],
    'something else': [
      () => model.generate('x', { stop: wrong({ confidence: 0.5, patience: 1 }) }),
      /'patience'/,
    ],
    'a rule of decode()': [() => engine.decode([], 1, { stop: wrong(3) }), /stop must be/],
    'a rule for choose()': [() => model.choose('x', ['a'], wrong({ stop: 'unchanged' })), /'stop'/],
  });
});
