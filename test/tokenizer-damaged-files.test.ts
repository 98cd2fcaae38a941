/**
 * Model files that must be refused: damaged ones, and whole ones with another layout than XLM-R's.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Tokenizer } from '../lib/text/tokenizer.js';
import { composed, ordinaryPieces, piece, specialPieces, varint } from './sentencepiece-writer.js';

const numbersFile = fileURLToPath(
  new URL('../models/numbers/sentencepiece.bpe.model', import.meta.url),
);

/** Where the field of bytes that begins at `start`, its number in one byte, ends. */
function afterField(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    length |= (bytes[at]! & 0x7f) << shift;
    if (bytes[at++]! < 0x80) return at + length;
  }
}

t.test('damaged files and other layouts are refused', async (t) => {
  const good = readFileSync(numbersFile);
  const randomBytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7919 + 13) % 251));
  const [unk, bos, eos] = specialPieces as [Buffer, Buffer, Buffer];
  const files: Record<string, [Buffer, RegExp]> = {
    'an empty file': [Buffer.alloc(0), /no pieces/],
    zeros: [Buffer.alloc(1000), /damaged/],
    noise: [randomBytes, /damaged/],
    text: [Buffer.from('Not Found\n'.repeat(100)), /damaged/],
    'a model with bytes behind it': [Buffer.concat([good, Buffer.from('\0\0')]), /damaged/],
    'a length beyond the end': [Buffer.concat([good, Buffer.from([0x22, 0x7f])]), /cut off/],
    'a negative length': [Buffer.concat([good, Buffer.from([0x22]), varint(-1)]), /damaged/],
    'an endless number': [Buffer.alloc(100, 0xff), /damaged/],
    'special pieces only, cut off': [
      composed({ pieces: specialPieces, normaliser: null }),
      /normaliser/,
    ],
    'a missing </s>': [composed({ pieces: [unk, bos] }), /piece 2 is missing/],
    'no normaliser': [composed({ normaliser: null }), /normaliser is missing/],
    'a normaliser without its map': [composed({ normaliser: [[1, 'nmt_nfkc']] }), /map/],
    'a broken map': [
      composed({
        normaliser: [
          [1, 'nmt_nfkc'],
          [2, 'abc'],
        ],
      }),
      /cannot load/,
    ],
    'no space in front': [
      composed({
        normaliser: [
          [1, 'identity'],
          [3, 0],
        ],
      }),
      /in front/,
    ],
    'white space kept': [
      composed({
        normaliser: [
          [1, 'identity'],
          [4, 0],
        ],
      }),
      /white space/,
    ],
    'spaces not escaped': [
      composed({
        normaliser: [
          [1, 'identity'],
          [5, 0],
        ],
      }),
      /▁/,
    ],
    'a Git LFS pointer': [
      Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'),
      /LFS pointer.*git lfs pull/,
    ],
    BPE: [composed({ trainer: [[3, 2]] }), /BPE/],
    characters: [composed({ trainer: [[3, 4]] }), /character/],
    'a fifth type': [composed({ trainer: [[3, 5]] }), /type 5/],
    'space as suffix': [composed({ trainer: [[24, 1]] }), /end of a word/],
    'byte fallback': [composed({ trainer: [[35, 1]] }), /bytes/],
    'another <unk>': [composed({ trainer: [[40, 3]] }), /<unk> is 3/],
    'another <s>': [composed({ trainer: [[41, 0]] }), /<s> is 0/],
    'another </s>': [composed({ trainer: [[42, -1]] }), /<\/s> is -1/],
    'a padding piece': [composed({ trainer: [[43, 1]] }), /padding/],
    "BARThez's layout": [
      composed({ pieces: [piece('<s>', 3), piece('<pad>', 3), eos, unk, ...ordinaryPieces] }),
      /piece 0/,
    ],
    "T5's layout": [
      composed({ pieces: [piece('<pad>', 3), eos, unk, ...ordinaryPieces] }),
      /piece 0/,
    ],
    'a <mask> piece': [composed({ pieces: [...specialPieces, piece('<mask>', 4)] }), /<mask>/],
    'a byte piece': [composed({ pieces: [...specialPieces, piece('<0x00>', 6)] }), /byte/],
    'a second <unk>': [composed({ pieces: [...specialPieces, piece('u', 2)] }), /type 2/],
    'special pieces as text': [
      composed({ pieces: [unk, piece('<s>'), eos] }),
      /piece 1 is of type 1/,
    ],
    'an empty piece': [composed({ pieces: [...specialPieces, piece('')] }), /empty/],
    'a piece that is not UTF-8': [
      composed({ pieces: [...specialPieces, piece(Buffer.from([0xe2, 0x96]))] }),
      /UTF-8/,
    ],
    'a score that is no number': [
      composed({ pieces: [...specialPieces, piece('a', 1, NaN)] }),
      /score/,
    ],
    'the same piece twice': [
      composed({ pieces: [...specialPieces, piece('a'), piece('a')] }),
      /cannot load/,
    ],
  };
  // Cut at the end of every field of the file that is not a piece, at some pieces, and elsewhere.
  for (const length of [1, 2, 15, 16, 17, 1000, 5000, 7000, 7600, 7700, 100000, good.length - 1]) {
    files[`the first ${length} bytes`] = [good.subarray(0, length), /damaged|missing|no pieces/];
  }
  let boundary = 0;
  while (good[boundary] === 0x0a) {
    boundary += 2 + good[boundary + 1]!;
    if (boundary % 37 === 0 || good[boundary] !== 0x0a) {
      files[`the fields up to byte ${boundary}`] = [good.subarray(0, boundary), /missing/];
    }
  }
  const afterTrainer = afterField(good, boundary);
  files['everything but the normaliser'] = [
    good.subarray(0, afterTrainer),
    /normaliser is missing/,
  ];

  const directory = t.testdir();
  let number = 0;
  for (const [what, [bytes, problem]] of Object.entries(files)) {
    const name = join(directory, `${number++}.model`);
    writeFileSync(name, bytes);
    await t.rejects(
      Tokenizer.load(name),
      { name: 'MaskPredictError', code: 'ERR_TOKENIZER', message: problem },
      what,
    );
    await t.rejects(
      Tokenizer.load(name),
      { message: new RegExp(`/${number - 1}\\.model: `) },
      what,
    );
  }

  const name = join(directory, 'good.model');
  writeFileSync(
    name,
    composed({
      trainer: [
        [3, 1],
        [4, 6],
        [40, 0],
        [43, -1],
      ],
    }),
  );
  const tokenizer = await Tokenizer.load(name);
  t.same(
    [...tokenizer.encode('b a ☃').ids],
    [0, 6, 4, 5, 4, 3, 2],
    'what is composed here can be right',
  );
  for (const stated of [1, 5, 7, 250_000]) {
    writeFileSync(name, composed({ trainer: [[4, stated]] }));
    const { pieces, maskTokenId } = await Tokenizer.load(name);
    t.same({ pieces, maskTokenId }, { pieces: 6, maskTokenId: 7 }, `${stated} pieces are stated`);
  }
  appendFileSync(name, 'x');
  await t.rejects(Tokenizer.load(name), { code: 'ERR_TOKENIZER' }, 'a file damaged later');
});
