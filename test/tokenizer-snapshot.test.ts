/**
 * Snapshots of loaded tokenizers: the same ids as without, and never used where they are damaged, of another file, or
 * somebody else's.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { Snapshot } from '../lib/text/sentencepiece-snapshot.js';
import { Tokenizer } from '../lib/text/tokenizer.js';
import { composed, ordinaryPieces, piece, specialPieces } from './sentencepiece-writer.js';

const variable = 'MASK_PREDICT_TOKENIZER_CACHE';
const headerBytes = 4096;

/** A model of more than a MiB; `mark` makes its pieces, and so its file, differ from others. */
function largeModel(mark: string): Buffer {
  const words = Array.from({ length: 30_000 }, (_, i) =>
    piece(`▁the-${mark}-word-of-the-number-${i}`, 1, -4 - (i % 7)),
  );
  return composed({ pieces: [...specialPieces, ...ordinaryPieces, ...words] });
}

const model = largeModel('first');
const texts = [
  'a',
  ' the-first-word-of-the-number-29999 a',
  'the-first-word-of-the-number-7 ba ä \u{f0001} the-first-word-of-the-number-12345',
];

/**
 * A folder of snapshots, and a fresh copy of a model in every call: a tokenizer is shared by its file. A call returns when
 * the snapshot is written: the test may then replace it, or end and have its folder removed.
 */
function workshop(t: Test) {
  const directory = t.testdir({ snapshots: {} });
  const folder = join(directory, 'snapshots');
  process.env[variable] = folder;
  t.teardown(() => delete process.env[variable]);
  let copies = 0;
  const load = async (bytes: Buffer) => {
    const path = join(directory, `${copies++}.model`);
    writeFileSync(path, bytes);
    const tokenizer = await Tokenizer.load(path);
    await Snapshot.idle();
    return tokenizer;
  };
  /** The snapshot of a model that was loaded. */
  const snapshotOf = (bytes: Buffer) => {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const name = readdirSync(folder).find(
      (name) => /^.{24}-.{8}\.snapshot$/.test(name) && digest.startsWith(name.slice(0, 24)),
    );
    if (name === undefined) throw new Error(`${folder}: no snapshot of this model`);
    return join(folder, name);
  };
  return { folder, load, snapshotOf };
}

const ids = (tokenizer: Tokenizer) => texts.map((text) => [...tokenizer.encode(text).ids]);

type Header = Record<string, unknown> & { pieces: number; memory: number };

function withHeader(snapshot: Buffer, change: (header: Header) => object): Buffer {
  const header = change(JSON.parse(snapshot.toString('utf8', 0, headerBytes)) as Header);
  const changed = Buffer.from(snapshot);
  changed.write(`${JSON.stringify(header)}\n`.padEnd(headerBytes, ' '));
  return changed;
}

t.test('the second load reads what the first has written, with the same ids', async (t) => {
  const { load, snapshotOf } = workshop(t);
  const fresh = await load(model);
  const expected = ids(fresh);
  t.same(expected[1], [0, 30_006, 4, 5, 2], 'a piece of many characters and two of one');

  const again = await load(model);
  t.same(ids(again), expected);
  t.equal(again.pieces, fresh.pieces);
  for (const id of [0, 3, 4, 5, 6, 15_000, again.maskTokenId - 2, again.maskTokenId])
    t.equal(again.piece(id), fresh.piece(id));
  for (const one of expected) t.equal(again.decode(one), fresh.decode(one));
  const many = Array.from({ length: 3000 }, (_, i) => `the-first-word-of-the-number-${i}`);
  t.same(again.encode(many.join(' ')).ids, fresh.encode(many.join(' ')).ids, 'its memory grows');

  // That it was read: another model's snapshot under this one's name gives the other's ids.
  const other = largeModel('other');
  await load(other);
  const { model: digest } = JSON.parse(
    readFileSync(snapshotOf(model)).toString('utf8', 0, headerBytes),
  ) as { model: string };
  const foreign = readFileSync(snapshotOf(other));
  writeFileSync(
    snapshotOf(model),
    withHeader(foreign, (header) => ({ ...header, model: digest })),
  );
  t.notSame(ids(await load(model)), expected);
});

t.test('a snapshot that is not whole, or not to be trusted, is not used', async (t) => {
  const { load, snapshotOf } = workshop(t);
  const expected = ids(await load(model));
  const file = snapshotOf(model);
  const sound = readFileSync(file);
  const flipped = (at: number) => {
    const bytes = Buffer.from(sound);
    bytes[at]! ^= 1;
    return bytes;
  };
  const { pieces } = JSON.parse(sound.toString('utf8', 0, headerBytes)) as Header;
  const damages: [string, Buffer][] = [
    ['an empty file', Buffer.alloc(0)],
    ['no header', Buffer.concat([Buffer.alloc(headerBytes), sound.subarray(headerBytes)])],
    ['cut off', sound.subarray(0, sound.length - 1)],
    ['longer', Buffer.concat([sound, Buffer.alloc(1)])],
    ['a bit of the table', flipped(headerBytes + 100)],
    ['a bit of the memory', flipped(headerBytes + 8 * pieces + 500_000)],
    ['the last bit', flipped(sound.length - 1)],
    ['a checksum that is wrong', withHeader(sound, (h) => ({ ...h, checksum: 1 }))],
    ['another model', withHeader(sound, (h) => ({ ...h, model: '0'.repeat(64) }))],
    ['another sentencepiece-js', withHeader(sound, (h) => ({ ...h, library: '0'.repeat(64) }))],
    ['other ids', withHeader(sound, (h) => ({ ...h, ids: [1, 2, 3] }))],
    ['a processor that is elsewhere', withHeader(sound, (h) => ({ ...h, pointer: 2 ** 31 }))],
    ['more memory than there is', withHeader(sound, (h) => ({ ...h, memory: 2 ** 40 }))],
  ];
  for (const [what, bytes] of damages) {
    writeFileSync(file, bytes);
    t.same(ids(await load(model)), expected, what);
    t.ok(readFileSync(file).equals(sound), `${what}: replaced by a sound one`);
  }

  // It was replaced each time; now by one of which others could have written any byte.
  if (process.platform === 'win32') return;
  writeFileSync(
    file,
    withHeader(sound, (h) => ({ ...h, ids: [1, 2, 3] })),
  );
  chmodSync(file, 0o666);
  t.same(ids(await load(model)), expected, 'writable by others');
});

t.test('where nothing can be kept, or is worth it, nothing is', async (t) => {
  const { folder, load } = workshop(t);
  await load(composed());
  process.env[variable] = 'off';
  const expected = ids(await load(model));
  process.env[variable] = join(folder, 'a-file', 'inside');
  writeFileSync(join(folder, 'a-file'), '');
  t.same(ids(await load(model)), expected, 'a folder that cannot be made');
  t.same(readdirSync(folder), ['a-file']);
  t.notOk(existsSync('off'));
});

t.test(
  'the newest four are kept, and the rest of a write that was cut off is removed',
  async (t) => {
    const { folder, load, snapshotOf } = workshop(t);
    const old = new Date(Date.now() - 7_200_000);
    const rest = `x.snapshot.${crypto.randomUUID()}`;
    const recent = `y.snapshot.${crypto.randomUUID()}`;
    for (const name of ['1', '2', '3', '4', '5'].map((n) => `${n}.snapshot`).concat(rest, 'mine')) {
      writeFileSync(join(folder, name), '');
      utimesSync(join(folder, name), old, new Date(+old + 1000 * (Number(name[0]) || 0)));
    }
    writeFileSync(join(folder, recent), '');
    await load(model);
    const own = basename(snapshotOf(model));
    t.same(
      readdirSync(folder).sort(),
      ['3.snapshot', '4.snapshot', '5.snapshot', own, 'mine', recent].sort(),
    );
  },
);

t.test('a user without a home directory loads a model without a snapshot', async (t) => {
  const { load } = workshop(t);
  const expected = ids(await load(model));
  const { homedir } = os;
  const cache = process.env['XDG_CACHE_HOME'];
  t.teardown(() => {
    os.homedir = homedir;
    syncBuiltinESMExports();
    if (cache !== undefined) process.env['XDG_CACHE_HOME'] = cache;
  });
  delete process.env[variable];
  delete process.env['XDG_CACHE_HOME'];
  os.homedir = () => {
    throw new Error('uv_os_homedir returned ENOENT');
  };
  syncBuiltinESMExports();
  t.same(ids(await load(model)), expected);
});
