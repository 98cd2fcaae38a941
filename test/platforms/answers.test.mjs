/** The whole package on another system: a model, its known answers alone and together, an abort, and the end. */
import t from 'tap';
import { embeddedModel, MaskPredict } from '../../lib/index.js';
import { knownAnswers } from '../token-level.js';

const prompts = Object.keys(knownAnswers);

t.test('known answers', async (t) => {
  const model = await MaskPredict.load(embeddedModel, { threads: 2 });
  const together = await model.generate(prompts);
  t.same(
    together.map(({ text }) => text),
    Object.values(knownAnswers),
  );
  const alone = await model.generate(prompts[0]);
  t.same([...alone.tokenScores], [...together[0].tokenScores], 'the same bits alone');
  const rejected = model.generate(prompts, { signal: AbortSignal.abort(new Error('enough')) });
  await t.rejects(rejected, { message: 'enough' });
  await model.close();
  await t.rejects(model.generate(prompts[0]), { code: 'ERR_DISPOSED' });
});

t.test('what is no model is refused', async (t) => {
  const error = { code: 'ERR_MODEL_FORMAT', message: /nowhere/ };
  await t.rejects(MaskPredict.load('./nowhere'), error);
});
