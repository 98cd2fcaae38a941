/**
 * Mutations of a right SentencePiece model through lib/text/sentencepiece-model.ts: a model whose every piece can be named,
 * or `ERR_TOKENIZER`. Coverage is no help in plain Node; instead the file's own structure is changed: fields are
 * dropped, doubled, swapped and cut, numbers replaced by others near a power of two.
 */
import { readFileSync } from 'node:fs';
import { MaskPredictError } from '../../dist/errors.js';
import { readSentencePieceModel } from '../../dist/text/sentencepiece-model.js';
import { randomNumbers } from './random.mjs';
