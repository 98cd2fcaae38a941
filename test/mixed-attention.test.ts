/**
 * `attention: 'mixed'`, eq. (6), which the paper compares dynamic mixed attention with: logits of the fixtures, computed in
 * float64, and the same bits in any batch, with and without states, beside running targets.
 */
import t from 'tap';
import { MaskPredict } from '../lib/text/mask-predict.js';
import { Engine } from '../lib/token/engine.js';
import { relativeBound } from './reference/bounds.js';
import { closeness, rootMeanSquare, sameBits } from './reference/closeness.js';
import { readMixedCases } from './reference/fixtures.js';

for (const name of ['tiny-base', 'tiny-xl']) {
  t.test(name, async (t) => {
    const { directory, cases } = readMixedCases(name);
    const load = async (attention?: 'dynamic' | 'mixed') => {
      const engine = await Engine.load(directory, {
        threads: 2,
        precision: 'fp32',
        ...(attention && { attention }),
      });
      t.teardown(() => engine.close());
      return engine;
    };
    const [engine, dynamic] = [await load('mixed'), await load()];
    t.equal(engine.config.attention, 'mixed');
    t.equal(dynamic.config.attention, 'dynamic');
    // A target's states hang on the source's last ones: twice as many layers one after the other.
    const relative = relativeBound(2 * engine.config.layers, engine.config.feedForward);

    const sources = await engine.encode(cases.map(({ source }) => source));
    const targets = sources.map((source, i) => source.target(cases[i]!.target));
    const logits = await engine.logits(targets);
    for (const [i, { target, logits: expected }] of cases.entries()) {
      const near = closeness(logits[i]!, expected, relative * rootMeanSquare(expected));
      t.ok(near.worst <= 1, `case ${i}: ${near.worst} of the bound, ${near.where}`);
      t.ok(closeness(logits[i]!, expected, 1e-3).worst <= 1, `case ${i}: within 1e-3`);
      const [source] = await engine.encode([cases[i]!.source], { states: false });
      const [alone] = await engine.logits([source!.target(target)]);
      t.ok(sameBits(alone!, logits[i]!), 'the same bits alone, and without states');
      t.throws(() => source!.predictLengths(1), { code: 'ERR_INVALID_ARGUMENT' });
      const [other] = await dynamic.encode([cases[i]!.source]);
      t.ok(sameBits(other!.states(), sources[i]!.states()), 'sources are the same');
      const [seen] = await dynamic.logits([other!.target(target)]);
      t.ok(closeness(seen!, expected, 1e-2).worst > 1, 'but targets are not');
    }
  });
}

t.test('texts share passes with sources that are encoded meanwhile', async (t) => {
  const model = await MaskPredict.load(new URL('../models/numbers', import.meta.url), {
    attention: 'mixed',
  });
  t.teardown(() => model.close());
  const prompts = ['twelve in German', 'Is 7 odd?', 'forty-two', 'one thousand in words', 'x'];
  const answer = async (prompt: string, i: number) => {
    const { text, score } = await model.generate(prompt, { iterations: 1 + i, length: 2 + i });
    return { text, score };
  };
  const together = await Promise.all(prompts.map(answer));
  for (const [i, prompt] of prompts.entries()) t.same(await answer(prompt, i), together[i]);
});

t.test('ModernBERT has none', async (t) => {
  const directory = new URL('fixtures/tiny-modernbert', import.meta.url);
  await t.rejects(Engine.load(directory, { attention: 'mixed', device: 'cpu' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /attention 'mixed' \(eq\. 6\) is one of XLM-R's/,
  });
});
