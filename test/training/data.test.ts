/** Data from files and iterables: formats, the cache, what is left out, and everything that may be wrong with a file. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { Dataset, type DatasetOptions, type DatasetSource } from '../../lib/training/dataset.js';
import {
  instructions,
  jsonLines,
  tokenizer,
  tokenizerBytes,
  tokenizerFile,
} from './imitated-runner.js';

const examples = instructions(200);

/** A directory with files, and how they are read. */
function prepare(t: Test, files: Record<string, string | Buffer>) {
  const directory = t.testdir(files as Record<string, string>);
  const options: DatasetOptions = {
    tokenizer,
    tokenizerBytes,
    fields: ['instruction', 'output'],
    maxSource: 128,
    maxTarget: 63,
    cache: join(directory, 'cache'),
  };
  const open = (source: DatasetSource, more: Partial<DatasetOptions> = {}) =>
    Dataset.open(source, { ...options, ...more });
  const path = (name: string) => join(directory, name);
  return { directory, open, path };
}

/** Every example's ids. */
async function idsOf(dataset: Dataset) {
  const all = [];
  for (let example = 0; example < dataset.examples; example++) {
    const { source, target } = await dataset.read(example);
    all.push([[...source], [...target]]);
  }
  await dataset.close();
  return all;
}

const expected = examples.map(({ instruction, output }) => [
  [...tokenizer.encode(instruction).ids],
  [...tokenizer.encode(output).ids],
]);

t.test('JSON lines, packed or not, columns and iterables give the same ids', async (t) => {
  const text = jsonLines(examples);
  const columns = examples.map(({ instruction, output }) => `${instruction}\t${output}`);
  const { open, path } = prepare(t, {
    'plain.jsonl': text,
    'returns.jsonl': `\ufeff${text.replaceAll('\n', '\r\n')}\r\n  \n`,
    'no-end.jsonl': text.slice(0, -1),
    'packed.jsonl.gz': gzipSync(text),
    'packed-too': Buffer.concat([gzipSync(text.slice(0, 1000)), gzipSync(text.slice(1000))]),
    'pairs.tsv': columns.join('\n'),
    'pairs.tsv.gz': gzipSync(columns.join('\n')),
    'xp3.jsonl': jsonLines(
      examples.map(({ instruction, output }) => ({
        targets: output,
        more: 1,
        inputs: instruction,
      })),
    ),
  });
  const names = 'plain.jsonl returns.jsonl no-end.jsonl packed.jsonl.gz packed-too pairs.tsv';
  for (const name of [...names.split(' '), 'pairs.tsv.gz']) {
    t.same(await idsOf(await open(path(name))), expected, name);
  }
  t.same(await idsOf(await open(path('xp3.jsonl'), { fields: ['inputs', 'targets'] })), expected);
  t.same(await idsOf(await open(examples)), expected, 'an array');
  async function* later() {
    for (const example of examples) yield example;
  }
  t.same(await idsOf(await open(later())), expected, 'an async iterable');
});

t.test('several files follow each other', async (t) => {
  const { open, path } = prepare(t, {
    'a.jsonl': jsonLines(examples.slice(0, 70)),
    'b.tsv': examples
      .slice(70)
      .map(({ instruction, output }) => `${instruction}\t${output}`)
      .join('\n'),
  });
  const both = [{ file: path('a.jsonl') }, { file: path('b.tsv'), weight: 2 }];
  const dataset = await open(both);
  t.same(
    dataset.parts.map(({ weight }) => weight),
    [1, 2],
  );
  t.same(await idsOf(dataset), expected);
});

t.test('a second start finds the ids, and only those of the same data and tokenizer', async (t) => {
  const { directory, open, path } = prepare(t, { 'a.jsonl': jsonLines(examples) });
  const caches = () => readdirSync(join(directory, 'cache'));
  let read = 0;
  const onProgress = () => void read++;
  const first = await open(path('a.jsonl'), { onProgress });
  const { fingerprint } = first;
  await first.close();
  t.equal(caches().length, 1, 'and nothing else lies there');
  t.ok(read > 0);
  read = 0;
  const again = await open(path('a.jsonl'), { onProgress });
  t.equal(read, 0, 'not tokenised again');
  t.equal(again.fingerprint, fingerprint);
  t.same(await idsOf(again), expected);

  const other = Buffer.concat([tokenizerBytes, Buffer.from([0])]);
  await (await open(path('a.jsonl'), { tokenizerBytes: other, onProgress })).close();
  t.ok(read > 0, 'another tokenizer');
  read = 0;
  for (const change of [{ maxSource: 100 }, { fields: ['instruction', 'instruction'] as const }]) {
    await (await open(path('a.jsonl'), { ...change, onProgress })).close();
    t.ok(read > 0, JSON.stringify(change));
    read = 0;
  }
  writeFileSync(path('a.jsonl'), jsonLines(examples.slice(1)));
  const changed = await open(path('a.jsonl'), { onProgress });
  t.ok(read > 0, 'other data');
  t.not(changed.fingerprint, fingerprint);
  t.same(await idsOf(changed), expected.slice(1));
});

t.test('a cache that is not whole is made again', async (t) => {
  const { directory, open, path } = prepare(t, { 'a.jsonl': jsonLines(examples) });
  await (await open(path('a.jsonl'))).close();
  const [name] = readdirSync(join(directory, 'cache'));
  const file = join(directory, 'cache', name!);
  const whole = readFileSync(file);
  for (const damaged of [
    Buffer.alloc(0),
    whole.subarray(0, 100),
    whole.subarray(0, -1),
    whole.subarray(8),
    Buffer.concat([whole, whole]),
  ]) {
    writeFileSync(file, damaged);
    t.same(await idsOf(await open(path('a.jsonl'))), expected);
    t.same(readFileSync(file), whole);
  }
  const changed = Buffer.from(whole);
  changed.fill(7, 0, 4);
  writeFileSync(file, changed);
  const dataset = await open(path('a.jsonl'));
  await t.rejects(dataset.read(0), { message: /example 0 is damaged; delete it, and it is made/ });
  await dataset.close();
});

t.test('what is too long is left out and counted, and all of it is an error', async (t) => {
  const long = { instruction: examples[0]!.instruction, output: 'one '.repeat(80) };
  const { open, path } = prepare(t, {
    'a.jsonl': jsonLines([long, ...examples, { ...long, instruction: 'one '.repeat(200) }]),
    'long.jsonl': jsonLines([long, long]),
  });
  const dataset = await open(path('a.jsonl'), { texts: 2 });
  t.equal(dataset.leftOut, 2);
  t.same(dataset.texts, examples.slice(0, 2));
  t.same(await idsOf(dataset), expected);
  const again = await open(path('a.jsonl'), { texts: 2 });
  t.equal(again.leftOut, 2, 'the cache knows too');
  t.same(again.texts, examples.slice(0, 2));
  await again.close();
  await t.rejects(open(path('long.jsonl')), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /long\.jsonl: all 2 examples have more than 128 ids .* maxSource and maxTarget/,
  });
});

t.test('what is wrong is said with file and line', async (t) => {
  const good = jsonLines(examples.slice(0, 2));
  const longLine = `{"instruction":"${'a '.repeat(5e6)}","output":"b"}\n`;
  const cases: [string, string | Buffer, RegExp][] = [
    ['long.jsonl', good + longLine, /long\.jsonl:3: the line has more than 4 MiB/],
    ['long.jsonl.gz', gzipSync(good + longLine), /long\.jsonl\.gz:3: the line has more than 4 MiB/],
    [
      'utf8.jsonl',
      Buffer.concat([Buffer.from(good), Buffer.from([0x7b, 0xff, 0x7d, 10])]),
      /utf8\.jsonl:3: the line is not valid UTF-8/,
    ],
    [
      'field.jsonl',
      `${good}{"inputs":"a","targets":"b"}\n`,
      /field\.jsonl:3: the field instruction is missing; the example has inputs, targets; fields says/,
    ],
    ['half.jsonl', `${good}{"instruction":"a"}`, /half\.jsonl:3: the field output is missing/],
    [
      'number.jsonl',
      `{"instruction":"a","output":5}`,
      /number\.jsonl:1: the field output must be a string, not 5/,
    ],
    ['json.jsonl', `${good}\n{"instruction":`, /json\.jsonl:4: the line is no JSON/],
    ['list.jsonl', `["a","b"]`, /list\.jsonl:1: an example must be an object .* not an array/],
    ['null.jsonl', 'null', /null\.jsonl:1: .* not null/],
    [
      'output.jsonl',
      `${good}{"instruction":"a","output":" \\u3000"}`,
      /output\.jsonl:3: the output has no tokens/,
    ],
    ['empty.jsonl', '', /empty\.jsonl has no examples/],
    ['blank.jsonl', '\n \r\n', /blank\.jsonl has no examples/],
    ['empty.gz', gzipSync(''), /empty\.gz has no examples/],
    [
      'cut.jsonl.gz',
      gzipSync(good).subarray(0, -9),
      /cut\.jsonl\.gz:\d: the file cannot be read further: unexpected end/,
    ],
    [
      'bits.jsonl.gz',
      Buffer.concat([gzipSync(good).subarray(0, 20), Buffer.alloc(50, 7)]),
      /bits\.jsonl\.gz:1: the file cannot be read further/,
    ],
    ['one.tsv', 'a\tb\nc', /one\.tsv:2: .* not 1 column$/],
    ['three.tsv', 'a\tb\tc', /three\.tsv:1: .* not 3 columns$/],
  ];
  const { directory, open, path } = prepare(
    t,
    Object.fromEntries(cases.map(([name, content]) => [name, content])),
  );
  for (const [name, , message] of cases) {
    await t.rejects(open(path(name)), { code: 'ERR_INVALID_ARGUMENT', message }, name);
  }
  t.same(readdirSync(join(directory, 'cache')), [], 'and nothing is left behind');
  await t.rejects(open(path('none.jsonl')), { message: /none\.jsonl cannot be read: ENOENT/ });
  await t.rejects(open(directory), { message: /cannot be read: EISDIR/ });
  await t.rejects(open([]), { message: /no files/ });
  await t.rejects(open(5 as never), { message: /the dataset must be a path/ });
  await t.rejects(open([{ file: path('one.tsv'), weight: -1 }]), {
    message: /the weight of .* -1/,
  });
  await t.rejects(open([{ file: 3 as never }]), {
    message: /file 0 of the dataset must be a path/,
  });
  await t.rejects(open([{ instruction: 'a', output: '' }]), {
    message: /^example 0: .* no tokens/,
  });
  await t.rejects(open([{ instruction: 'a' } as never]), {
    message: /^example 0: the field output/,
  });
});

t.test('a cache that cannot be written says where and what helps', async (t) => {
  const { open, path } = prepare(t, { 'a.jsonl': jsonLines(examples), file: '' });
  await t.rejects(open(path('a.jsonl'), { cache: path('file') }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /the token cache .*file.* cannot be written: .*; cache names another directory/,
  });
});

t.test('a full disk leaves no cache behind', async (t) => {
  // A limit on the size of files stands for a full disk: writes fail in the same way. The test runner's part in
  // NODE_OPTIONS would listen to the signal that comes with it.
  const many = jsonLines(Array.from({ length: 40 }, () => examples).flat());
  const { directory, path } = prepare(t, { 'a.jsonl': many });
  const program = fileURLToPath(new URL('../../dist/training/dataset.js', import.meta.url));
  const tokenizers = fileURLToPath(new URL('../../dist/text/tokenizer.js', import.meta.url));
  if (!existsSync(program)) return void t.pass('skipped: dist is not built');
  const script = `
    import { Dataset } from ${JSON.stringify(program)};
    import { Tokenizer } from ${JSON.stringify(tokenizers)};
    const tokenizer = await Tokenizer.load(${JSON.stringify(tokenizerFile)});
    await Dataset.open(${JSON.stringify(path('a.jsonl'))}, { tokenizer, tokenizerBytes: new Uint8Array(5),
      fields: ['instruction', 'output'], maxSource: 128, maxTarget: 63,
      cache: ${JSON.stringify(join(directory, 'cache'))} }).catch((error) => console.log(error.code, error.message));`;
  const limited =
    'unset NODE_OPTIONS; trap "" XFSZ; ulimit -f 200; exec "$0" --input-type=module -e "$1"';
  const { stdout, stderr } = spawnSync('bash', ['-c', limited, process.execPath, script], {
    encoding: 'utf8',
  });
  t.match(stdout, /^ERR_INVALID_ARGUMENT the token cache .* cannot be written: EFBIG/, stderr);
  t.same(readdirSync(join(directory, 'cache')), []);
});

t.test('reading can be stopped, and others get the thread meanwhile', async (t) => {
  const many = jsonLines(Array.from({ length: 300 }, () => examples).flat());
  const { directory, open, path } = prepare(t, { 'a.jsonl': many });
  const controller = new AbortController();
  let read = 0;
  // The abort is another turn of the event loop: it comes while the file is read, or not at all.
  const onProgress = (_: string, count: number) => {
    if (read === 0) setImmediate(() => controller.abort(new Error('enough')));
    read = count;
  };
  const { signal } = controller;
  await t.rejects(open(path('a.jsonl'), { signal, onProgress }), { message: 'enough' });
  t.ok(read > 0 && read < 60_000, `${read} of 60 000 examples`);
  t.same(readdirSync(join(directory, 'cache')), []);
});

t.test('an iterable leaves nothing on disk', async (t) => {
  const { directory, open } = prepare(t, {});
  const dataset = await open(examples);
  t.notOk(existsSync(join(directory, 'cache')));
  for (const { cache } of dataset.parts) t.notOk(existsSync(cache.file));
  t.same(await idsOf(dataset), expected);
});
