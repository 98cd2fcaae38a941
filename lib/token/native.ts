/** The native addon, loaded once and told which class its errors are made of. */
import { createRequire } from 'node:module';
import type binding from '../../native/binding.cjs';
import { MaskPredictError } from '../errors.js';

// Not an import: Node.js 20 lets nobody catch what a CommonJS module throws while it is imported.
export const native = createRequire(import.meta.url)('../../native/binding.cjs') as typeof binding;

native.initialize(MaskPredictError as never);
