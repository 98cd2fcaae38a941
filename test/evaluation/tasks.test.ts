/**
 * Tasks and their data: the paper's prompts word for word, every published form as fields, and what is said of rows that
 * are wrong.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { readExamples, type DataSettings } from '../../lib/evaluation/tasks/examples.js';
import { paperPrompts, type Prompt } from '../../lib/evaluation/tasks/prompts.js';
import { readPrompts, taskOf } from '../../lib/evaluation/tasks/task-file.js';
import { tasks } from '../../lib/evaluation/tasks/tasks.js';
import { answersOf, instructionOf, labelsOf } from '../../lib/evaluation/tasks/template.js';

const shared = fileURLToPath(new URL('../../../shared', import.meta.url));
const [xcopa, xwinograd]: (readonly Prompt[])[] = [paperPrompts.xcopa, paperPrompts.xwinograd];
const skip = existsSync(shared) ? false : 'the reference data are not there';
const installed = existsSync(new URL('../../node_modules/hyparquet', import.meta.url));

/** Writes the files and reads them as a task's data. */
async function read(
  t: Test,
  name: string,
  files: Record<string, string | Buffer>,
  settings: Partial<DataSettings> = {},
) {
  const directory = t.testdir(files);
  const references = settings.references?.map((file) => join(directory, file));
  const paths = Object.keys(files)
    .filter((file) => !settings.references?.includes(file))
    .map((file) => join(directory, file));
  const task = await taskOf(name);
  return readExamples(task, paths, { seed: 0, ...settings, ...(references && { references }) });
}
const lines = (...rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n') + '\n';

t.test('the prompts of the paper are its words', { skip }, async (t) => {
  const printed = readFileSync(join(shared, 'eval.md'), 'utf8');
  for (const [task, prompts] of Object.entries(paperPrompts)) {
    t.equal(prompts.length, 5, task);
    for (const { template } of prompts) {
      // The reference leaves out the braces of one prompt's fields as the paper does, and says so.
      t.ok(printed.includes(`\`${template}\``), template);
    }
  }
  const [first, , third] = xwinograd!;
  t.equal(first!.template, third!.template, 'the paper repeats the first');
  t.match(third!.note, /prints prompt 1 again/);
});

t.test('what a model is asked', async (t) => {
  const row = { premise: 'It $& rained.', choice1: 'Wet.', choice2: 'Dry.', label: 0 };
  const { examples } = await read(t, 'xcopa', {
    'test.it.jsonl': lines({ ...row, question: 'effect' }, { ...row, question: 'cause', label: 1 }),
  });
  const asked = examples.map(({ fields }) => xcopa!.map((prompt) => instructionOf(prompt, fields)));
  const options = '- A: Wet. - B: Dry.';
  t.same(asked[0], [
    `It $& rained. Select the most plausible effect: ${options}`,
    `It $& rained. As a consequence... Help me pick the more plausible option: ${options}`,
    `It $& rained. I am hesitating between two options. Help me choose the best effect: ${options}`,
    `It $& rained. We are looking for an effect, what is the best option? ${options}`,
    `${options} It $& rained. so:`,
  ]);
  t.same(asked[1], [
    `It $& rained. Select the most plausible cause: ${options}`,
    `It $& rained. This happened because... Help me pick the more plausible option: ${options}`,
    `It $& rained. I am hesitating between two options. Help me choose the best cause: ${options}`,
    `It $& rained. We are looking for a cause, what is the best option? ${options}`,
    `${options} It $& rained. because:`,
  ]);
  t.same(
    examples.map(({ fields }) => answersOf(xcopa![0]!, fields)),
    [['A'], ['B']],
  );
  t.same(
    examples.map(({ group, id }) => [group, id]),
    [
      ['it', 'test.it.jsonl:1'],
      ['it', 'test.it.jsonl:2'],
    ],
  );
  const list: Prompt = { template: 'Use {{words}}.', answer: '{{ words }}!' };
  t.equal(instructionOf(list, { words: ['a', 'b'] }), 'Use a, b.');
  t.same(answersOf(list, { words: ['a', 'b'] }), ['a, b!'], 'a field within a text is one text');
  t.throws(() => instructionOf({ template: '{{x}}', answer: '' }, { y: '', z: '' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /"\{\{x\}\}" asks for a field x; the examples have y, z/,
  });
});

const spans = [
  'en\toriginal\t?\tTom said "Check" to Ralph as he moved his bishop.\t["Tom","said","``","Check","\'\'","to","Ralph","as","he","moved","his","bishop","."]\t["his",[10,11],["his"]]\t[["Tom",[0,1],["Tom"],true],["Ralph",[6,7],["Ralph"],false]]',
  'zh\toriginal\t?\t他跑了他跑\t["他","跑","了","他","跑"]\t["他",[3,4],["他"]]\t[["甲",[0,1],["甲"],false],["乙",[0,1],["乙"],true]]',
];

t.test('XWinograd in both forms', async (t) => {
  const { examples } = await read(t, 'xwinograd', {
    'dataset.tsv.gz': gzipSync(`${spans.join('\n')}\n`),
    'xwinograd.fr.jsonl': lines({
      sentence: 'Il dit que _ dort.',
      option1: 'A',
      option2: 'B',
      answer: '2',
    }),
  });
  t.same(
    examples.map(({ group, fields }) => ({ group, ...fields })),
    [
      {
        group: 'en',
        p: 'Tom said "Check" to Ralph as he moved _ bishop.',
        o1: 'Tom',
        o2: 'Ralph',
        first: 'Yes',
        right: 'Tom',
      },
      { group: 'zh', p: '他跑了_跑', o1: '甲', o2: '乙', first: 'No', right: '乙' },
      { group: 'fr', p: 'Il dit que _ dort.', o1: 'A', o2: 'B', first: 'No', right: 'B' },
    ],
  );
  const [first, second] = xwinograd!;
  const { fields } = examples[2]!;
  t.equal(
    instructionOf(first!, fields),
    'Il dit que _ dort. The _ in the sentence above refers to A Yes or No?',
  );
  t.same(labelsOf(second!, fields), ['A', 'B']);
  const damaged: [string, string, RegExp][] = [
    ['"his",[10,11]', '"her",[10,11]', /dataset\.tsv:1: the pronoun "her" is not where/],
    ['"Check"', '"Chess"', /:1: the token "Check" is not in the sentence/],
    ['false]]', 'true]]', /:1: candidates must be two, of which one is right/],
    ['[["Tom"', '[["Tom', /:1: candidates is not JSON/],
  ];
  for (const [from, to, message] of damaged) {
    const text = spans[0]!.replace(from, to);
    await t.rejects(read(t, 'xwinograd', { 'dataset.tsv': text }), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    });
  }
});

t.test('the whole of XWinograd', { skip }, async (t) => {
  const task = await taskOf('xwinograd');
  const file = join(shared, 'data/xwinograd/dataset.tsv.gz');
  const { examples, files } = await readExamples(task, [file], { seed: 0 });
  const counts: Record<string, number> = {};
  for (const { group } of examples) counts[group] = (counts[group] ?? 0) + 1;
  t.same(counts, { en: 2325, fr: 83, jp: 959, pt: 263, ru: 315, zh: 16 });
  t.match(files, [{ file: 'dataset.tsv.gz', examples: 3961, leftOut: 0, sha256: /^[\da-f]{64}$/ }]);
  t.ok(examples.every(({ fields }) => (fields['p'] as string).split('_').length === 2));
});

t.test('each published form', async (t) => {
  const cases: [string, Record<string, string | Buffer>, object[], Partial<DataSettings>?][] = [
    [
      'xnli',
      {
        'xnli.test.tsv':
          'language\tgold_label\tsentence1\tsentence2\nde\tneutral\tp "1"\th1\nfr\t-\tp2\th2\nfr\tcontradiction\tp3\th3\n',
        'test.th.jsonl': lines({ premise: 'p', hypothesis: 'h', label: 0 }),
      },
      [
        { group: 'de', p: 'p "1"', h: 'h1', label: 'Maybe' },
        { group: 'fr', p: 'p3', h: 'h3', label: 'No' },
        { group: 'th', p: 'p', h: 'h', label: 'Yes' },
      ],
    ],
    [
      'translation',
      {
        'en-de.test.jsonl': lines({ source: 'One.', references: ['Eins.', 'Ein.'] }),
        'valid.de-fr.tsv': 'Ja.\tOui.\nNein.\tNon.\n',
        'wmt.fr-en.json': JSON.stringify([{ translation: { fr: 'Un.', en: 'One.' } }]),
      },
      [
        {
          group: 'en-de',
          src: 'English',
          tgt: 'German',
          Source: 'One.',
          target: ['Eins.', 'Ein.'],
        },
        { group: 'de-fr', src: 'German', tgt: 'French', Source: 'Ja.', target: ['Oui.'] },
        { group: 'de-fr', src: 'German', tgt: 'French', Source: 'Nein.', target: ['Non.'] },
        { group: 'fr-en', src: 'French', tgt: 'English', Source: 'Un.', target: ['One.'] },
      ],
    ],
    [
      'translation',
      { 'news.cs': 'a\n\nb\n', 'ref.A': 'x\n\ny\n', 'ref.B': 'z\n\nw\n' },
      ['a', '', 'b'].map((Source, i) => ({
        group: 'cs-en',
        src: 'Czech',
        tgt: 'English',
        Source,
        target: [['x', '', 'y'][i], ['z', '', 'w'][i]],
      })),
      { references: ['ref.A', 'ref.B'], group: 'cs-en' },
    ],
    [
      'commongen',
      {
        'test.jsonl': lines(
          { concept_set_idx: 0, concepts: ['dog', 'run'], target: 'A dog runs.' },
          { concept_set_idx: 0, concepts: ['dog', 'run'], target: 'Dogs run.' },
          { concept_set_idx: 1, concepts: ['cat'], target: 'A cat.' },
        ),
      },
      [
        { group: 'test', source: ['dog', 'run'], target: ['A dog runs.', 'Dogs run.'], key: '0' },
        { group: 'test', source: ['cat'], target: 'A cat.', key: '1' },
      ],
    ],
    [
      'qqp',
      {
        'dev.tsv':
          'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t0\n1\t3\t4\tc\td\t1\n',
      },
      [{ group: 'dev', source: 'c', target: 'd' }],
    ],
    [
      'personachat',
      {
        'v.jsonl': lines({
          personality: ['I ski.', 'I cook.'],
          history: ['Hi!'],
          candidates: ['no', 'yes'],
        }),
      },
      [{ group: 'v', persona: 'I ski. I cook.', history: 'Hi!', target: 'yes' }],
    ],
    [
      'lambada',
      { 'l.jsonl': lines({ text: 'she said "yes\nor" no ' }) },
      [{ group: 'l', source: 'she said "yes\nor"', target: 'no' }],
    ],
    [
      'fever',
      {
        'f.jsonl': lines(
          { claim: 'x', label: 'REFUTES' },
          { claim: 'y', label: 'NOT ENOUGH INFO' },
        ),
      },
      [
        { group: 'f', claim: 'x', label: 'No' },
        { group: 'f', claim: 'y', label: 'Maybe' },
      ],
    ],
    [
      'sst-2',
      { 'dev.tsv': 'sentence\tlabel\ngood \t1\n' },
      [{ group: 'dev', text: 'good ', label: 'Yes' }],
    ],
    [
      'poem-sentiment',
      { 'p.jsonl': lines({ verse_text: 'v', label: 3 }) },
      [{ group: 'p', text: 'v', label: 'D' }],
    ],
    [
      'options',
      { 'o.jsonl': lines({ question: 'q', choices: { text: ['1', '2', '3', '4'] }, answer: 'C' }) },
      [{ group: 'o', question: 'q', o1: '1', o2: '2', o3: '3', o4: '4', letter: 'C' }],
    ],
    [
      'xsum',
      { 'x.jsonl': lines({ document: 'd', summary: 's' }) },
      [{ group: 'x', source: 'd', target: 's' }],
    ],
    [
      'gigaword',
      { 'g.src': 'long\n', 'g.tgt': 'short\n' },
      [{ group: 'g', source: 'long', target: ['short'] }],
      { references: ['g.tgt'] },
    ],
    [
      'wiki-auto',
      { 'w.jsonl': lines({ source: 'n', references: ['s', 't'] }) },
      [{ group: 'w', source: 'n', target: ['s', 't'] }],
    ],
  ];
  for (const [name, files, expected, settings] of cases) {
    const { examples } = await read(t, name, files, settings);
    t.same(
      examples.map(({ group, fields }) => ({ group, ...fields })),
      expected,
      name,
    );
    const { prompts } = await taskOf(name);
    for (const prompt of prompts) {
      for (const { fields } of examples) {
        t.notMatch(instructionOf(prompt, fields), /\{\{|\}\}/);
        const labels = labelsOf(prompt, fields);
        if (labels) t.ok(labels.includes(answersOf(prompt, fields)[0]!), 'the answer is a label');
      }
    }
  }
  t.same(
    new Set(['xcopa', 'xwinograd', ...cases.map(([name]) => name)]),
    new Set(tasks.map(({ name }) => name)),
  );
});

const parquet =
  'UEFSMRUGFVgVXFwVBhUAFQYVABUEFQAAAAMHKqQLAAAAQSBkb2cgcnVucy4JAAAASXQgcmFpbnMuCgAAAFNoZSBzaW5ncy4VBhV6FXxcFQYVABUGFQAV' +
  'BBUAAAADBzuYEAAAAEFuIGFuaW1hbCBtb3Zlcy4PAAAAVGhlIHN1biBzaGluZXMuASc8U2hlIGlzIGEgc2luZ2VyLhUGFTQVKFwVBhUAFQYVABUEFQAA' +
  'AAMHGAAADQEAAg0IHAEAAAAAAAAAFQQZTEgEcm9vdBUGABUMJQIYB3ByZW1pc2UlAAAVDCUCGApoeXBvdGhlc2lzJQAAFQQlAhgFbGFiZWwAFgYZHBk8' +
  'JggcFQwZFQAZGAdwcmVtaXNlFQIWBhaCARaGASYIPDYAKApTaGUgc2luZ3MuGAtBIGRvZyBydW5zLgAZHBUGFQAVAgAAACaOARwVDBkVABkYCmh5cG90' +
  'aGVzaXMVAhYGFqQBFqYBJo4BPDYAKA9UaGUgc3VuIHNoaW5lcy4YEEFuIGFuaW1hbCBtb3Zlcy4AGRwVBhUAFQIAAAAmtAIcFQQZFQAZGAVsYWJlbBUC' +
  'FgYWXhZSJrQCPDYAKAgCAAAAAAAAABgIAAAAAAAAAAAAGRwVBhUAFQIAAAAWhAMWBjb+AgAoCWh5cGFycXVldBk8HAAAHAAAHAAAADwBAABQQVIx';

t.test('Parquet, by an optional package', async (t) => {
  const files = { 'xnli.en.parquet': Buffer.from(parquet, 'base64') };
  if (!installed) {
    return t.rejects(read(t, 'xnli', files), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /xnli\.en\.parquet is Parquet, which the package hyparquet reads: npm install/,
    });
  }
  const { examples } = await read(t, 'xnli', files);
  t.same(
    examples.map(({ id, group, fields }) => [id, group, fields['p'], fields['h'], fields['label']]),
    [
      ['xnli.en.parquet:1', 'en', 'A dog runs.', 'An animal moves.', 'Yes'],
      ['xnli.en.parquet:2', 'en', 'It rains.', 'The sun shines.', 'No'],
      ['xnli.en.parquet:3', 'en', 'She sings.', 'She is a singer.', 'Maybe'],
    ],
  );
  await t.rejects(read(t, 'xnli', { 'x.parquet': 'PAR1 no' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /x\.parquet cannot be read as Parquet: /,
  });
});

t.test('what is wrong is named', async (t) => {
  const right = { premise: 'p', choice1: 'a', choice2: 'b', question: 'cause', label: 0 };
  const { premise: _, ...without } = right;
  const cases: [string, Record<string, string>, RegExp, Partial<DataSettings>?][] = [
    [
      'xcopa',
      { 'a.jsonl': lines(right, without) },
      /a\.jsonl:2: XCOPA needs a column premise; the columns are choice1, choice2, question, label$/,
    ],
    [
      'xnli',
      { 'a.tsv': 'premise\ttext\nx\ty\n' },
      /a\.tsv:2: XNLI needs a column hypothesis or sentence2; the columns are premise, text$/,
    ],
    [
      'xcopa',
      { 'a.jsonl': lines({ ...right, label: 2 }) },
      /a\.jsonl:1: the label must be 0 to 1 or A to B, not 2/,
    ],
    [
      'fever',
      { 'a.jsonl': lines({ claim: 'c', label: 'MAYBE' }) },
      /a\.jsonl:1: "MAYBE" is no label of FEVER; there are SUPPORTS, REFUTES, NOT ENOUGH INFO/,
    ],
    ['xcopa', { 'a.jsonl': '{"premise": \n' }, /a\.jsonl:1: this is not JSON/],
    ['xcopa', { 'a.jsonl': '[1]' }, /a\.jsonl: row 1: a row must be an object/],
    [
      'sst-2',
      { 'a.tsv': 'sentence\tlabel\nx\n' },
      /a\.tsv:2: the line has 1 columns, not 2 \(sentence, label\)/,
    ],
    [
      'translation',
      { 'a.tsv': 'x\ty\n' },
      /a\.tsv:1: the languages of a translation are a pair such as en-de/,
    ],
    ['translation', { 'xx-yy.tsv': 'x\ty\n' }, /there is no language with the code xx/],
    [
      'translation',
      { 'a.en': 'x\ny\n', 'a.de': 'x\n' },
      /a\.de has 1 lines and .*a\.en 2: they must be as many/,
      { references: ['a.de'], group: 'en-de' },
    ],
    ['lambada', { 'a.jsonl': lines({ text: 'one' }) }, /a\.jsonl:1: the text must have two words/],
    ['xcopa', { 'a.jsonl': '' }, /a\.jsonl: there is no example/],
  ];
  for (const [name, files, message, settings] of cases) {
    await t.rejects(
      read(t, name, files, settings),
      { code: 'ERR_INVALID_ARGUMENT', message },
      String(message),
    );
  }
  const unknown = {
    code: 'ERR_INVALID_ARGUMENT',
    message: /no task 'xlni'; the tasks are xnli, xcopa/,
  };
  await t.rejects(taskOf('xlni'), unknown);
});

t.test('a limit is drawn for each group by the seed', async (t) => {
  const rows = (group: string) =>
    lines(...Array.from({ length: 50 }, (_, i) => ({ document: `${group}${i}`, summary: 's' })));
  const files = { 'a.jsonl': rows('a'), 'b.jsonl': rows('b') };
  const drawn = async (seed: number) =>
    (await read(t, 'xsum', files, { limit: 5, seed })).examples.map(({ id }) => id);
  const first = await drawn(1);
  t.equal(first.length, 10);
  t.equal(first.filter((id) => id.startsWith('a')).length, 5);
  t.same(await drawn(1), first);
  t.notSame(await drawn(2), first);
  const places = first.slice(0, 5).map((id) => Number(id.split(':')[1]));
  t.same(
    places,
    [...places].sort((a, b) => a - b),
    'in the order of the data',
  );
});

t.test('tasks and prompts of a file', async (t) => {
  const directory = t.testdir({
    'own.json': JSON.stringify({
      columns: { q: ['frage', 'question'], label: 'label', group: 'kind' },
      values: { label: { '1': 'Yes', '0': 'No', '?': null } },
      prompts: [{ template: '{{q}}?', answer: '{{label}}', labels: ['Yes', 'No'] }],
      measures: ['accuracy', 'chrf'],
    }),
    'data.jsonl': lines(
      { frage: 'a', label: 1, kind: 'x' },
      { question: 'b', label: '?', kind: 'x' },
      { question: 'c', label: 0, kind: 'y' },
    ),
    'prompts.json': '[{ "name": "short", "template": "{{p}}", "answer": "{{label}}" }]',
    'wrong.json': '{ "prompts": [{ "template": "x", "anwser": "y" }] }',
    'worse.json': '{ "prompts": [{ "template": "x", "answer": "y" }], "measures": ["bleurt"] }',
    'worst.json': '{',
  });
  const own = await taskOf(join(directory, 'own.json'));
  t.equal(own.name, 'own');
  const { examples, files } = await readExamples(own, [join(directory, 'data.jsonl')], { seed: 0 });
  t.same(
    examples.map(({ group, fields }) => [group, fields['q'], fields['label']]),
    [
      ['x', 'a', 'Yes'],
      ['y', 'c', 'No'],
    ],
  );
  t.equal(files[0]!.leftOut, 1);
  t.match(await readPrompts(join(directory, 'prompts.json')), [{ name: 'short' }]);
  const refusals: [string, RegExp][] = [
    ['wrong.json', /prompts\[0\] has no option 'anwser'; it has name, template, answer/],
    ['worse.json', /measures must be a list of accuracy, bleu, /],
    ['worst.json', /worst\.json cannot be read as JSON/],
  ];
  for (const [file, message] of refusals) {
    await t.rejects(taskOf(join(directory, file)), { code: 'ERR_INVALID_ARGUMENT', message });
  }
});

t.test('labels in the vocabulary of XLM-R', { skip }, async (t) => {
  const tokenizer = await Tokenizer.load(
    join(shared, 'data/xlm-r-tokenizer/sentencepiece.bpe.model'),
    { vocabulary: 250_002, maskTokenId: 250_001 },
  );
  const tokens = (text: string) => tokenizer.encode(text).ids.length - 2;
  for (const label of ['Yes', 'No', 'Maybe', 'A', 'B', 'C', 'D', 'True'])
    t.equal(tokens(label), 1, label);
  t.equal(tokens('False'), 2, 'which is why the paper asks for Yes and No (section 5.1)');
});
