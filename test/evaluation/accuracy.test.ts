/** Accuracy: which answers count as the label. */
import t from 'tap';
import { accuracy } from '../../lib/evaluation/index.js';

t.test('an answer that is the label, but for white space and a final mark', async (t) => {
  const answers = ['C:', 'C.', ' C\n', 'C', 'c', 'C C', 'C,', ''];
  const labels = Array<string>(answers.length).fill('C');
  t.same(accuracy(answers, labels), {
    score: 4 / 8,
    correct: 4,
    total: 8,
    sentences: [1, 1, 1, 1, 0, 0, 0, 0],
  });
  t.same(accuracy(answers, labels, { normalize: false }).sentences, [0, 0, 0, 1, 0, 0, 0, 0]);
  t.equal(accuracy(['Yes'], ['Yes .']).score, 1, 'labels too');
  t.equal(accuracy(['.', ''], ['', ':']).score, 0, 'a mark alone is an answer');
});

t.test('lengths', async (t) => {
  t.same(accuracy([3, 4, 5], [3, 5, 5]), {
    score: 2 / 3,
    correct: 2,
    total: 3,
    sentences: [1, 0, 1],
  });
});
