/**
 * Mutations of right SentencePiece models: the reader gives a model whose every piece has a text, or
 * `ERR_TOKENIZER`; and what the reader lets through, SentencePiece itself loads, or that is `ERR_TOKENIZER`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MaskPredictError } from '../../lib/errors.js';
import { readSentencePieceModel } from '../../lib/text/sentencepiece-model.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import type { Random } from '../reference/random.js';
import {
  composed,
  message,
  ordinaryPieces,
  piece,
  specialPieces,
} from '../sentencepiece-writer.js';
import type { Value } from '../sentencepiece-writer.js';
import { randomInputs } from './effort.js';
import { edgeNumber, mutateBytes } from './mutation.js';

const texts = [
  '<unk>',
  '<s>',
  '</s>',
  '<mask>',
  '<pad>',
  '<0x41>',
  '▁',
  'a',
  '▁b',
  '\0',
  'ß',
  '\ud800',
];

function number(random: Random): number {
  return random.uniform() < 0.5 ? random.integer(-2, 45) : Number(edgeNumber(random));
}

function randomPiece(random: Random): Buffer {
  return piece(
    random.choice(texts),
    random.integer(0, 7),
    random.choice([0, -1, NaN, Infinity, 1e38, -1e-45]),
  );
}

/** A right model of six pieces with some fields wrong, doubled, missing or out of place. */
function mutated(random: Random): Buffer {
  const pieces = [...specialPieces, ...ordinaryPieces];
  for (let changes = random.integer(0, 2); changes > 0; changes--) {
    const at = random.integer(0, pieces.length);
    random.choice([
      () => pieces.splice(at, 1),
      () => pieces.splice(at, random.integer(0, 1), randomPiece(random)),
      () => pieces.splice(at, 0, mutateBytes(random, random.choice(pieces))),
      () => pieces.push(...pieces.splice(at, 2)),
    ])();
    if (pieces.length === 0) pieces.push(randomPiece(random));
  }
  const settings = (fields: number[]): [number, Value][] =>
    Array.from({ length: random.integer(0, 3) }, () => [
      random.choice(fields),
      random.choice<Value>([
        number(random),
        'identity',
        'nmt_nfkc',
        Buffer.alloc(random.integer(0, 9)),
      ]),
    ]);
  const right = random.uniform() < 0.5;
  const model = composed({
    pieces,
    trainer: right ? [[4, pieces.length]] : settings([3, 4, 24, 35, 40, 41, 42, 43]),
    normaliser: random.choice([[[1, 'identity']], settings([1, 2, 3, 4, 5]), null]),
  });
  const more = random.uniform() < 0.1 ? message([random.integer(1, 9), number(random)]) : '';
  const whole = Buffer.concat([model, Buffer.from(more)]);
  return random.uniform() < 0.5 ? mutateBytes(random, whole) : whole;
}

/** How many models SentencePiece itself is tried on for each that is only read: loading one takes 20 ms. */
const loadedShare = 1 / 400;

t.test('mutated models', async (t) => {
  const directory = t.testdir();
  let read = 0;
  let refused = 0;
  let loaded = 0;
  for (const { random, seed } of randomInputs(t, 20_000)) {
    const bytes = mutated(random);
    try {
      const model = readSentencePieceModel(bytes, 'x.model');
      read++;
      for (let id = 0; id < model.pieces; id++) {
        if (model.piece(id).length === 0) t.fail(`seed ${seed}: piece ${id} is empty`);
      }
    } catch (error) {
      refused++;
      if (!(error instanceof MaskPredictError && error.code === 'ERR_TOKENIZER')) {
        t.fail(`seed ${seed}: ${String(error)}`);
      }
      continue;
    }
    if (random.uniform() > loadedShare * 8) continue;
    const file = join(directory, 'x.model');
    writeFileSync(file, bytes);
    const tokenizer: unknown = await Tokenizer.load(file).catch((error: unknown) => error);
    if (tokenizer instanceof Tokenizer) {
      loaded++;
      const { ids } = tokenizer.encode('b a ☃ <s>');
      if (ids.some((id) => id < 0 || id > tokenizer.maskTokenId)) t.fail(`seed ${seed}: ${ids}`);
      tokenizer.decode(ids);
    } else if (!(tokenizer instanceof MaskPredictError && tokenizer.code === 'ERR_TOKENIZER')) {
      t.fail(`seed ${seed}: ${String(tokenizer)}`);
    }
  }
  t.ok(read > 0 && refused > 0, `${read} models read, ${refused} refused`);
  t.comment(`${read} models read, ${loaded} of them loaded, ${refused} refused`);
});
